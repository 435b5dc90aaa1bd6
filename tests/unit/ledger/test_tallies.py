"""Tallies: who is at work, what was spent, what a target remembers; of two who decide on the same one, one wins."""

from datetime import timedelta

import pytest

from paydown.errors import RetryableError
from paydown.events import ImagePushed
from paydown.guardrails import LINGERING, Ending, Tally, target_scope
from paydown.ledger import Alive, Busy, Crowded, Outcome, Status

HOUR = timedelta(hours=1)


def begun(ledger, clock, target="room", key="push-1"):
    event = ImagePushed(key=key, at=clock(), registry="r", repository="a", digest="sha256:" + "0" * 64)
    deadline = clock() + timedelta(seconds=58)
    return ledger.runs.create("clean", target, f"host/{target}", event, clock(), deadline, HOUR).run


def scopes(run):
    return ["*", "toil/clean", target_scope("clean", run.target)]


def entered(ledger, run, clock, until, **more):
    options = {"budget": HOUR, "memory": HOUR, "pays": not run.paid} | more
    read = [ledger.runs.tallies.get(scope) for scope in scopes(run)]
    return [tally.entered(run.id, run.target, clock(), until, **options) for tally in read]


def admitted(ledger, run, clock, seconds=300):
    until = clock() + timedelta(seconds=seconds)
    tallies = entered(ledger, run, clock, until)
    return ledger.runs.admit(run, clock(), 0, until, tallies, due=run.due, executed=(1,))


def test_a_run_that_is_let_in_has_a_place_and_has_paid(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock)
    tally = ledger.runs.tallies.get("toil/clean")
    assert tally.others("another", clock()) == {run.id: "room"}
    assert tally.others(run.id, clock()) == {}
    assert tally.spent_within(clock(), 60) == [clock()]
    assert run.paid


def test_of_two_that_decide_on_the_same_tally_one_is_let_in(ledger, clock):
    one, other = begun(ledger, clock, "a"), begun(ledger, clock, "b")
    until = clock() + HOUR
    stale = entered(ledger, other, clock, until)
    admitted(ledger, one, clock)
    with pytest.raises(Crowded):
        ledger.runs.admit(other, clock(), 0, until, stale, due=other.due)
    assert ledger.runs.get(other.id).status is Status.PLANNED
    assert ledger.runs.holder("b", clock()) is None


@pytest.mark.parametrize("status", [Status.DEFERRED, Status.HELD])
def test_who_is_put_off_gives_its_places_back_and_pays_no_more(ledger, clock, status):
    run = admitted(ledger, begun(ledger, clock), clock)
    run = ledger.runs.move(run, status, clock(), clock())
    for scope in scopes(run):
        assert ledger.runs.tallies.get(scope).working == {}
    again = admitted(ledger, run, clock)
    assert len(ledger.runs.tallies.get("toil/clean").spent) == 1
    assert ledger.runs.tallies.get("toil/clean").others("another", clock()) == {again.id: "room"}


def test_a_run_that_ends_gives_its_places_back_and_its_target_remembers(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock)
    at = clock.tick(5)
    ledger.runs.end(run, Outcome.UNVERIFIED, clock())
    for scope in scopes(run):
        assert ledger.runs.tallies.get(scope).working == {}
    target = ledger.runs.tallies.get(target_scope("clean", "room"))
    assert target.ended == (Ending(at, "Unverified", run.id, "ImagePushed"),)
    assert ledger.runs.tallies.get("toil/clean").ended == ()


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.OBSERVED, Outcome.REFUSED, Outcome.REJECTED])
def test_a_run_that_never_acted_leaves_no_trace_on_its_target(ledger, clock, outcome):
    ledger.runs.end(begun(ledger, clock), outcome, clock())
    assert ledger.runs.tallies.get(target_scope("clean", "room")) == Tally(target_scope("clean", "room"))


