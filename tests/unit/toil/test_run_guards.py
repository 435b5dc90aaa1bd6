"""What guards and people make of a run: modes, ceilings, switches, approvals."""

from datetime import timedelta

import pytest

from paydown.errors import PermanentError, RetryableError
from paydown.ledger import Outcome, Status
from paydown.plan import Hazard
from tests.unit.toil import lamps
from tests.unit.toil.lamps import pushed


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
    plant.ledger.switches.resume("switch_off_lamps", "test", "", plant.clock())
    clock.tick(61)
    assert plant.wake(run).status is Outcome.VERIFIED


@pytest.mark.parametrize("error", [RetryableError("no answer"), PermanentError("not allowed")])
def test_switches_that_cannot_be_read_count_as_on(plant, world, monkeypatch, error):
    def unreadable(toil):
        raise error

    monkeypatch.setattr(plant.ledger.switches, "stops", unreadable)
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["stopped"])
    assert world.switched == []


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
    plant.ledger.switches.resume("*", "test", "", plant.clock())
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
