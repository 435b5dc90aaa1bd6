"""Tickets whose events joined a run are told what came of it, as the one that began it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from paydown.errors import RetryableError
from paydown.events import Event, NodeNotReady
from paydown.ledger import Ledger, Outcome, Reason, Run, Status
from paydown.ledger.finding import MOST_TICKETS
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock
from tests.unit.people import asked

NODE = "node/demo/worker-1"


def alert(clock: Clock) -> NodeNotReady:
    return NodeNotReady(key="alert-1", at=clock(), cluster="demo", node="worker-1")


def run_with(ledger: Ledger, clock: Clock, *events: Event) -> Run:
    """A run that the first event begins, and that the others join."""
    cool = timedelta(seconds=60)
    runs = [ledger.runs.create("recover_node", "n1", NODE, one, clock(), clock.tick(1), cool).run for one in events]
    assert [run.reasons[0].code for run in runs[1:]] == ["joined"] * (len(events) - 1)
    return runs[0]


@pytest.fixture
def joined(ledger: Ledger, clock: Clock) -> Run:
    """A machine's run that the tickets 7 and 8 joined, and that an event of nobody's joined."""
    other = NodeNotReady(key="alert-2", at=clock(), cluster="demo", node="worker-1")
    return run_with(ledger, clock, alert(clock), asked("ann"), other, asked("bob", ticket="8", key="ticket-2"))


def test_each_is_resolved_when_the_run_is_verified(outside: Outside, joined: Run) -> None:
    verified = outside.happen("Verified", run_id=joined.id)
    assert outside.tell(verified, verified) == ["told", "told before"]
    assert outside.tickets.resolved == {"7", "8"}
    for ticket in ("7", "8"):
        (body,) = outside.tickets.of(ticket)
        assert "Done, and verified." in body
        assert joined.id in body


def test_one_that_cannot_be_written_costs_the_others_nothing(outside: Outside, joined: Run) -> None:
    verified = outside.happen("Verified", run_id=joined.id)
    outside.tickets.broken["7"] = RetryableError("away", delay=1)
    with pytest.raises(RetryableError):
        outside.tell(verified)
    assert outside.tickets.resolved == {"8"}
    outside.tickets.broken.clear()
    writes = outside.tickets.writes
    assert outside.tell(verified) == ["told"]
    assert outside.tickets.resolved == {"7", "8"}
    assert outside.tickets.writes == writes + 1


def test_what_is_wrong_is_told_to_each_and_over_for_each(outside: Outside, joined: Run, clock: Clock) -> None:
    outside.tell(outside.happen("Failed", "permanent", run_id=joined.id))
    assert outside.finding().asked == ("helpdesk/7", "helpdesk/8")
    clock.tick(60)
    outside.tell(outside.happen("Verified"))
    for ticket in ("7", "8"):
        (body,) = outside.tickets.of(ticket)
        assert "This failed" in body
        assert "It is over" in body


def test_a_plan_that_waits_is_shown_to_those_who_joined(
    outside: Outside, ledger: Ledger, clock: Clock, joined: Run
) -> None:
    held = ledger.runs.move(joined, Status.HELD, clock(), clock.tick(60), [Reason("above_ceiling", "x")])
    outside.tell(outside.happen("Held", "above_ceiling", run_id=held.id, sequence=held.sequence))
    for ticket in ("7", "8"):
        (body,) = outside.tickets.of(ticket)
        assert "waits for a person's approval" in body


def test_who_joined_is_told_so_and_nothing_of_what_the_run_only_passes_through(outside: Outside, joined: Run) -> None:
    ticket = {"tracker": "helpdesk", "id": "7"}
    assert outside.tell(outside.happen("Skipped", "joined", ticket=ticket)) == ["told"]
    (body,) = outside.tickets.of("7")
    assert "what comes of that is told here, too" in body
    assert outside.tell(outside.happen("Applying", run_id=joined.id)) == ["nothing to tell"]
    assert outside.tickets.of("8") == []


def test_the_one_that_began_it_is_told_once_though_it_joined_as_well(
    outside: Outside, ledger: Ledger, clock: Clock
) -> None:
    run = run_with(ledger, clock, asked("ann"), asked("ann", key="ticket-1-again"))
    outside.tell(outside.happen("Verified", run_id=run.id, ticket={"tracker": "helpdesk", "id": "7"}))
    assert len(outside.tickets.of("7")) == 1


def test_a_fault_that_comes_back_reopens_those_that_joined(outside: Outside, joined: Run, clock: Clock) -> None:
    outside.tell(outside.happen("Verified", run_id=joined.id))
    clock.tick(60)
    outside.tell(outside.happen("Applying", reasons=[("recurred", f"after run {joined.id} was verified")]))
    assert outside.tickets.resolved == set()
    clock.tick(60)
    outside.tell(outside.happen("Verified"))
    assert outside.tickets.resolved == {"7", "8"}


def test_more_than_a_finding_has_comments_for_are_answered_directly(
    outside: Outside, ledger: Ledger, clock: Clock
) -> None:
    tickets = [str(number) for number in range(1, MOST_TICKETS + 4)]
    joining = [asked("ann", ticket=one, key=f"ticket-{one}") for one in tickets]
    run = run_with(ledger, clock, alert(clock), *joining)
    outside.tell(outside.happen(Outcome.FAILED, "permanent", run_id=run.id))
    assert [len(outside.tickets.of(one)) for one in tickets] == [1] * len(tickets)
