"""What an approval covers once a part of it was carried out, or once nobody knows what came of it."""

from paydown.errors import RetryableError
from paydown.ledger import Outcome, Status
from tests.unit.toil import lamps


def approve(plant, run):
    plant.ledger.approvals.decide(run, run.fingerprint, approved=True, by="bob", why="", now=plant.clock())


class Relit(list):
    """Each lamp that is switched off burns again at once."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    def append(self, lamp):
        assert len(self) < 5, "the approved part is carried out again and again"
        super().append(lamp)
        self.world.burning.add(lamp)


def test_what_was_approved_is_done_once_though_it_would_have_to_be_done_again(plant, world):
    """Found by the state machine: the approved part was planned and carried out again without an end."""
    plant.publish(mode="approve")
    world.burning = {"hall"}
    world.switched = Relit(world)
    run = plant.look()
    world.burning.add("stairs")
    approve(plant, run)
    held = plant.wake(run)
    assert world.switched == ["hall"]
    assert (held.status, plant.codes(held)) == (Status.HELD, ["needs_approval"])
    assert held.actions == 2


def test_an_earlier_approval_does_not_decide_on_an_unknown_result(plant, world, clock, monkeypatch):
    """Found by the state machine: when the hold expired, the action was carried out again with the old approval."""
    monkeypatch.setattr(lamps.SwitchOff, "repeatable", False)
    plant.publish(mode="approve", hold_seconds=600)
    world.burning = {"hall"}
    run = plant.look()
    approve(plant, run)
    world.apply_raises = [RetryableError("no answer", delay=10)]
    plant.wake(run)
    clock.tick(11)
    held = plant.wake(run)
    assert (held.status, plant.codes(held)) == (Status.HELD, ["unknown_result"])
    clock.tick(601)
    expired = plant.wake(run)
    assert world.switched == []
    assert (expired.status, plant.codes(expired)) == (Outcome.REJECTED, ["approval_expired"])


def test_a_person_who_approves_an_unknown_result_lets_it_be_done_again(plant, world, clock, monkeypatch):
    monkeypatch.setattr(lamps.SwitchOff, "repeatable", False)
    plant.publish(mode="approve")
    run = plant.look()
    approve(plant, run)
    world.apply_raises = [RetryableError("no answer", delay=10)]
    plant.wake(run)
    clock.tick(11)
    held = plant.wake(run)
    assert [step["object"] for step in plant.ledger.journal.items(run.id) if step["plan"] == held.plan_number] == [
        "lamp/desk",
        "lamp/hall",
    ]
    approve(plant, held)
    assert plant.wake(run).status is Outcome.VERIFIED
    assert sorted(world.switched) == ["desk", "hall"]
