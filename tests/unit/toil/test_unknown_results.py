"""What became of an action is not known: it counts as left half-done, and as done if nobody would plan it again."""

from paydown.errors import RetryableError
from paydown.ledger import Outcome
from paydown.plan import Hazard, Step, StepState, left_behind
from tests.unit.toil import lamps


class Deaf(lamps.SwitchOffLamps):
    """What it does happens; the answer never comes."""

    name = "switch_off_lamps"

    def apply(self, action, target):
        super().apply(action, target)
        raise RetryableError("no answer", delay=1)


def test_what_may_have_happened_is_told_and_taken_back_when_the_run_fails(plant, world, clock):
    plant.toil = Deaf
    world.burning = {"hall"}
    world.hazards["hall"] = Hazard.REVERSIBLE
    run = plant.look()
    for _ in range(5):
        clock.tick(61)
        for row in list(plant.ledger.runs.due(clock())):
            plant.worker().handle({"paydown": 1, "command": "wake", "run_id": row["id"]})
    run = plant.ledger.runs.get(run.id)
    assert (run.status, plant.codes(run)) == (Outcome.FAILED, ["attempts_exhausted"])
    assert run.evidence["left"] == ["switch_off lamp/hall"]
    assert world.burning == {"hall"}


def test_an_unknown_result_has_taken_nothing_back():
    class Light(lamps.SwitchOff):
        takes_back = "switch_off"

    off = lamps.SwitchOff(object="lamp/hall", precondition="burning", hazard=Hazard.REVERSIBLE)
    on = Light(object="lamp/hall", precondition="dark", hazard=Hazard.REVERSIBLE)
    steps = [Step(0, 0, off, StepState.DONE), Step(1, 1, on, StepState.STARTED)]
    assert left_behind(steps) == steps[:1]
    assert left_behind([steps[0], Step(1, 1, on, StepState.DONE)]) == []
    assert left_behind([Step(0, 0, off, StepState.STARTED)]) == [Step(0, 0, off, StepState.STARTED)]
