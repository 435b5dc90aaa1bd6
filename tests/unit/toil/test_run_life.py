"""The life of a run: what a worker makes of an event, a wait, a stop, an approval, trouble, and a crash."""

from datetime import timedelta

import pytest

from paydown.errors import InvalidEvent, PermanentError, RetryableError
from paydown.ledger import Lost, Outcome, Status
from paydown.plan import Hazard
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


# -- modes and guards --


def test_deployed_to_observe_it_plans_and_changes_nothing(plant, world):
    plant.observing = True
    run = plant.look()
    assert run.status is Outcome.OBSERVED
    assert world.switched == []
    assert plant.states(run) == ["planned", "planned"]


def test_policy_observe_wins_over_a_deployment_that_may_enforce(plant, world):
    plant.publish(mode="observe")
    assert plant.look().status is Outcome.OBSERVED
    assert world.switched == []


def test_the_observed_and_the_enforced_plan_have_the_same_fingerprint(plant):
    plant.observing = True
    observed = plant.look()
    plant.observing = False
    enforced = plant.look(pushed("push-2"))
    assert enforced.status is Outcome.VERIFIED
    assert observed.fingerprint == enforced.fingerprint != ""


def test_a_toil_type_that_the_policy_does_not_name_only_observes(plant, world, clock):
    plant.ledger.policy.publish({"toils": {}}, "test", clock())
    assert plant.look().status is Outcome.OBSERVED
    assert world.switched == []


def test_settings_that_the_toil_type_refuses_refuse_the_run(plant, world):
    plant.publish(settings={"brightness": "very", "colour": "red"})
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["invalid_settings"])
    assert "settings: brightness" in run.reasons[0].text
    assert "colour" in run.reasons[0].text


def test_without_a_policy_the_message_comes_back(ledger, clock, world):
    plant = lamps.Plant(ledger, clock)
    ledger.inventory.publish(lamps.ROOMS, "test", clock())
    with pytest.raises(RetryableError, match="no policy"):
        plant.look()
    assert list(ledger.runs.alive()) == []


def test_a_stop_defers_and_a_resume_lets_it_go_on(plant, world, clock):
    plant.ledger.switches.stop("switch_off_lamps", "ann", "inventory day", clock())
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["stopped"])
    assert "ann" in run.reasons[0].text
    clock.tick(61)
    assert plant.wake(run).status is Status.DEFERRED
    plant.ledger.switches.resume("switch_off_lamps")
    clock.tick(61)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_the_global_switch_stops_everything(plant, world, clock):
    plant.ledger.switches.stop("*", "ann", "", clock())
    assert plant.look().status is Status.DEFERRED
    assert world.switched == []


def test_a_stop_in_the_middle_finishes_the_action_and_defers(plant, world, clock):
    world.while_applying = lambda lamp: plant.ledger.switches.stop("*", "ann", "", clock())
    run = plant.look()
    assert run.status is Status.DEFERRED
    assert len(world.switched) == 1
    assert plant.ledger.runs.holder(run.target, clock()) is None
    world.while_applying = None
    plant.ledger.switches.resume("*")
    clock.tick(61)
    run = plant.wake(run)
    assert run.status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]
    assert run.evidence == {"dark": 2}


def test_a_stop_that_outlasts_the_limit_refuses_the_run(plant, clock):
    plant.publish(defer_seconds=100)
    plant.ledger.switches.stop("*", "ann", "", clock())
    run = plant.look()
    clock.tick(61)
    run = plant.wake(run)
    assert run.status is Status.DEFERRED
    clock.tick(61)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["deferred_too_long", "stopped"])


def test_two_runs_never_act_on_one_target(plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=200)
    first = plant.look()
    assert first.status is Status.WAITING
    second = plant.look(pushed("push-2"))
    assert (second.status, plant.codes(second)) == (Status.DEFERRED, ["target_busy"])
    clock.tick(201)
    assert plant.wake(first).status is Outcome.VERIFIED
    clock.tick(400)
    assert plant.wake(second).status is Outcome.SKIPPED


