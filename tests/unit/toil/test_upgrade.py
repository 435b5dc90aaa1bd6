"""A deployment in the middle of work: the present code goes on from tables that the first version wrote."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paydown.guardrails import EVERYTHING_SCOPE
from paydown.ledger import Outcome, Run, Status
from tests.unit.toil.lamps import Plant, pushed

FOLDER = Path(__file__).parents[2] / "fixtures/ledger_v1"
STATES = sorted(path.stem for path in FOLDER.glob("*.json"))


@dataclass
class Old:
    """A plant over the old table, at the time at which it was left."""

    plant: Plant
    run_id: str

    def run(self) -> Run:
        found = self.plant.ledger.runs.get(self.run_id)
        assert found is not None
        return found

    def wake(self) -> Run:
        return self.plant.wake(self.run())


def plain(found: dict[str, Any]) -> Any:
    """Bytes, which JSON does not know, stand as base64 in the files."""
    return base64.b64decode(found["base64"]) if set(found) == {"base64"} else found


@pytest.fixture
def old(ledger, clock, world):
    def load(state: str) -> Old:
        left = json.loads((FOLDER / f"{state}.json").read_text(), object_hook=plain)
        for item in left["items"]:
            ledger.table._client.put_item(TableName="ledger", Item=item)
        clock.time = datetime.fromisoformat(left["at"])
        world.burning = set(left["burning"])
        world.switched = list(left["switched"])
        found = Old(Plant(ledger, clock), left["run"])
        assert found.run().status.value == left["status"]
        return found

    return load


def test_the_tables_are_those_of_the_first_version():
    assert STATES == ["applying", "approved", "deferred", "held", "stopped", "verifying", "waiting"]
    for state in STATES:
        items = json.loads((FOLDER / f"{state}.json").read_text())["items"]
        rows = [item for item in items if item["sk"]["S"] == "RUN"]
        assert rows
        assert all("scopes" not in row and "paid" not in row for row in rows)
        assert not [item for item in items if item["pk"]["S"].startswith("TALLY#")]


def test_a_held_run_can_be_approved_and_is_carried_out(old, clock, world):
    left = old("held")
    run = left.run()
    left.plant.ledger.approvals.decide(run, run.fingerprint, approved=True, by="ada", why="fine", now=clock())
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_held_run_can_be_rejected(old, clock, world):
    left = old("held")
    run = left.run()
    left.plant.ledger.approvals.decide(run, run.fingerprint, approved=False, by="ada", why="no", now=clock())
    assert left.wake().status is Outcome.REJECTED
    assert world.switched == []


def test_a_held_run_that_nobody_decides_on_expires_when_it_would_have(old, clock, world):
    left = old("held")
    due = left.run().due
    clock.time = due + timedelta(seconds=1)
    run = left.wake()
    assert (run.status, left.plant.codes(run)) == (Outcome.REJECTED, ["approval_expired"])
    assert world.switched == []


def test_an_approval_that_the_first_version_wrote_holds_for_what_it_was_given_for(old, clock, world):
    left = old("approved")
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_an_old_approval_does_not_cover_a_lamp_that_came_later(old, clock, world):
    left = old("approved")
    world.burning.add("sofa")
    run = left.wake()
    assert run.status is Status.HELD
    assert world.burning == {"sofa"}
    assert sorted(world.switched) == ["desk", "hall"]


def test_a_waiting_run_goes_on_when_it_is_due_and_not_before(old, clock, world):
    left = old("waiting")
    assert world.switched == ["desk"]
    assert left.wake().status is Status.WAITING
    clock.tick(201)
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_run_whose_worker_died_is_resumed_and_does_nothing_twice(old, clock, world):
    left = old("applying")
    assert left.wake().status is Status.APPLYING, "its worker may still be alive"
    clock.tick(91)
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]
    # That version knew no places: it is let in anew, so that limits hold, and what is left is planned again.
    assert left.plant.states(left.run()) == ["done", "planned", "done"]


def test_a_verifying_run_is_verified(old, clock, world):
    left = old("verifying")
    clock.tick(301)
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_deferred_run_is_planned_when_it_is_due(old, clock, world):
    left = old("deferred")
    clock.tick(101)
    assert left.wake().status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_stopped_run_stays_stopped_and_goes_on_when_it_is_resumed(old, clock, world):
    left = old("stopped")
    done = list(world.switched)
    clock.tick(61)
    run = left.wake()
    assert (run.status, left.plant.codes(run)) == (Status.DEFERRED, ["stopped"])
    assert world.switched == done
    left.plant.ledger.switches.resume("switch_off_lamps", "ada", "go on", clock())
    clock.tick(61)
    assert left.wake().status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]


@pytest.mark.parametrize("state", ["applying", "verifying", "waiting"])
def test_the_lease_of_an_old_run_is_respected(old, clock, world, state):
    left = old(state)
    before = list(world.switched)
    new = left.plant.look(pushed("push-2"))
    if world.burning:
        assert (new.status, left.plant.codes(new)) == (Status.DEFERRED, ["target_busy"])
    assert world.switched == before


@pytest.mark.parametrize("state", ["applying", "waiting"])
def test_an_old_run_that_acts_again_counts_against_the_budget(old, clock, world, state):
    left = old(state)
    clock.tick(201)
    seen = []

    def look(_lamp):
        seen.append(left.plant.ledger.runs.tallies.get(EVERYTHING_SCOPE).working)

    world.while_applying = look
    assert left.wake().status is Outcome.VERIFIED
    assert all(left.run_id in working for working in seen)
    assert seen


@pytest.mark.parametrize("state", STATES)
def test_the_message_of_the_event_that_comes_back_begins_nothing(old, clock, state):
    left = old(state)
    before = left.run()
    again = left.plant.look(pushed())
    assert again.id == left.run_id
    assert left.run() == before


@pytest.mark.parametrize("state", STATES)
def test_what_it_leaves_is_as_without_the_deployment(old, clock, world, state):
    """Whatever the old version left: when all is done, nothing is leased, open or due, and each lamp went off once."""
    left = old(state)
    run = left.run()
    if run.status is Status.HELD and state == "held":
        left.plant.ledger.approvals.decide(run, run.fingerprint, approved=True, by="ada", why="", now=clock())
    for stop in left.plant.ledger.switches.all():
        left.plant.ledger.switches.resume(stop.scope, "ada", "", clock())
    clock.tick(301)
    for _ in range(3):
        left.wake()
        clock.tick(61)
    assert left.run().status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]
    assert left.plant.ledger.runs.holder(run.target, clock()) is None
    assert list(left.plant.ledger.runs.alive()) == []
    assert left.plant.ledger.table.get(f"OPEN#{run.toil}#{run.target}", "OPEN") is None
    (month,) = left.plant.ledger.account(run.toil)
    assert month["runs"] == 1