def test_a_target_remembers_a_run_that_failed_before_it_could_act_and_only_so_many(ledger, clock, monkeypatch):
    monkeypatch.setattr("paydown.guardrails.facts.ENDINGS", 4)
    for number in range(6):
        failed = ledger.runs.end(begun(ledger, clock, key=f"push-{number}"), Outcome.FAILED, clock.tick(1))
    endings = ledger.runs.tallies.get(target_scope("clean", "room")).ended
    assert len(endings) == 4
    assert endings[-1] == Ending(clock(), "Failed", failed.id, "ImagePushed")


def test_two_runs_of_a_target_that_fail_at_one_moment_are_both_remembered(ledger, clock, monkeypatch):
    one = ledger.runs.move(begun(ledger, clock), Status.VERIFYING, clock(), clock(), owns_open=False)
    ledger.table.transact([ledger.table.delete("OPEN#clean#room", "OPEN")])
    other = begun(ledger, clock, key="push-2")
    read = ledger.runs.tallies.get

    def overtaken(scope):
        found = read(scope)
        monkeypatch.setattr(ledger.runs.tallies, "get", read)
        ledger.runs.end(other, Outcome.FAILED, clock())
        return found

    monkeypatch.setattr(ledger.runs.tallies, "get", overtaken)
    ledger.runs.end(one, Outcome.FAILED, clock())
    assert {ending.run for ending in read(target_scope("clean", "room")).ended} == {one.id, other.id}


def test_an_ending_of_a_version_that_wrote_no_event_down_is_read(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock)
    ledger.runs.end(run, Outcome.VERIFIED, clock())
    row = ledger.table.get("TALLY#target/clean/room", "TALLY")
    ledger.table.transact([ledger.table.put({**row, "ended": [row["ended"][0][:3]]})])
    (ending,) = ledger.runs.tallies.get(target_scope("clean", "room")).ended
    assert (ending.run, ending.event) == (run.id, "")


def test_a_place_that_is_long_over_counts_no_more_and_is_given_away(ledger, clock):
    run = admitted(ledger, begun(ledger, clock, "a"), clock, seconds=300)
    clock.tick(301)
    assert list(ledger.runs.tallies.get("toil/clean").others("another", clock()).values()) == ["a"]
    clock.tick(LINGERING.total_seconds())
    assert ledger.runs.tallies.get("toil/clean").others("another", clock()) == {}
    admitted(ledger, begun(ledger, clock, "b", "push-2"), clock)
    taken = ledger.runs.take(run.id, clock(), clock() + timedelta(seconds=58))
    with pytest.raises(Crowded):
        ledger.runs.renew(taken, clock(), clock() + HOUR)
    assert list(ledger.runs.tallies.get("toil/clean").others(run.id, clock()).values()) == ["b"]


def test_a_place_that_nobody_took_is_kept_by_renewing_even_after_it_was_over(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock, seconds=300)
    clock.tick(301)
    run = ledger.runs.renew(run, clock(), clock() + HOUR)
    assert ledger.runs.tallies.get("*").others("another", clock() + HOUR) == {run.id: "room"}


def test_a_wait_prolongs_lease_and_places(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock, seconds=300)
    until = clock() + HOUR
    run = ledger.runs.move(run, Status.WAITING, clock(), until, leased_until=until)
    clock.tick(3000)
    assert ledger.runs.holder("room", clock()) == (run.id, until)
    assert ledger.runs.tallies.get("toil/clean").others("another", clock()) == {run.id: "room"}


def test_a_wait_whose_lease_went_to_another_says_so(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock, seconds=300)
    clock.tick(301)
    other = admitted(ledger, begun(ledger, clock, key="push-2"), clock)
    with pytest.raises(Busy, match=other.id):
        ledger.runs.keep(run, clock(), leased_until=clock() + HOUR)


