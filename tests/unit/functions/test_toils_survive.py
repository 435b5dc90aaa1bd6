"""Each toil type with its sample events: observed and enforced are the same plan, and a crash changes nothing.

The worlds are the fakes of the toil types' own tests, but what is done to them lasts.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from cli.toils import is_installed, toil_type
from paydown.ledger import Outcome
from tests.unit.functions import image_worlds, machine_worlds
from tests.unit.functions.survival import Plant, World, again

PROJECT = Path(__file__).parents[3]
WORLDS: dict[str, type[World]] = {
    "advise_image_layers": image_worlds.AdvisedImage,
    "clean_dangling_images": machine_worlds.Machines,
    "clean_registry": image_worlds.CrowdedRepository,
    "promote_image": image_worlds.Promotion,
    "rebuild_stale_images": image_worlds.StaleImages,
    "recover_node": machine_worlds.Machines,
    "refresh_base_image": image_worlds.OldBase,
    "shrink_image": image_worlds.LargeImage,
    "triage_ticket": machine_worlds.Machines,
}
CASES = [
    pytest.param(toil, path, id=f"{toil}-{path.stem}")
    for toil in WORLDS
    for path in sorted((PROJECT / "events" / toil).glob("*.json"))
]
FINE = {Outcome.VERIFIED, Outcome.SKIPPED}


def test_each_toil_type_has_a_world_and_samples() -> None:
    folders = {path.parent.name for path in (PROJECT / "functions").glob("*/app.py")}
    assert {name for name in folders if is_installed(name)} == set(WORLDS)
    assert {case.values[0] for case in CASES} == set(WORLDS)


@pytest.mark.parametrize(("toil", "path"), CASES)
def test_what_is_observed_is_what_is_enforced_in_the_same_world(
    monkeypatch: pytest.MonkeyPatch, toil: str, path: Path
) -> None:
    plant, message = Plant(monkeypatch, toil_type(toil), WORLDS[toil]), json.loads(path.read_text())
    before = copy.deepcopy(plant.world.summary())
    plant.observing = True
    plant.handle(message)
    plant.observing = False
    assert plant.world.summary() == before
    observed = {run.target: run for run in plant.runs()}
    plant.clock.tick(61)
    plant.live(again(message))
    enforced = {run.target: run for run in plant.runs() if run.id not in {one.id for one in observed.values()}}
    told = {target: (run.status, run.fingerprint) for target, run in observed.items()}
    expected = {
        target: (Outcome.OBSERVED if run.status is Outcome.VERIFIED else run.status, run.fingerprint)
        for target, run in enforced.items()
    }
    assert told == expected
    assert any(run.status is Outcome.VERIFIED and run.actions > 0 for run in enforced.values())
    assert {run.status for run in enforced.values()} <= FINE


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("toil", "path"), CASES)
def test_a_crash_at_any_point_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, toil: str, path: Path, after: bool
) -> None:
    message, made = json.loads(path.read_text()), (monkeypatch, toil_type(toil), WORLDS[toil])
    calm = Plant(*made)
    calm.live(message)
    statuses = {status for status, *_ in calm.summary()["runs"].values()}
    assert Outcome.VERIFIED in statuses
    assert statuses <= FINE
    assert calm.points >= 9
    for at in range(1, calm.points + 1):
        crashed = Plant(*made, at, after)
        crashed.live(message)
        assert crashed.died, f"point {at}"
        assert crashed.summary() == calm.summary(), f"point {at}"
