"""Waiting, trouble outside, bugs and dead workers."""

from datetime import timedelta

import pytest

from paydown.errors import PermanentError, RetryableError
from paydown.ledger import Lost, Outcome, Status
from paydown.plan import Hazard
from tests.unit.toil import lamps


def test_an_action_that_must_wait_makes_the_run_wait(plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=90)
    run = plant.look()
    assert (run.status, run.due) == (Status.WAITING, world.busy_until["hall"])
    assert world.switched == ["desk"]
    clock.tick(91)
    assert plant.wake(run).status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_wait_longer_than_the_policy_allows_fails(plant, world, clock):
    plant.publish(wait_seconds=100)
    world.busy_until["hall"] = clock() + timedelta(seconds=1000)
    run = plant.look()
    clock.tick(1001)
    world.busy_until["hall"] = clock() + timedelta(seconds=1000)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["waited_too_long"])
    assert "somebody reads" in run.reasons[0].text


def test_verification_waits_until_the_world_has_settled(plant, world, clock):
    world.dark_at = clock() + timedelta(seconds=300)
    run = plant.look()
    assert (run.status, run.due) == (Status.VERIFYING, world.dark_at)
    clock.tick(301)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_a_world_that_never_settles_is_unverified(plant, world, clock):
    plant.publish(wait_seconds=100)
    world.dark_at = clock() + timedelta(seconds=30_000)
    run = plant.look()
    assert run.due == clock() + timedelta(seconds=100)
    clock.tick(101)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.UNVERIFIED, ["waited_too_long"])


def test_an_effect_that_did_not_last_is_unverified(plant, world):
    def relight(lamp):
        if lamp == "hall":
            world.ignored.add("desk")
            world.burning.add("desk")

    world.while_applying = relight
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.UNVERIFIED, ["unverified"])
    assert run.evidence == {"left": ["desk"]}


def test_the_stages_of_a_plan_follow_each_other(plant, world):
    world.burning |= {"late-1", "late-2"}
    plant.look()
    assert sorted(world.switched[:2]) == ["desk", "hall"]
    assert sorted(world.switched[2:]) == ["late-1", "late-2"]


def test_the_actions_of_a_stage_run_in_parallel(plant, world, monkeypatch):
    import threading

    meeting = threading.Barrier(3, timeout=60)
    world.burning = {"a", "b", "c"}

    class Together(lamps.SwitchOffLamps):
        name = "switch_off_lamps"
        parallel = 3

        def apply(self, action, target):
            meeting.wait()  # raises unless three calls are in it at the same time
            return super().apply(action, target)

    plant.toil = Together
    assert plant.look().status is Outcome.VERIFIED


def test_trouble_outside_is_retried_after_its_delay(plant, world, clock):
    world.apply_raises = [RetryableError("the line is dead", delay=40)]
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.APPLYING, ["retry"])
    assert run.due == clock() + timedelta(seconds=40)
    clock.tick(41)
    assert plant.wake(run).status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]


def test_retries_are_counted_and_end(plant, world, clock):
    world.plan_raises = [RetryableError("the line is dead", delay=10) for _ in range(9)]
    run = plant.look()
    for _ in range(3):
        assert run.status is Status.PLANNED
        clock.tick(1000)
        run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["attempts_exhausted"])
    assert "the line is dead" in run.reasons[0].text


def test_a_permanent_error_fails_the_run_and_begins_nothing_more(plant, world):
    world.apply_raises = [PermanentError("the switch is broken")]
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["permanent"])
    assert "the switch is broken" in run.reasons[0].text
    assert plant.states(run) == ["failed", "planned"]
    assert world.switched == []


def test_a_bug_is_reported_and_retried_without_its_text(plant, world, clock):
    world.apply_raises = [ZeroDivisionError("secret")]
    run = plant.look()
    assert isinstance(plant.reported[0], ZeroDivisionError)
    assert (run.status, plant.codes(run)) == (Status.APPLYING, ["error"])
    assert "ZeroDivisionError" in run.reasons[0].text
    assert "secret" not in run.reasons[0].text
    clock.tick(31)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_near_the_end_of_the_invocation_nothing_is_begun(plant, world, clock):
    plant.seconds = 20
    run = plant.look()
    assert run.status is Status.APPLYING
    assert world.switched == []
    assert run.due == clock()
    plant.seconds = 58
    assert plant.wake(run).status is Outcome.VERIFIED


