"""Runs in the ledger: who may write what, and what happens when two want the same."""

from datetime import timedelta

import pytest

from paydown.events import ImagePushed, NodeNotReady
from paydown.ledger import Busy, Joined, Lost, Outcome, Reason, Run, Status, run_id

COOL = timedelta(minutes=5)


def event(key="e1", **changes):
    fields = {
        "key": key,
        "at": "2026-11-22T02:59:00Z",
        "registry": "r",
        "repository": "a",
        "digest": "sha256:" + "0" * 64,
    }
    return ImagePushed(**(fields | changes))


def begin(ledger, clock, key="e1", target="t1", toil="clean"):
    return ledger.runs.create(
        toil, target, f"host/{target}", event(key), clock(), clock() + timedelta(seconds=58), COOL
    )


def admitted(ledger, clock, run, seconds=300):
    return ledger.runs.admit(run, clock(), 0, clock() + timedelta(seconds=seconds), [], due=run.due)


def test_a_run_survives_its_way_through_the_ledger(ledger, clock):
    created = begin(ledger, clock)
    assert created.new
    moved = ledger.runs.move(
        created.run,
        Status.DEFERRED,
        clock(),
        clock() + timedelta(minutes=1),
        [Reason("stopped", "by ann")],
        before={"free": 3},
        executed=(1, 2),
        fingerprint="f" * 64,
        since=clock(),
    )
    assert ledger.runs.get(moved.id) == moved


def test_the_id_is_made_of_event_target_and_toil_type():
    first = run_id("e", "t", "clean")
    assert len({first, run_id("e2", "t", "clean"), run_id("e", "t2", "clean"), run_id("e", "t", "clear")}) == 4
    assert run_id("ab", "c", "d") != run_id("a", "bc", "d")
    assert run_id("e", "t", "clean", 2) == f"{first}-2"


def test_only_a_due_run_can_be_taken(ledger, clock):
    run = begin(ledger, clock).run
    assert ledger.runs.take(run.id, clock(), clock()) is None
    clock.tick(59)
    taken = ledger.runs.take(run.id, clock(), clock() + timedelta(seconds=58))
    assert (taken.fence, taken.takes) == (2, 2)
    assert ledger.runs.take(run.id, clock(), clock()) is None


def test_a_run_is_taken_by_its_own_toil_type_only(ledger, clock):
    run = begin(ledger, clock).run
    clock.tick(59)
    assert ledger.runs.take(run.id, clock(), clock(), "another") is None
    assert ledger.runs.get(run.id).fence == 1
    assert ledger.runs.take(run.id, clock(), clock(), "clean") is not None


def test_an_ended_run_cannot_be_taken(ledger, clock):
    run = begin(ledger, clock).run
    ledger.runs.end(run, Outcome.SKIPPED, clock())
    clock.tick(1000)
    assert ledger.runs.take(run.id, clock(), clock()) is None
    assert ledger.runs.take("unknown", clock(), clock()) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda runs, run, now: runs.keep(run, now, due=now),
        lambda runs, run, now: runs.move(run, Status.HELD, now, now),
        lambda runs, run, now: runs.end(run, Outcome.FAILED, now),
        lambda runs, run, now: runs.admit(run, now, 0, now, []),
        lambda runs, run, now: runs.renew(run, now, now),
    ],
    ids=["keep", "move", "end", "admit", "renew"],
)
def test_a_worker_that_was_replaced_loses(ledger, clock, write):
    run = begin(ledger, clock).run
    clock.tick(59)
    ledger.runs.take(run.id, clock(), clock() + timedelta(seconds=58))
    with pytest.raises(Lost):
        write(ledger.runs, run, clock())


def test_the_lease_is_exclusive_until_it_expires(ledger, clock):
    first = admitted(ledger, clock, begin(ledger, clock).run, seconds=100)
    second = begin(ledger, clock, "e2").run
    with pytest.raises(Busy) as busy:
        admitted(ledger, clock, second)
    assert (busy.value.owner, busy.value.until) == (first.id, clock() + timedelta(seconds=100))
    assert ledger.runs.get(second.id).status is Status.PLANNED
    clock.tick(101)
    assert admitted(ledger, clock, second).status is Status.APPLYING
    with pytest.raises(Busy):
        ledger.runs.renew(first, clock(), clock())


def test_a_run_whose_lease_went_to_another_can_still_end_and_leaves_that_lease_alone(ledger, clock):
    first = admitted(ledger, clock, begin(ledger, clock).run, seconds=100)
    clock.tick(101)
    second = admitted(ledger, clock, begin(ledger, clock, "e2").run)
    ended = ledger.runs.end(first, Outcome.FAILED, clock())
    assert ledger.runs.get(first.id) == ended
    assert ledger.runs.holder("t1", clock())[0] == second.id


