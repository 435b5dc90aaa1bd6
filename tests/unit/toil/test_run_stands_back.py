"""A plan without actions says whether nothing is wrong, or whether it is not ours to mend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paydown.ledger import EVERYTHING, Outcome, Status
from paydown.plan import Draft, Hazard
from tests.unit.toil import lamps


class Watched(lamps.SwitchOffLamps):
    """Lamps that may belong to somebody else."""

    name = "switch_off_lamps"
    drafts: list[Draft]

    def plan(self, target: Any) -> Any:
        return self.drafts.pop(0) if self.drafts else super().plan(target)


@pytest.fixture
def watched(plant: Any) -> Any:
    plant.toil = type("Watched", (Watched,), {"name": Watched.name, "drafts": []})
    return plant


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("nothing_to_do", Outcome.SKIPPED),
        ("left_to_others", Outcome.SKIPPED),
        ("opted_out", Outcome.REFUSED),
        ("invalid_settings", Outcome.REFUSED),
    ],
)
def test_the_reason_says_whose_it_is(watched: Any, code: Any, outcome: Outcome) -> None:
    watched.toil.drafts = [Draft(why="so it is", code=code)]
    run = watched.look()
    assert (run.status, [(one.code, one.text) for one in run.reasons]) == (outcome, [(code, "so it is")])
    assert list(watched.ledger.runs.alive()) == []


@pytest.mark.parametrize(
    ("code", "outcome", "codes"),
    [
        ("opted_out", Outcome.REFUSED, ["opted_out"]),
        ("invalid_settings", Outcome.REFUSED, ["invalid_settings"]),
        ("left_to_others", Outcome.VERIFIED, []),
    ],
)
def test_what_it_did_before_is_verified_unless_a_person_wants_it_left(
    watched: Any, world: Any, clock: Any, code: Any, outcome: Outcome, codes: list[str]
) -> None:
    """It was stopped in the middle, and is planned afresh."""
    world.hazards = {"desk": Hazard.REVERSIBLE}
    world.while_applying = lambda lamp: watched.ledger.switches.stop(EVERYTHING, "ann", "wait", clock())
    run = watched.look()
    assert (run.status, world.switched) == (Status.DEFERRED, ["desk"])
    watched.ledger.switches.resume(EVERYTHING, "ann", "", clock())
    world.burning.clear()
    watched.toil.drafts = [replace(Draft(), code=code)]
    clock.tick(61)
    run = watched.wake(run)
    assert (run.status, watched.codes(run)) == (outcome, codes)
    if outcome is Outcome.REFUSED:
        assert run.evidence["left"] == ["switch_off lamp/desk"]
        undone = [one["id"] for one in watched.ledger.runs.alive()]
        assert len(undone) == (code == "invalid_settings"), "what a person wants left is not taken back"
