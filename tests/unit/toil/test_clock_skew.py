"""An action ends before any other worker's clock can have passed this worker's deadline."""

from datetime import UTC, datetime, timedelta

import pytest

from paydown.plan import Done, Hazard, Step, StepState
from paydown.toil.contract import ACTION_SECONDS, Pace
from paydown.toil.stage import CLOCK_SKEW, StageWorker
from tests.unit.toil import lamps

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
LATEST = timedelta(seconds=ACTION_SECONDS) + CLOCK_SKEW
BIT = timedelta(milliseconds=1)


class Applying:
    """What a stage asks of its toil type; it notes what was applied."""

    batch = 1

    def __init__(self):
        self.applied = []

    def pace(self):
        return Pace()

    def apply_batch(self, actions, target):
        self.applied += actions
        return [Done() for _ in actions]


def carried_out(times, left):
    """The toil type and the stage's result, with so much time left; `times` are what the clock says, look by look."""
    looks = iter(times)
    toil = Applying()
    worker = StageWorker(toil, None, lambda steps: None, list, lambda: next(looks), NOW + left)
    off = lamps.SwitchOff(object="lamp/hall", precondition="burning", hazard=Hazard.REVERSIBLE)
    return toil, worker.carry_out([Step(0, 0, off, StepState.PLANNED)])


def test_an_action_begins_while_it_can_end_by_every_workers_clock():
    toil, result = carried_out([NOW, NOW], LATEST)
    assert len(toil.applied) == 1
    assert result.finished


@pytest.mark.parametrize("times", [[NOW + BIT], [NOW, NOW + BIT]], ids=["at first", "frozen before the call"])
def test_no_action_begins_that_a_fast_clock_could_find_over(times):
    toil, result = carried_out(times, LATEST)
    assert toil.applied == []
    assert result.out_of_time
    assert result.steps[0].state is StepState.PLANNED


def test_the_margin_covers_two_clocks_two_seconds_off_in_opposite_directions():
    assert timedelta(seconds=4) <= CLOCK_SKEW