def test_a_lease_on_one_target_does_not_touch_another(ledger, clock):
    admitted(ledger, clock, begin(ledger, clock, target="t1").run)
    assert admitted(ledger, clock, begin(ledger, clock, target="t2").run).status is Status.APPLYING


@pytest.mark.parametrize("status", [Status.DEFERRED, Status.HELD])
def test_a_deferred_or_held_run_holds_no_lease(ledger, clock, status):
    run = admitted(ledger, clock, begin(ledger, clock).run)
    ledger.runs.move(run, status, clock(), clock())
    assert ledger.runs.holder("t1", clock()) is None


def test_a_waiting_run_keeps_its_lease(ledger, clock):
    run = admitted(ledger, clock, begin(ledger, clock).run)
    ledger.runs.move(run, Status.WAITING, clock(), clock())
    assert ledger.runs.holder("t1", clock())[0] == run.id


def test_an_event_that_joined_after_the_look_stops_the_admission(ledger, clock):
    run = begin(ledger, clock).run
    joins = ledger.runs.joins(run)
    joined = begin(ledger, clock, "e2")
    assert not joined.new
    assert joined.run.status is Outcome.SKIPPED
    with pytest.raises(Joined):
        ledger.runs.admit(run, clock(), joins, clock() + timedelta(minutes=5), [])
    with pytest.raises(Joined):
        ledger.runs.end(run, Outcome.SKIPPED, clock(), joins=joins)
    assert ledger.runs.joins(run) == joins + 1
    assert ledger.runs.admit(run, clock(), joins + 1, clock() + timedelta(minutes=5), []).status is Status.APPLYING


def test_runs_of_other_toil_types_are_not_joined(ledger, clock):
    begin(ledger, clock)
    assert begin(ledger, clock, "e2", toil="advise").new


def test_a_hundred_attempts_are_found_without_a_hundred_reads(ledger, clock, monkeypatch):
    def fault():
        return NodeNotReady(key="alert", at="2026-11-22T02:59:00Z", cluster="c", node="n")

    def again():
        return ledger.runs.create("recover", "n", "node/c/n", fault(), clock(), clock() + timedelta(seconds=58), COOL)

    for attempt in range(1, 13):
        created = again()
        assert created.new
        assert created.run.attempt == attempt
        ledger.runs.end(created.run, Outcome.FAILED, clock())
        clock.tick(301)
    reads = []
    get = ledger.table.get
    monkeypatch.setattr(ledger.table, "get", lambda *key: reads.append(key) or get(*key))
    assert again().run.attempt == 13
    assert len(reads) <= 4


def test_a_rejected_run_is_not_begun_again_by_the_same_fault(ledger, clock):
    fault = NodeNotReady(key="alert", at="2026-11-22T02:59:00Z", cluster="c", node="n")
    run = ledger.runs.create("recover", "n", "node/c/n", fault, clock(), clock(), COOL).run
    ledger.runs.end(run, Outcome.REJECTED, clock())
    clock.tick(3600)
    assert not ledger.runs.create("recover", "n", "node/c/n", fault, clock(), clock(), COOL).new


def test_what_is_due_is_found_by_time_in_every_shard(ledger, clock):
    runs = [begin(ledger, clock, f"e{number}", f"t{number}").run for number in range(12)]
    assert list(ledger.runs.due(clock())) == []
    clock.tick(58)
    due = list(ledger.runs.due(clock()))
    assert sorted(row["id"] for row in due) == sorted(run.id for run in runs)
    assert {row["toil"] for row in due} == {"clean"}
    assert len({ledger.table.get(run.partition, "RUN")["due_shard"] for run in runs}) > 1


def test_the_newest_runs_come_first_over_the_days(ledger, clock):
    ids = []
    for number in range(4):
        ids.append(begin(ledger, clock, f"e{number}", f"t{number}").run.id)
        clock.tick(13 * 3600)
    assert [run.id for run in ledger.history.recent(clock(), limit=3)] == ids[:0:-1]


def test_a_row_of_an_older_version_is_read_with_defaults(ledger, clock):
    run = begin(ledger, clock).run
    row = ledger.table.get(run.partition, "RUN")
    for name in ("takes", "executed", "remainder", "before", "reasons", "hazard", "mode", "policy_version", "evidence"):
        row.pop(name, None)
    assert Run.from_item(row).before == {}
