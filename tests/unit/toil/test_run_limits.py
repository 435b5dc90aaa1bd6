"""What limits make of runs: crowds, budgets, pools, rests, storms, faults that come back, and people who take over."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from paydown.errors import PermanentError
from paydown.guardrails import LINGERING
from paydown.ledger import Outcome, Status
from paydown.plan import Healer, Overridden, Population
from tests.unit.toil import lamps
from tests.unit.toil.lamps import pushed


class Ongoing(lamps.ImagePushed):
    """A fault that is reported as long as it lasts."""

    ongoing = True


@pytest.fixture(autouse=True)
def _ongoing(monkeypatch):
    monkeypatch.setitem(lamps_events(), "Ongoing", Ongoing)


def lamps_events():
    from paydown.toil import worker

    return worker.EVENTS


def fault(key):
    return Ongoing(**pushed(key).model_dump())


def policy(plant, clock, mine, **shared):
    toil = {**lamps.POLICY["toils"]["switch_off_lamps"], **mine}
    plant.ledger.policy.publish({"toils": {"switch_off_lamps": toil}, **shared}, "test", clock())


def frozen(plant, world, clock, room="host/room-2", key="frozen"):
    """A run that acts and whose worker then never comes back."""
    before = {row["id"] for row in plant.ledger.runs.alive()}

    class Frozen(BaseException):
        pass

    def freeze(lamp):
        raise Frozen

    world.while_applying = freeze
    with pytest.raises(Frozen):
        plant.look(pushed(key), room)
    world.while_applying = None
    (begun,) = {row["id"] for row in plant.ledger.runs.alive()} - before
    return plant.ledger.runs.get(begun)


def again(plant, world, clock, key, room="host/room-1"):
    world.burning |= {"hall"}
    return plant.look(fault(key), room)


# -- crowds -----------------------------------------------------------------------------------------------------------


def test_no_more_runs_at_once_than_the_policy_allows(plant, world, clock):
    policy(plant, clock, {"max_concurrent": 1})
    frozen(plant, world, clock)
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["too_many_at_once"])
    assert run.leased_until is None
    clock.tick(59 + 300)
    run = plant.wake(run)
    assert run.status is Status.DEFERRED, "what the dead worker did may be half-done"
    clock.tick(LINGERING.total_seconds())
    world.burning.add("hall")
    assert plant.wake(run).status is Outcome.VERIFIED, "nobody took it up again"


def test_no_more_runs_of_all_toil_types_than_the_policy_allows(plant, world, clock):
    policy(plant, clock, {}, budget={"concurrent": 1})
    frozen(plant, world, clock)
    assert plant.codes(plant.look()) == ["too_many_at_once"]


def test_zero_at_once_means_none(plant, clock, world):
    policy(plant, clock, {"max_concurrent": 0})
    assert plant.codes(plant.look()) == ["too_many_at_once"]
    assert world.switched == []


def test_a_run_whose_place_was_given_away_waits_for_another(plant, world, clock):
    policy(plant, clock, {"max_concurrent": 1})
    first = frozen(plant, world, clock)
    clock.tick(59 + 301 + LINGERING.total_seconds())
    second = frozen(plant, world, clock, "host/room-1", "second")
    run = plant.wake(first)
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["too_many_at_once"])
    assert world.switched == []
    clock.tick(59 + 301 + LINGERING.total_seconds())
    world.burning.add("desk")
    assert plant.wake(run).status is Outcome.VERIFIED
    assert plant.ledger.runs.get(second.id).status is Status.APPLYING


def test_a_budget_is_paid_once_however_often_a_run_is_put_off(plant, world, clock):
    policy(plant, clock, {"budget": {"runs": 1, "window_seconds": 3600}})
    world.while_applying = lambda lamp: plant.ledger.switches.stop("*", "ann", "", clock())
    run = plant.look()
    assert run.status is Status.DEFERRED
    world.while_applying = None
    plant.ledger.switches.resume("*", "ann", "", clock())
    clock.tick(61)
    assert plant.wake(run).status is Outcome.VERIFIED
    world.burning.add("hall")
    late = plant.look(pushed("push-2"))
    assert (late.status, plant.codes(late)) == (Status.DEFERRED, ["over_budget"])
    clock.tick(3600 - 61)
    assert plant.wake(late).status is Outcome.VERIFIED


def test_a_target_has_a_budget_of_its_own(plant, world, clock):
    policy(plant, clock, {"budget": {"per_target": 1}})
    plant.look()
    world.burning.add("hall")
    assert plant.codes(plant.look(pushed("push-2"))) == ["over_budget"]
    assert plant.look(pushed("push-3"), "host/room-2").status is Outcome.VERIFIED


# -- pools ------------------------------------------------------------------------------------------------------------


def test_too_much_of_a_pool_down_defers_until_it_is_better(plant, world, clock):
    world.population = Population("house", 10, frozenset({"room-7", "room-8"}))
    policy(plant, clock, {"blast_radius": {"percent": 20}})
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["blast_radius"])
    assert "2 of the 10 members of house" in run.reasons[0].text
    world.population = Population("house", 10, frozenset({"room-1", "room-8"}))
    clock.tick(61)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_targets_under_remediation_count_as_down(plant, world, clock):
    world.population = Population("house", 3)
    policy(plant, clock, {})
    frozen(plant, world, clock)
    assert plant.codes(plant.look()) == ["blast_radius"], "of three, one at a time"


def test_a_pool_that_cannot_be_read_means_that_nothing_is_done(plant, world, monkeypatch):
    def unreadable(self, target):
        raise PermanentError("the cluster does not say how many nodes it has")

    monkeypatch.setattr(lamps.SwitchOffLamps, "population", unreadable)
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["permanent"])
    assert world.switched == []


# -- rests ------------------------------------------------------------------------------------------------------------


def test_a_target_is_left_alone_after_a_run_acted_on_it(plant, world, clock):
    policy(plant, clock, {"cool_down_seconds": 300})
    assert plant.look().status is Outcome.VERIFIED
    world.burning.add("hall")
    run = plant.look(pushed("push-2"))
    assert (run.status, plant.codes(run), run.due) == (
        Status.DEFERRED,
        ["cooling_down"],
        clock() + timedelta(seconds=300),
    )
    clock.tick(300)
    assert plant.wake(run).status is Outcome.VERIFIED


def failing(plant, world, clock, key):
    world.burning = {"hall"}
    world.apply_raises = [PermanentError("the switch is stuck")]
    run = plant.look(pushed(key))
    while run.status is Status.DEFERRED:
        clock.time = run.due
        run = plant.wake(run)
    assert run.status is Outcome.FAILED
    return run


def test_failures_make_the_rest_longer_and_then_a_person_has_to_look(plant, world, clock):
    policy(plant, clock, {"cool_down_seconds": 60, "escalation": {"failures": 3}})
    runs, ended = [], []
    for number in range(3):
        runs.append(failing(plant, world, clock, f"push-{number}"))
        ended.append(clock())
    assert [round((b - a).total_seconds()) for a, b in pairwise(ended)] == [60, 120]
    assert [plant.codes(run) for run in runs] == [["permanent"], ["permanent"], ["permanent", "escalated"]]
    assert runs[0].id in runs[2].reasons[1].text
    assert runs[1].id in runs[2].reasons[1].text
    refused = plant.look(pushed("push-4"))
    assert refused.status is Outcome.REFUSED
    assert "escalated" in plant.codes(refused)
    assert plant.look(pushed("push-5"), "host/room-2").status is Outcome.VERIFIED, "another target is another matter"


def test_what_heals_ends_the_row_of_failures(plant, world, clock):
    policy(plant, clock, {"escalation": {"failures": 2}})
    failing(plant, world, clock, "push-1")
    world.burning = {"hall"}
    run = plant.look(pushed("push-2"))
    assert plant.codes(run) == ["backing_off"]
    clock.time = run.due
    assert plant.wake(run).status is Outcome.VERIFIED
    assert plant.codes(failing(plant, world, clock, "push-3")) == ["permanent"]


# -- storms -----------------------------------------------------------------------------------------------------------


def test_a_storm_defers_until_it_has_been_calm(plant, world, clock):
    policy(plant, clock, {"storm": {"events": 2, "window_seconds": 600, "cool_down_seconds": 300}})
    assert plant.look(pushed("push-1")).status is Outcome.VERIFIED
    assert plant.look(pushed("push-2")).status is Outcome.SKIPPED
    world.burning.add("hall")
    run = plant.look(pushed("push-3"))
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["storm"])
    assert run.due == clock() + timedelta(seconds=60 + 600 + 300)
    clock.time = run.due
    assert plant.wake(run).status is Outcome.VERIFIED


# -- faults that come back --------------------------------------------------------------------------------------------


def test_a_fault_that_comes_back_soon_counts_against_the_toil_type_and_suspends_it(plant, world, clock):
    policy(plant, clock, {"recurrence": {"suspend_after": 2}})
    first = again(plant, world, clock, "fault-1")
    assert plant.codes(first) == []
    clock.tick(60)
    second = again(plant, world, clock, "fault-2")
    assert second.status is Outcome.VERIFIED
    applying = [entry for entry in plant.ledger.runs.log(second.id) if entry["status"] == "Applying"]
    assert [code for code, _ in applying[0]["reasons"]] == ["recurred"]
    assert first.id in applying[0]["reasons"][0][1]
    clock.tick(60)
    third = again(plant, world, clock, "fault-3")
    applying = [entry for entry in plant.ledger.runs.log(third.id) if entry["status"] == "Applying"]
    assert [code for code, _ in applying[0]["reasons"]] == ["recurred", "suspended"]
    clock.tick(60)
    fourth = again(plant, world, clock, "fault-4", "host/room-2")
    assert (fourth.status, plant.codes(fourth)) == (Status.DEFERRED, ["suspended"])
    plant.ledger.switches.resume("switch_off_lamps", "ann", "mended the relay", clock.tick(60))
    clock.tick(61)
    assert plant.wake(fourth).status is Outcome.VERIFIED
    (month,) = plant.ledger.account("switch_off_lamps")
    assert month["recurred"] == 2


def test_a_fault_that_comes_back_much_later_is_a_new_one(plant, world, clock):
    policy(plant, clock, {"recurrence": {"window_seconds": 3600, "suspend_after": 1}})
    again(plant, world, clock, "fault-1")
    clock.tick(3600)
    late = again(plant, world, clock, "fault-2")
    assert all("recurred" not in str(entry["reasons"]) for entry in plant.ledger.runs.log(late.id))


# -- other hands ------------------------------------------------------------------------------------------------------


def test_what_a_person_does_on_purpose_is_not_fought(plant, world, clock):
    world.guarded = {"hall"}
    run = plant.look()
    assert (run.status, plant.codes(run)) == (Outcome.REFUSED, ["overridden"])
    assert world.switched == ["desk"]
    assert world.burning == {"hall"}, "what was done already is not taken back: the person knows best"
    world.guarded = set()
    later = plant.look(pushed("push-2"))
    assert (later.status, plant.codes(later)) == (Outcome.REFUSED, ["overridden"])
    clock.tick(86_400)
    assert plant.look(pushed("push-3")).status is Outcome.VERIFIED


def test_a_plan_that_meets_a_persons_hand_stands_back_too(plant, world, clock, monkeypatch):
    monkeypatch.setattr(lamps.SwitchOffLamps, "plan", lambda self, target: Overridden("a note says: leave it on"))
    run = plant.look()
    assert [(reason.code, reason.text) for reason in run.reasons] == [("overridden", "a note says: leave it on")]
    monkeypatch.undo()
    monkeypatch.setattr(lamps, "WORLD", world)
    assert plant.codes(plant.look(pushed("push-2"))) == ["overridden"]


def test_a_native_healer_is_given_its_time(plant, world, clock):
    policy(plant, clock, {"healers": {"bosh": 600, "margin_seconds": 60}})
    world.healer = Healer("bosh", clock() - timedelta(seconds=60))
    run = plant.look()
    assert (run.status, plant.codes(run), run.due) == (
        Status.DEFERRED,
        ["other_healer"],
        clock() + timedelta(seconds=600),
    )
    clock.tick(600)
    assert plant.wake(run).status is Outcome.VERIFIED