# -- joining --


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

    world.plan_raises = [PermanentError("the room is locked")]
    failed = look()
    assert failed.status is Outcome.FAILED
    assert look().id == failed.id
    clock.tick(301)
    again = look()
    assert again.id == f"{failed.id}-2"
    assert again.status is Outcome.VERIFIED
    clock.tick(301)
    world.burning.add("hall")
    assert look().id == again.id
    assert world.burning == {"hall"}


# -- approval --


def approve(plant, run, *, approved=True):
    return plant.ledger.approvals.decide(
        run, run.fingerprint, approved=approved, by="bob", why="looks right", now=plant.clock()
    )


def test_mode_approve_holds_until_a_person_approves(plant, world):
    plant.publish(mode="approve")
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.HELD, ["needs_approval"])
    assert world.switched == []
    approve(plant, run)
    assert plant.wake(run).status is Outcome.VERIFIED


@pytest.mark.parametrize("ceiling", ["none", "reversible"])
def test_a_hazard_above_the_ceiling_is_held(plant, ceiling):
    plant.publish(ceiling=ceiling)
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.HELD, ["above_ceiling"])


def test_destructive_needs_a_person_whatever_the_policy_says(plant, world):
    plant.publish(ceiling="destructive")
    world.hazards["desk"] = Hazard.DESTRUCTIVE
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.HELD, ["destructive"])
    assert world.switched == []


def test_a_rejected_plan_ends_rejected(plant, world):
    plant.publish(mode="approve")
    run = plant.look()
    approve(plant, run, approved=False)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REJECTED, ["rejected"])
    assert world.switched == []


def test_an_approval_that_nobody_gives_expires(plant, world, clock):
    plant.publish(mode="approve", hold_seconds=600)
    run = plant.look()
    clock.tick(601)
    run = plant.wake(run)
    assert (run.status, plant.codes(run)) == (Outcome.REJECTED, ["approval_expired"])


def test_what_was_approved_and_still_applies_is_done_and_the_rest_is_held_again(plant, world):
    plant.publish(mode="approve")
    run = plant.look()
    world.burning.remove("hall")
    world.burning.add("stairs")
    approve(plant, run)
    held = plant.wake(run)
    assert world.switched == ["desk"]
    assert (held.status, plant.codes(held)) == (Status.HELD, ["needs_approval", "changed"])
    assert [step["object"] for step in plant.ledger.journal.items(run.id) if step["plan"] == held.plan_number] == [
        "lamp/stairs"
    ]
    approve(plant, held)
    done = plant.wake(held)
    assert done.status is Outcome.VERIFIED
    assert world.switched == ["desk", "stairs"]
    assert done.evidence == {"dark": 2}


def test_an_approval_does_not_cover_what_became_more_hazardous(plant, world):
    plant.publish(mode="approve")
    run = plant.look()
    world.hazards["desk"] = Hazard.DESTRUCTIVE
    approve(plant, run)
    held = plant.wake(run)
    assert world.switched == ["hall"]
    assert held.status is Status.HELD
    assert "destructive" in plant.codes(held)


def test_of_two_decisions_the_first_counts(plant):
    from paydown.ledger import NotHeld

    plant.publish(mode="approve")
    run = plant.look()
    approve(plant, run)
    with pytest.raises(NotHeld):
        approve(plant, run, approved=False)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_an_approval_of_another_fingerprint_is_refused(plant):
    from paydown.ledger import NotHeld

    plant.publish(mode="approve")
    run = plant.look()
    with pytest.raises(NotHeld):
        plant.ledger.approvals.decide(run, "0" * 64, approved=True, by="bob", why="", now=plant.clock())


def test_a_nudge_does_not_act_without_an_approval(plant, world, clock):
    plant.publish(mode="approve")
    run = plant.look()
    for _ in range(3):
        clock.tick(61)
        assert plant.wake(run).status is Status.HELD
    assert world.switched == []


# -- waiting and trouble --


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

    meeting = threading.Barrier(3, timeout=5)
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
    assert plant.wake(run).status is Status.DEFERRED
    assert world.switched == ["desk"]


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