def test_a_resumed_run_carries_out_its_journalled_plan(plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=90)
    run = plant.look()
    world.burning.add("new")
    clock.tick(91)
    assert plant.wake(run).status is Outcome.VERIFIED
    assert world.burning == {"new"}


def test_an_unknown_result_of_an_action_that_must_not_be_repeated_is_held(plant, world, clock, monkeypatch):
    monkeypatch.setattr(lamps.SwitchOff, "repeatable", False)
    world.apply_raises = [RetryableError("no answer", delay=10)]
    run = plant.look()
    clock.tick(11)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Status.HELD, ["unknown_result"])
    assert world.switched == []


def test_redeployed_to_observe_a_run_in_work_stops(plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=90)
    run = plant.look()
    plant.observing = True
    clock.tick(91)
    run = plant.wake(run)
    for _ in range(2):
        assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["observe"])
        assert plant.wake(run) == run, "it is not due"
        clock.tick(61)
        run = plant.wake(run)
    assert world.switched == ["desk"]
    clock.tick(86_400)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["deferred_too_long", "observe"])


def test_a_target_that_is_opted_out_in_the_middle_of_its_run_is_touched_no_more(plant, world, clock):
    world.hazards = {"desk": Hazard.REVERSIBLE}
    world.busy_until["hall"] = clock() + timedelta(seconds=90)
    run = plant.look()
    rooms = [{**room, "labels": {"paydown.dev/opt-out": "true"}} for room in lamps.ROOMS["hosts"]]
    plant.ledger.inventory.publish({"hosts": rooms}, "test", clock())
    clock.tick(91)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["opted_out"])
    assert run.evidence["left"] == ["switch_off lamp/desk"]
    assert list(plant.ledger.runs.alive()) == [], "nor is it taken back"


@pytest.mark.parametrize(
    ("policy", "code"), [({"ceiling": "none"}, "above_ceiling"), ({"mode": "approve"}, "needs_approval")]
)
def test_a_policy_that_has_become_stricter_holds_what_is_left_of_a_run(plant, world, clock, policy, code):
    world.busy_until["hall"] = clock() + timedelta(seconds=90)
    run = plant.look()
    plant.publish(**policy)
    clock.tick(91)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["needs_approval"])
    clock.tick(1)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Status.HELD, [code])
    assert world.switched == ["desk"]
    plant.ledger.approvals.decide(run, run.fingerprint, approved=True, by="bob", why="", now=clock())
    assert plant.wake(run).status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_target_that_left_the_inventory_is_not_touched(plant, world, clock):
    world.young_until = clock() + timedelta(seconds=90)
    run = plant.look()
    plant.ledger.inventory.publish({"hosts": lamps.ROOMS["hosts"][1:]}, "test", clock())
    clock.tick(91)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["not_in_inventory"])


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


def test_a_run_that_kills_its_workers_fails_in_the_end(plant, world, clock):
    world.apply_raises = [Killed() for _ in range(9)]
    with pytest.raises(Killed):
        plant.look()
    (row,) = plant.ledger.runs.alive()
    run = plant.ledger.runs.get(row["id"])
    for _ in range(5):
        clock.tick(61)
        with pytest.raises(Killed):
            plant.wake(run)
    clock.tick(61)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["crashed"])


def test_a_worker_that_was_replaced_can_write_nothing(plant, world, clock):
    def freeze(lamp):
        clock.tick(100)  # past its time: another worker takes the run up
        world.while_applying = None
        plant.wake(plant.ledger.runs.get(next(iter(plant.ledger.runs.alive()))["id"]))

    world.while_applying = freeze
    run = plant.look()
    assert plant.ledger.runs.get(run.id).status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]
    with pytest.raises(Lost):
        plant.ledger.runs.keep(run, clock(), due=clock())
