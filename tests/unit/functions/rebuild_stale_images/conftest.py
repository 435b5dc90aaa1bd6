"""A registry with images that stand on each other, and builders that only pretend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.actions import FinishBuild, Rebuild, StartBuild
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.building import Builders, Job
from functions.rebuild_stale_images.settings import Settings
from paydown.clients.codebuild import Build, BuildState
from paydown.events import Sweep
from paydown.inventory import Inventory, Registry
from paydown.plan import Draft, Record, Step, StepState
from paydown.policy import Policy
from paydown.toil import Scene
from tests.unit.functions.rebuild_stale_images.fake_registry import FakeRegistry

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOST = "images.example:5000"
BASE, APP, WEB = f"{HOST}/base/debian:current", f"{HOST}/team/app:latest", f"{HOST}/team/web:latest"
CODEBUILD = {"via": "codebuild", "project": "images"}
INVENTORY = {
    "registries": [
        {"uid": "r", "name": HOST, "url": f"https://{HOST}", "bases": ["base/debian"]},
        {"uid": "s", "name": "other.example", "url": "https://other.example", "repositories": ["none"]},
    ],
    "hosts": [
        {"uid": "h", "name": "build-1", "reach": {"via": "unix", "path": "/var/run/docker.sock"}},
        {"uid": "i", "name": "far", "reach": {"via": "ssm", "instance_id": "i-0123456789abcdef0"}},
    ],
    "sources": [{"uid": "g", "name": "app", "url": "https://git.example/app.git", "images": [f"{HOST}/team/app"]}],
}


@dataclass
class World:
    """A registry with a base, two images upon it, and builders whose builds a test ends."""

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    builds: dict[str, Build] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    settings: dict[str, Any] = field(
        default_factory=lambda: {"builders": [{"images": f"{HOST}/team/*", "by": CODEBUILD}]}
    )
    inventory: Mapping[str, Any] = field(default_factory=lambda: INVENTORY)
    now: datetime = NOW

    @property
    def toil(self) -> RebuildStaleImages:
        detail = {"key": "k", "at": NOW, "rule": "daily"}
        scene = Scene(
            run_id="run-1",
            event=Sweep.model_validate(detail),
            inventory=Inventory.parse(self.inventory),
            policy=Policy(),
            settings=Settings.model_validate(self.settings),
            observing=False,
            now=lambda: self.now,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
        return RebuildStaleImages(scene)

    @property
    def target(self) -> Registry:
        return self.toil.inventory.registries[0]

    def plan(self) -> Draft:
        return self.toil.plan(self.target)

    def apply(self, action: Rebuild) -> Any:
        assert isinstance(action, StartBuild | FinishBuild)
        return self.toil.apply(action, self.target)

    def verify(
        self, draft: Draft, whys: Mapping[str, str] | None = None, found: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Any:
        """After steps that all were done. `whys` and `found` are what they said, by image."""
        actions = [(number, action) for number, stage in enumerate(draft.stages) for action in stage]
        steps = [
            Step(index, stage, one, StepState.DONE, (found or {}).get(one.object, {}), (whys or {}).get(one.object, ""))
            for index, (stage, one) in enumerate(actions)
        ]
        return self.toil.verify(self.target, Record(draft.before, steps, self.now))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The base was pushed by its date before it became another one."""
    made = World()
    made.registry.push("base/debian", "2026-10-01", "O")
    made.registry.push("base/debian", "current", "N")
    made.registry.push("team/app", "latest", "OA")
    made.registry.push("team/web", "latest", "OAW")
    made.registry.push("team/lone", "latest", "X")

    class Fake(Builders):
        def start(self, job: Job) -> Build:
            made.started.append(job.image)
            return made.builds.setdefault(job.image, Build(BuildState.RUNNING, "b1"))

        def find(self, job: Job) -> Build:
            return made.builds.get(job.image, Build(BuildState.ABSENT))

    history = SimpleNamespace(begun=lambda *_, **__: iter(()), runs=lambda entries: iter(made.runs))
    monkeypatch.setattr(app, "open_ledger", lambda: SimpleNamespace(history=history))
    monkeypatch.setattr(app, "open_registry", lambda registry, secret: made.registry)
    monkeypatch.setattr(app, "Builders", Fake)
    return made


def flat(draft: Draft) -> list[tuple[str, str]]:
    return [(action.verb(), action.object) for stage in draft.stages for action in stage]
