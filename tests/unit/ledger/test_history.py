"""History by time, toil type, target and outcome; and what is forgotten when."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from paydown.ledger import Outcome, Status
from paydown.ledger.history import SHARDS, began
from paydown.ledger.retention import LIFE, RETENTION
from paydown.ledger.run import Run
from paydown.ledger.table import Table
from tests.unit.ledger.test_runs import COOL, admitted, begin, event
from tests.unit.toil.lamps import pushed

HOUR = 3_600


def ids(entries):
    return [entry.run for entry in entries]


def ever(clock):
    return clock() - timedelta(days=30), clock()


def test_runs_are_found_by_time_newest_first(ledger, clock):
    made = []
    for number in range(3 * SHARDS):
        made.append(begin(ledger, clock, f"e{number}", f"t{number}").run)
        clock.tick(HOUR)
    newest = [run.id for run in reversed(made)]
    history = ledger.history
    assert len({began(run, clock(), RETENTION)[0]["history"] for run in made}) > 1
    assert ids(history.begun(*ever(clock))) == newest
    assert ids(history.begun(*ever(clock), limit=5)) == newest[:5]
    assert ids(history.begun(made[2].created, made[4].created)) == [made[4].id, made[3].id, made[2].id]
    assert [run.id for run in ledger.history.recent(clock(), limit=3)] == newest[:3]


def test_runs_are_found_by_toil_type_and_target(ledger, clock):
    first = begin(ledger, clock, "e1", "t1").run
    second = begin(ledger, clock, "e2", "t1", toil="advise").run
    clock.tick(HOUR)
    third = begin(ledger, clock, "e3", "t2").run
    history, span = ledger.history, ever(clock)
    assert set(ids(history.begun(*span, toil="clean"))) == {first.id, third.id}
    assert set(ids(history.begun(*span, target="t1"))) == {first.id, second.id}
    assert ids(history.begun(*span, target="t1", toil="advise", limit=1)) == [second.id]
    assert set(ids(history.begun(*span, target="host/t1"))) == {first.id, second.id}
    assert ids(history.begun(*span, target="t")) == ids(history.begun(*span, toil="cle")) == []


def test_runs_are_found_by_outcome_at_the_time_at_which_they_ended(ledger, clock):
    first, second = (begin(ledger, clock, f"e{number}", f"t{number}").run for number in (1, 2))
    other = begin(ledger, clock, "e3", "t3", toil="advise").run
    ledger.runs.end(second, Outcome.FAILED, clock.tick(HOUR))
    ended = clock.tick(HOUR)
    ledger.runs.end(first, Outcome.VERIFIED, ended)
    ledger.runs.end(other, Outcome.FAILED, ended)
    history, span = ledger.history, ever(clock)
    assert ids(history.ended([Outcome.FAILED, Outcome.VERIFIED], *span, toil="clean")) == [first.id, second.id]
    assert ids(history.ended([Outcome.FAILED], *span)) == [other.id, second.id]
    assert ids(history.ended([Outcome.FAILED], *span, toil="clean", limit=1)) == [second.id]
    assert ids(history.ended(Outcome, ended, ended, limit=1))[0] in (first.id, other.id)
    assert ids(history.ended([Outcome.SKIPPED], *span)) == []
    (entry,) = history.ended([Outcome.VERIFIED], *span)
    assert (entry.outcome, entry.at, entry.ref) == (Outcome.VERIFIED, ended, "host/t1")


def test_a_run_that_ends_as_it_begins_is_found_either_way(ledger, clock):
    begin(ledger, clock)
    joined = begin(ledger, clock, "e2").run
    assert joined.status is Outcome.SKIPPED
    assert joined.id in ids(ledger.history.begun(*ever(clock)))
    assert ids(ledger.history.ended([Outcome.SKIPPED], *ever(clock))) == [joined.id]


def test_entries_are_written_once_however_often_a_run_moves(ledger, clock, monkeypatch):
    run = begin(ledger, clock).run
    written = []
    transact = Table.transact
    monkeypatch.setattr(Table, "transact", lambda self, writes: (written.extend(writes), transact(self, writes))[1])
    clock.tick(1)
    run = ledger.runs.keep(run, clock(), due=clock())
    run = admitted(ledger, clock, run)
    run = ledger.runs.move(run, Status.WAITING, clock(), clock())
    assert [one for one in written if "history" in one.get("Put", {}).get("Item", {})] == []
    ledger.runs.end(run, Outcome.VERIFIED, clock())
    entries = [one["Put"]["Item"]["history"]["S"] for one in written if "history" in one.get("Put", {}).get("Item", {})]
    assert [entry.rpartition("#")[0] for entry in entries] == ["OUTCOME#Verified"]


def test_an_entry_whose_row_is_forgotten_names_no_run(ledger, clock):
    kept, gone = (begin(ledger, clock, f"e{number}", f"t{number}").run for number in (1, 2))
    ledger.table.transact([ledger.table.delete(gone.partition, "RUN")])
    entries = list(ledger.history.begun(*ever(clock)))
    assert len(entries) == 2
    assert [run.id for run in ledger.history.runs(entries)] == [kept.id]


def old_row(ledger, clock, key, **changes):
    """A row as version 0.1 wrote it: it lies in the history itself, by day, and has no entries."""
    run = replace(Run.begin("clean", f"t-{key}", f"host/t-{key}", event(key), clock()), **changes)
    item = {**run.item(), "history": f"DAY#{clock().astimezone(UTC):%Y-%m-%d}"}
    ledger.table.transact([ledger.table.put(item)])
    return run


def test_runs_of_version_0_1_follow_by_time_and_target_but_not_by_outcome(ledger, clock):
    ended = old_row(ledger, clock, "o1", status=Outcome.VERIFIED)
    clock.tick(30 * HOUR)
    living = old_row(ledger, clock, "o2", due=clock())
    clock.tick(60 * HOUR)
    new = begin(ledger, clock).run
    history, span = ledger.history, ever(clock)
    assert ids(history.begun(*span)) == [new.id, living.id, ended.id]
    assert ids(history.begun(*span, limit=2)) == [new.id, living.id]
    assert ids(history.begun(*span, target="host/t-o1")) == [ended.id]
    assert ids(history.begun(*span, toil="clean")) == [new.id, living.id, ended.id]
    assert ids(history.begun(*span, toil="advise")) == []
    assert ids(history.ended(Outcome, *span)) == []


def test_a_run_of_version_0_1_that_goes_on_is_found_as_before_and_by_its_outcome(ledger, clock):
    living = old_row(ledger, clock, "o1", due=clock())
    taken = ledger.runs.take(living.id, clock(), clock() + timedelta(seconds=58))
    clock.tick(HOUR)
    ledger.runs.end(taken, Outcome.FAILED, clock())
    assert ids(ledger.history.begun(*ever(clock))) == [living.id]
    assert ids(ledger.history.ended([Outcome.FAILED], *ever(clock))) == [living.id]


def test_days_before_the_first_entry_alone_are_looked_at_for_old_rows(ledger, clock, monkeypatch):
    begin(ledger, clock)
    clock.tick(20 * 24 * HOUR)
    asked = []
    query = ledger.table.query_index
    monkeypatch.setattr(
        ledger.table, "query_index", lambda *call, **more: asked.append(call[2][":pk"]) or query(*call, **more)
    )
    assert ids(ledger.history.begun(clock() - timedelta(days=10), clock())) == []
    assert [one for one in asked if one.startswith("DAY#")] == []
    list(ledger.history.begun(clock() - timedelta(days=22), clock()))
    assert [one for one in asked if one.startswith("DAY#")] == ["DAY#2026-11-22", "DAY#2026-11-21", "DAY#2026-11-20"]


# -- retention ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 400])
def test_an_ended_run_goes_after_the_policy_says_and_nothing_of_it_earlier(plant, clock, days):
    policy = {"toils": {"switch_off_lamps": {"mode": "approve", "ceiling": "none"}}, "retention_days": days}
    plant.ledger.policy.publish(policy, "test", clock())
    held = plant.look()
    assert held.status is Status.HELD
    clock.tick(20 * HOUR)
    plant.ledger.approvals.decide(held, held.fingerprint, approved=True, by="ann", why="", now=clock())
    ended = plant.wake(plant.ledger.runs.get(held.id))
    assert ended.ended
    over = clock() + timedelta(days=days)
    items = {item["sk"]: item for item in plant.ledger.table.query(held.partition)}
    assert {sk.split("#")[0] for sk in items} >= {"RUN", "LOG", "STEP", "AT"}
    assert items["RUN"]["expires"] == int(over.timestamp())
    for sk, item in items.items():
        assert int(over.timestamp()) <= item["expires"] <= int((over + LIFE).timestamp()), sk
    for item in plant.ledger.table.query(f"APPROVAL#{held.id}"):
        assert item["expires"] >= int(over.timestamp())


def test_a_living_run_loses_nothing_while_it_may_yet_last(plant, clock):
    policy = {"toils": {"switch_off_lamps": {"mode": "approve", "hold_seconds": 2_592_000}}, "retention_days": 1}
    plant.ledger.policy.publish(policy, "test", clock())
    held = plant.look()
    longest = clock() + timedelta(days=30 + 30 + 7)
    for item in plant.ledger.table.query(held.partition):
        assert item["sk"] == "RUN" or item["expires"] > longest.timestamp(), item["sk"]
    assert "expires" not in plant.ledger.table.get(held.partition, "RUN")


def test_joined_runs_and_later_attempts_go_too(ledger, clock):
    ledger.runs.retention = timedelta(days=10)
    begin(ledger, clock)
    joined = begin(ledger, clock, "e2").run
    over = (clock() + timedelta(days=10)).timestamp()
    assert {item["expires"] for item in ledger.table.query(joined.partition)} == {int(over)}

    def fault():
        from paydown.events import NodeNotReady

        return NodeNotReady(key="alert", at=clock(), cluster="c", node="n")

    for _ in range(2):
        run = ledger.runs.create("recover", "n", "node/c/n", fault(), clock(), clock(), COOL).run
        ledger.runs.end(run, Outcome.FAILED, clock())
        clock.tick(HOUR)
    first = run.id.partition("-")[0]
    attempts = ledger.table.get(f"RUN#{first}", "ATTEMPTS")
    assert attempts["expires"] >= ledger.table.get(run.partition, "RUN")["expires"]


def test_what_a_target_is_remembered_by_goes_and_the_account_stays(plant, clock):
    plant.look(pushed())
    items = plant.ledger.table._client.scan(TableName="ledger")["Items"]
    tallies = {item["pk"]["S"]: item for item in items if item["pk"]["S"].startswith("TALLY#")}
    of_target = [item for pk, item in tallies.items() if pk.startswith("TALLY#target/")]
    assert of_target
    assert all(int(item["expires"]["N"]) > clock().timestamp() for item in of_target)
    kept = {item["pk"]["S"].split("#")[0] for item in items if "expires" not in item}
    assert kept <= {"TALLY", "DEBT", "DOC", "LEASE", "OPEN"}
