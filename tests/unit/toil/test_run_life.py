"""The life of a run: what a worker makes of events, of their repeats, and of those that join."""

import json
from datetime import timedelta

import pytest

from paydown.errors import InvalidEvent, PermanentError
from paydown.ledger import Outcome, Status
from tests.unit.toil import lamps
from tests.unit.toil.lamps import pushed


def test_an_event_becomes_a_verified_run(plant, world):
    run = plant.look()
    assert run.status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]
    assert run.evidence == {"dark": 2}
    assert plant.states(run) == ["done", "done"]
    statuses = [entry["status"] for entry in plant.ledger.runs.log(run.id)]
    assert statuses == ["Planned", "Applying", "Verifying", "Verified"]


def test_a_verified_run_is_booked_in_the_debt_account(plant):
    plant.look()
    (month,) = plant.ledger.account("switch_off_lamps")
    assert month == {"month": "2026-11", "runs": 1, "minutes": 5, "lamps": 2}


def test_an_ended_run_gives_the_lease_back_and_is_due_no_more(plant, clock):
    run = plant.look()
    assert plant.ledger.runs.holder(run.target, clock()) is None
    assert list(plant.ledger.runs.alive()) == []
    item = plant.ledger.table.get(run.partition, "RUN")
    assert item["expires"] == int((clock() + timedelta(days=400)).timestamp())


def test_nothing_to_do_is_skipped(plant, world):
    world.burning.clear()
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.SKIPPED, ["nothing_to_do"])


def test_a_repeat_of_the_event_changes_nothing(plant, world):
    first = plant.look()
    world.burning.add("hall")
    again = plant.look()
    assert again.id == first.id
    assert world.burning == {"hall"}


def test_an_event_for_several_targets_fans_out(plant):
    envelope = {"source": "paydown", "detail-type": "ImagePushed", "detail": pushed().model_dump(mode="json")}
    assert plant.worker().handle(envelope) == []
    assert [toil for toil, _ in plant.sent] == ["switch_off_lamps"] * 2
    assert '"target": "host/room-1"' in plant.sent[0][1]
    assert '"target": "host/room-2"' in plant.sent[1][1]
    for _, command in plant.sent:
        plant.worker().handle(json.loads(command))
    events = plant.ledger.runs.tallies.events("switch_off_lamps", plant.clock() - timedelta(hours=1))
    assert list(events.values()) == [1], "one event, however many targets it has, is no storm"


def test_an_event_about_nothing_in_the_inventory_is_on_record(plant):
    event = pushed(repository="elsewhere/one")
    envelope = {"source": "paydown", "detail-type": "ImagePushed", "detail": event.model_dump(mode="json")}
    (run,) = plant.worker().handle(envelope)
    assert (run.status, plant.codes(run)) == (Outcome.SKIPPED, ["no_target"])
    assert plant.ledger.runs.get(run.id).status is Outcome.SKIPPED


def test_a_command_for_a_target_outside_the_inventory_acts_on_nothing(plant, world):
    run = plant.look(room="host/cellar")
    assert (run.status, plant.codes(run)) == (Outcome.SKIPPED, ["target_unknown"])
    assert world.switched == []


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ([], ""),
        ({"paydown": 2, "command": "wake", "run_id": "x"}, "paydown"),
        ({"paydown": 1, "command": "wake"}, "command"),
        ({"paydown": 1, "command": "dance"}, "command"),
        ({"paydown": 1, "command": "look", "detail_type": "Rain"}, "detail_type"),
        ({"paydown": 1, "command": "look", "detail_type": "ImagePushed", "detail": {"key": "k"}}, "at"),
    ],
)
def test_a_message_that_cannot_become_a_run_names_its_fault(plant, message, field):
    with pytest.raises(InvalidEvent) as refused:
        plant.worker().handle(message)
    assert refused.value.faults[0][0] == field


def test_an_event_joins_the_run_that_has_yet_to_look(plant, world, clock):
    world.young_until = clock() + timedelta(seconds=100)
    first = plant.look()
    assert (first.status, plant.codes(first)) == (Status.DEFERRED, ["not_yet"])
    second = plant.look(pushed("push-2"))
    assert (second.status, plant.codes(second)) == (Outcome.SKIPPED, ["joined"])
    assert first.id in second.reasons[0].text
    clock.tick(101)
    assert plant.wake(first).status is Outcome.VERIFIED


def test_an_event_that_joins_while_the_run_looks_makes_it_look_again(plant, world):
    def meanwhile():
        world.while_planning = None
        world.burning.add("new")
        joined = plant.look(pushed("push-2"))
        assert plant.codes(joined) == ["joined"]

    world.while_planning = meanwhile
    run = plant.look()
    assert run.status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall", "new"]


def test_an_event_after_the_run_began_to_act_has_a_run_of_its_own(plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=200)
    plant.look()
    assert plant.look(pushed("push-2")).status is Status.DEFERRED
    third = plant.look(pushed("push-3"))
    assert plant.codes(third) == ["joined"]


def test_a_fault_that_goes_on_after_a_failed_run_is_looked_at_again_when_it_has_cooled_down(plant, world, clock):
    class Ongoing(lamps.ImagePushed):
        ongoing = True

    def event():
        return Ongoing(**pushed().model_dump())

    def look():
        worker = plant.worker()
        return worker._look(event(), worker._inventory.find("host/room-1"))

    plant.publish(cool_down_seconds=300)
    world.plan_raises = [PermanentError("the room is locked")]
    failed = look()
    assert failed.status is Outcome.FAILED
    assert look().id == failed.id
    clock.tick(301)
    world.plan_raises = [PermanentError("the room is locked")]
    failed_again = look()
    assert (failed_again.id, failed_again.status) == (f"{failed.id}-2", Outcome.FAILED)
    clock.tick(301)
    assert look().id == failed_again.id, "each failure makes the next attempt wait longer"
    clock.tick(300)
    again = look()
    assert again.id == f"{failed.id}-3"
    assert again.status is Outcome.VERIFIED
    clock.tick(301)
    world.burning.add("hall")
    assert look().id == again.id
    assert world.burning == {"hall"}
