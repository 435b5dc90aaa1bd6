"""What a stopped or failed run leaves half-done is taken back: by itself, or as a person asks."""

from __future__ import annotations

import pytest

from paydown.errors import PermanentError
from paydown.ledger import Alive, Lost, Outcome, Status
from paydown.plan import Hazard
from tests.unit.toil.test_run_limits import policy


def half_done(plant, world, **hazards):
    world.burning = {"desk", "late-1"}
    world.hazards = {"desk": Hazard.REVERSIBLE}

    def stuck(lamp):
        if lamp == "late-1":
            raise PermanentError("stuck")

    world.while_applying = stuck
    run = plant.look()
    world.while_applying = None
    return run


def test_a_run_that_fails_says_what_it_left_and_has_it_taken_back(plant, world, clock):
    run = half_done(plant, world)
    assert run.status is Outcome.FAILED
    assert run.evidence["left"] == ["switch_off lamp/desk"]
    (row,) = plant.ledger.runs.due(clock())
    undo = plant.wake(plant.ledger.runs.get(row["id"]))
    assert undo.status is Outcome.VERIFIED
    assert world.burning == {"desk", "late-1"}
    assert undo.evidence == {"undone": 1, "left": []}


def test_taking_back_neither_heals_nor_harms_in_the_memory_of_the_target(plant, world, clock):
    failed = half_done(plant, world)
    (row,) = plant.ledger.runs.due(clock())
    assert plant.wake(plant.ledger.runs.get(row["id"])).status is Outcome.VERIFIED
    tally = plant.ledger.runs.tallies.get("target/switch_off_lamps/room-1")
    assert [ending.run for ending in tally.ended] == [failed.id]
    assert tally.working == {}


def test_what_is_not_safe_to_take_back_stays_and_is_told(plant, world, clock):
    world.needed = {"desk"}
    half_done(plant, world)
    (row,) = plant.ledger.runs.due(clock())
    undo = plant.wake(plant.ledger.runs.get(row["id"]))
    assert undo.status is Outcome.UNVERIFIED
    assert undo.evidence["left"] == ["lamp/desk: somebody sleeps"]
    assert list(plant.ledger.runs.alive()) == [], "nothing tries to undo an undo"


def test_a_stop_stops_taking_back_as_well(plant, world, clock):
    half_done(plant, world)
    plant.ledger.switches.stop("*", "ann", "", clock())
    (row,) = plant.ledger.runs.due(clock())
    undo = plant.wake(plant.ledger.runs.get(row["id"]))
    assert (undo.status, plant.codes(undo)) == (Status.DEFERRED, ["stopped"])
    assert world.burning == {"late-1"}


def test_a_person_may_take_back_what_a_run_did_though_the_limits_are_reached(plant, world, clock):
    policy(plant, clock, {"ceiling": "none", "mode": "enforce", "overrides": []})
    world.burning, world.hazards = {"desk"}, {"desk": Hazard.REVERSIBLE}
    policy(plant, clock, {})
    run = plant.look()
    assert run.status is Outcome.VERIFIED
    policy(plant, clock, {"mode": "approve", "max_concurrent": 0})
    undo = plant.ledger.runs.undo(run, "ann", "wanted", clock())
    assert plant.wake(undo).status is Outcome.VERIFIED
    assert world.burning == {"desk"}
    (month,) = plant.ledger.account("switch_off_lamps")
    assert (month["runs"], month["undone"]) == (1, 1)


def test_no_message_begins_an_undo(plant, world, clock):
    from paydown.errors import InvalidEvent

    run = half_done(plant, world)
    detail = {"key": "x", "at": clock().isoformat(), "run_id": run.id, "by": "mallory"}
    command = {"paydown": 1, "command": "look", "detail_type": "UndoRequested", "detail": detail, "target": run.ref}
    with pytest.raises(InvalidEvent, match="detail_type"):
        plant.worker().handle(command)


def test_a_worker_that_died_after_writing_a_failure_does_not_let_the_next_go_on(plant, world, clock, monkeypatch):
    world.burning = {"desk", "late-1"}
    world.apply_raises = [PermanentError("stuck")]

    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(plant.ledger.runs, "end", dies)
        with pytest.raises(Killed):
            plant.look()
    clock.tick(61)
    (row,) = plant.ledger.runs.due(clock())
    assert plant.wake(plant.ledger.runs.get(row["id"])).status is Outcome.FAILED
    assert world.switched == []


# -- what a stop left -------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(plant, world, clock):
    """A run that a stop put off after its first lamp."""
    world.burning, world.hazards = {"desk", "late-1"}, {"desk": Hazard.REVERSIBLE}

    def stop(lamp):
        if lamp == "desk":
            plant.ledger.switches.stop("*", "ann", "look first", clock.tick(1))

    world.while_applying = stop
    run = plant.look()
    world.while_applying = None
    assert (run.status, plant.codes(run), world.burning) == (Status.DEFERRED, ["stopped"], {"late-1"})
    clock.tick(5)
    return run


def test_a_person_has_a_stopped_run_taken_back_while_everything_else_stays_stopped(plant, world, clock, stopped):
    undo = plant.ledger.runs.undo(stopped, "ann", "not tonight", clock(), left=["switch_off lamp/desk"])
    ended = plant.ledger.runs.get(stopped.id)
    assert (ended.status, plant.codes(ended)) == (Outcome.REJECTED, ["taken_back"])
    assert ended.reasons[0].text == "by ann: not tonight"
    assert ended.evidence["left"] == ["switch_off lamp/desk"]
    assert plant.wake(undo).status is Outcome.VERIFIED
    assert world.burning == {"desk", "late-1"}
    clock.tick(120)
    assert plant.wake(ended) == ended
    assert list(plant.ledger.runs.alive()) == []


def test_a_stop_of_afterwards_stops_it(plant, world, clock, stopped):
    undo = plant.ledger.runs.undo(stopped, "ann", "", clock())
    plant.ledger.switches.stop("switch_off_lamps", "bob", "wait", clock.tick(0.002))
    undo = plant.wake(undo)
    assert (undo.status, plant.codes(undo)) == (Status.DEFERRED, ["stopped"])
    assert undo.reasons[0].text.startswith("switch_off_lamps was stopped by bob")
    assert world.burning == {"late-1"}
    clock.tick(5)
    again = plant.ledger.runs.undo(plant.ledger.runs.get(stopped.id), "ann", "now", clock())
    assert again.id == f"{undo.id}-2"
    assert plant.codes(plant.ledger.runs.get(undo.id)) == ["asked_anew"]
    assert plant.wake(again).status is Outcome.VERIFIED
    assert world.burning == {"desk", "late-1"}


def test_a_run_that_a_worker_lets_in_at_that_moment_is_not_ended(plant, world, clock, stopped):
    plant.ledger.switches.resume("*", "ann", "", clock())
    clock.tick(60)
    assert plant.wake(stopped).status is Outcome.VERIFIED
    with pytest.raises(Lost):
        plant.ledger.runs.undo(stopped, "ann", "", clock())


def test_a_run_that_has_not_acted_is_not_taken_back(plant, world, clock):
    policy(plant, clock, {"mode": "approve"})
    held = plant.look()
    assert held.status is Status.HELD
    with pytest.raises(Alive, match="can be undone when it has ended"):
        plant.ledger.runs.undo(held, "ann", "", clock())
