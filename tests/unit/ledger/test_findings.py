"""Findings: one row whatever comes how often and in which order, and few reasons to write or to speak."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from paydown.ledger import Ledger
from paydown.ledger.digests import Digests
from paydown.ledger.finding import EDIT_SECONDS, NOTHING, REMIND_SECONDS, Finding, over, seen
from paydown.ledger.findings import Findings, Identity, NoFinding, Sighting, Task, order_of
from tests.unit.ledgers import Clock

WHAT = Identity("recover_node", "node/demo/worker-1", "NodeNotReady")
RUN = "a" * 32


def sighting(clock: Clock, number: int = 0, **changes: Any) -> Sighting:
    at = clock() + timedelta(seconds=number)
    made = Sighting(WHAT, order_of(at, 2, RUN), at, "Failed", RUN, f"text {number}", speaks=True)
    return replace(made, **changes)


@pytest.fixture
def findings(ledger: Ledger) -> Findings:
    return Findings(ledger.table, sleep=lambda seconds: None)


def test_the_identity_depends_on_all_its_parts() -> None:
    others = {Identity("recover_node", "node/demo", "worker-1NodeNotReady"), replace(WHAT, rule="x"), WHAT}
    assert len({one.id for one in others}) == 3
    assert len(WHAT.id) == 16


def test_a_repeat_counts_once_and_calls_for_the_same(findings: Findings, clock: Clock, ledger: Ledger) -> None:
    one = sighting(clock, asked=("helpdesk/1",))
    counting = Digests(ledger.table).counting("recover_node", "Failed", one.order, clock())
    tasks = [findings.see(one, clock(), counting) for _ in range(3)]
    assert tasks == [Task(speak=True, write=True, new=new) for new in (True, False, False)]
    found = findings.get(WHAT)
    assert found is not None
    assert (found.open, found.count, found.labels, found.episode) == (True, 1, {"Failed": 1}, 1)
    assert Digests(ledger.table).of(clock()) == {"recover_node": {"Failed": 1}}
    assert [one.identity for one in findings.open()] == [WHAT]


def test_any_order_of_the_same_events_ends_in_the_same_finding(findings: Findings, clock: Clock) -> None:
    """Three sightings and a closing between the first and the second, each delivered twice."""
    ends = set()
    for number, order in enumerate(itertools.permutations(range(4))):
        what = replace(WHAT, target=f"node/demo/{number}")
        for event in (*order, *order):
            if event == 1:
                findings.close(what, order_of(clock() + timedelta(seconds=1), 5, RUN), "verified", clock())
            else:
                findings.see(sighting(clock, event, identity=what), clock())
        found = findings.get(what)
        assert found is not None
        ends.add((found.open, found.count, tuple(found.labels.items()), found.since, found.latest, found.text))
    assert len(ends) == 1
    ((is_open, count, labels, since, _, text),) = ends
    assert (is_open, count, labels, text) == (True, 2, (("Failed", 2),), "text 3")
    assert since == clock() + timedelta(seconds=2)


def test_what_is_over_is_not_opened_by_an_event_from_before(findings: Findings, clock: Clock) -> None:
    late = sighting(clock, 0)
    assert findings.close(WHAT, order_of(clock() + timedelta(seconds=5), 5, RUN), "verified", clock()) == NOTHING
    assert findings.see(late, clock()) == NOTHING
    assert list(findings.open()) == []


def test_closing_calls_for_writing_only_where_something_is_written(findings: Findings, clock: Clock) -> None:
    findings.see(sighting(clock, 0), clock())
    assert findings.close(WHAT, order_of(clock.tick(9), 5, RUN), "verified", clock()) == Task(close=True)
    assert findings.open_ids() == []
    findings.see(sighting(clock, 1, asked=("helpdesk/1",)), clock())
    closed = findings.close(WHAT, order_of(clock.tick(9), 5, RUN), "verified again", clock())
    assert closed == Task(write=True, close=True)
    found = findings.get(WHAT)
    assert found is not None
    assert (found.episode, found.over, found.asked) == (2, "verified again", ("helpdesk/1",))


def run_of(clock: Clock, number: int, every: float, **changes: Any) -> tuple[list[Task], Finding]:
    """So many sightings in a row, without a ledger."""
    finding, tasks = Finding(WHAT), []
    for _ in range(number):
        outcome = seen(finding, sighting(clock, **changes), clock())
        if outcome is not None:
            finding, task = outcome
            tasks.append(task)
        clock.tick(every)
    return tasks, finding


def test_a_thousand_sightings_at_once_speak_once_and_write_ten_times(clock: Clock) -> None:
    tasks, finding = run_of(clock, 1_000, 0.01, asked=("helpdesk/1",))
    assert finding.count == 1_000
    assert [task.speak for task in tasks].count(True) == 1
    assert [number for number, task in enumerate(tasks, 1) if task.write] == [2**power for power in range(10)]


def test_a_slow_trickle_is_written_every_few_minutes(clock: Clock) -> None:
    tasks, _ = run_of(clock, 200, 60, asked=("helpdesk/1",))
    written = [number for number, task in enumerate(tasks) if task.write]
    assert max(later - earlier for earlier, later in itertools.pairwise(written)) == EDIT_SECONDS // 60
    assert len(written) < 200 // (EDIT_SECONDS // 60) + 10


def test_what_goes_on_is_told_again_the_next_day(clock: Clock) -> None:
    tasks, _ = run_of(clock, 49, REMIND_SECONDS / 24)
    assert [number for number, task in enumerate(tasks) if task.speak] == [0, 24, 48]


def test_what_is_new_in_a_finding_is_told_and_written(clock: Clock) -> None:
    tasks, finding = run_of(clock, 3, 1, asked=("helpdesk/1",))
    assert tasks[-1] == Task()
    assert seen(finding, sighting(clock, label="Held", asked=("helpdesk/1",)), clock())[1] == Task(  # type: ignore[index]
        speak=True, write=True
    )


def test_flapping_between_known_labels_is_not_written_each_time(clock: Clock) -> None:
    finding, writes = Finding(WHAT), 0
    for number in range(500):
        one = sighting(clock, label=("Held", "Failed")[number % 2], asked=("helpdesk/1",))
        outcome = seen(finding, one, clock())
        assert outcome is not None
        finding, task = outcome
        writes += task.write
        clock.tick(0.01)
    assert writes == 9


def test_a_finding_of_a_toil_type_is_counted_once_a_minute(clock: Clock) -> None:
    tasks, finding = run_of(clock, 600, 1, label="storm", coarse=True, calm_after=timedelta(minutes=15))
    assert (len(tasks), finding.count) == (10, 10)
    assert [task.speak for task in tasks].count(True) == 1
    clock.tick(900)
    after, task = seen(finding, sighting(clock, label="storm", coarse=True, calm_after=timedelta(minutes=15)), clock())  # type: ignore[misc]
    assert (after.episode, after.count, task.speak) == (2, 1, True)


def test_snoozed_findings_are_quiet_until_then_and_answer_who_asks(findings: Findings, clock: Clock) -> None:
    findings.see(sighting(clock, speaks=False), clock())
    findings.snooze(WHAT, clock() + timedelta(days=7), "ann", "known", clock())
    assert findings.see(sighting(clock, 1, label="Held", asked=()), clock()) == Task()
    assert findings.see(sighting(clock, 2, asked=("helpdesk/9",)), clock()).write
    clock.tick(7 * 86_400)
    assert findings.see(sighting(clock, 3), clock()).speak
    found = findings.get(WHAT)
    assert found is not None
    assert (found.snoozed_by, found.snoozed_why, found.is_snoozed(clock())) == ("ann", "known", False)
    with pytest.raises(NoFinding):
        findings.snooze(replace(WHAT, rule="x"), None, "ann", "", clock())


def test_a_ticket_of_its_own_comes_back_with_the_finding(clock: Clock) -> None:
    _, finding = run_of(clock, 1, 1, wants_ticket=True)
    finding, task = over(replace(finding, ticket="helpdesk/7"), order_of(clock.tick(5), 9, RUN), "verified")
    assert task == Task(write=True, close=True)
    clock.tick(60)
    quiet, task = seen(finding, sighting(clock), clock())  # type: ignore[misc]
    assert (quiet.tickets, task.write, task.reopen) == ((), False, False)
    back, task = seen(finding, sighting(clock, label="recurred", reopens=True), clock())  # type: ignore[misc]
    assert (back.tickets, task.write, task.reopen) == (("helpdesk/7",), True, True)


def test_two_workers_that_count_at_once_count_both(findings: Findings, clock: Clock) -> None:
    """The second one writes between the read and the write of the first."""
    findings.see(sighting(clock, 0), clock())
    transact, rivals = findings.table.transact, [sighting(clock, 1)]

    def meddling(writes: Any) -> None:
        if rivals:
            findings.see(rivals.pop(), clock())
        transact(writes)

    findings.table.transact = meddling  # type: ignore[method-assign] -- the rival has to come in between
    findings.see(sighting(clock, 2), clock())
    found = findings.get(WHAT)
    assert found is not None
    assert (found.count, found.text) == (3, "text 2")


def test_the_same_event_twice_at_once_is_counted_once_even_if_it_changes_nothing(
    findings: Findings, clock: Clock, ledger: Ledger
) -> None:
    transact, digests, rivals = findings.table.transact, Digests(ledger.table), [True]
    order = order_of(clock(), 2, RUN)

    def count() -> None:
        findings.count(WHAT, order, clock(), digests.counting("recover_node", "Skipped", order, clock()))

    def meddling(writes: Any) -> None:
        if rivals:
            rivals.pop()
            count()
        transact(writes)

    findings.table.transact = meddling  # type: ignore[method-assign] -- the rival has to come in between
    count()
    assert digests.of(clock()) == {"recover_node": {"Skipped": 1}}