def test_what_nobody_looks_at_any_more_is_forgotten(ledger, clock):
    for number in range(3):
        run = admitted(ledger, begun(ledger, clock, key=f"push-{number}"), clock)
        ledger.runs.end(run, Outcome.VERIFIED, clock())
        clock.tick(2000)
    assert len(ledger.runs.tallies.get("toil/clean").spent) == 2
    assert len(ledger.runs.tallies.get(target_scope("clean", "room")).ended) == 2
    run = begun(ledger, clock, key="last")
    until = clock() + HOUR
    _, _, target = entered(ledger, run, clock, until, memory=timedelta(seconds=4500))
    assert [ending.at for ending in target.ended] == [
        clock() - timedelta(seconds=4000),
        clock() - timedelta(seconds=2000),
    ]


@pytest.mark.parametrize("acted", [True, False], ids=["while acting", "before acting"])
def test_a_target_remembers_what_a_person_took_over(ledger, clock, acted):
    run = begun(ledger, clock)
    run = admitted(ledger, run, clock) if acted else run
    until = clock() + HOUR
    ledger.runs.end(run, Outcome.REFUSED, clock(), overridden=("a person did it", until))
    tally = ledger.runs.tallies.get(target_scope("clean", "room"))
    assert tally.overridden == ("a person did it", until)
    assert tally.working == {}
    # The row takes another run in, whichever way it came to be.
    again = admitted(ledger, begun(ledger, clock, key="push-2"), clock)
    assert ledger.runs.tallies.get(target_scope("clean", "room")).overridden == ("a person did it", until)
    assert ledger.runs.end(again, Outcome.VERIFIED, clock()).ended


def test_events_are_counted_by_spans_of_time(ledger, clock):
    for _ in range(3):
        ledger.runs.tallies.count_event("clean", clock(), 60)
    clock.tick(60)
    ledger.runs.tallies.count_event("clean", clock(), 60)
    ledger.runs.tallies.count_event("other", clock(), 60)
    start = clock.time - timedelta(seconds=60)
    assert ledger.runs.tallies.events("clean", start - HOUR) == {start: 3, clock(): 1}
    assert ledger.runs.tallies.events("clean", clock()) == {clock(): 1}


def test_an_event_whose_count_is_throttled_goes_on(ledger, clock, monkeypatch):
    def throttled(*_, **__):
        raise RetryableError("the ledger is throttled")

    monkeypatch.setattr(ledger.table, "add", throttled)
    assert begun(ledger, clock).status is Status.PLANNED


def test_repeats_are_not_counted_but_joining_events_are(ledger, clock):
    begun(ledger, clock)
    begun(ledger, clock)
    begun(ledger, clock, key="push-2")
    assert list(ledger.runs.tallies.events("clean", clock() - HOUR).values()) == [2]


def test_an_undo_begins_once_and_only_after_the_end(ledger, clock):
    run = begun(ledger, clock)
    with pytest.raises(Alive, match="can be undone when it has ended"):
        ledger.runs.undo(run, "ann", "", clock())
    run = ledger.runs.end(admitted(ledger, run, clock), Outcome.UNVERIFIED, clock())
    undo = ledger.runs.undo(run, "ann", "it is in the way", clock())
    assert (undo.event_type, undo.event["run_id"], undo.event["by"]) == ("UndoRequested", run.id, "ann")
    assert (undo.target, undo.due) == ("room", clock())
    assert ledger.runs.undo(run, "bob", "", clock()).id == undo.id
    ledger.runs.end(undo, Outcome.UNVERIFIED, clock())
    assert ledger.runs.undo(run, "bob", "again", clock()).id == f"{undo.id}-2"


def test_a_run_may_end_with_the_run_that_undoes_it(ledger, clock):
    run = admitted(ledger, begun(ledger, clock), clock)
    ledger.runs.end(run, Outcome.FAILED, clock(), undo=("paydown", "why"))
    (undo,) = [ledger.runs.get(row["id"]) for row in ledger.runs.due(clock())]
    assert (undo.event_type, undo.event["by"]) == ("UndoRequested", "paydown")
