"""The worlds of the toil types for images: registries, tickets, and those who build. What is done to them lasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from functions.advise_image_layers import app as advise_app
from functions.clean_registry import app as clean_app
from functions.promote_image import app as promote_app
from functions.rebuild_stale_images import app as rebuild_app
from functions.rebuild_stale_images import building
from functions.refresh_base_image import app as refresh_app
from functions.shrink_image import app as shrink_app
from paydown.clients.base_contents import Candidate, Recipe
from paydown.clients.codebuild import Build, BuildState
from paydown.ledger import Ledger
from tests.unit.functions.advise_image_layers.fake_registry import FakeRegistry as AdvisedRegistry
from tests.unit.functions.advise_image_layers.histories import ran
from tests.unit.functions.clean_registry.fake_repository import FakeRegistry as CleanedRegistry
from tests.unit.functions.promote_image.fake_registries import PROD
from tests.unit.functions.promote_image.fake_registries import FakeRegistry as PromotedRegistry
from tests.unit.functions.rebuild_stale_images.fake_registry import FakeRegistry as LetteredRegistry
from tests.unit.functions.refresh_base_image.fake_build_host import FakeHost as BaseHost
from tests.unit.functions.refresh_base_image.fake_build_host import FakeRegistry as BaseRegistry
from tests.unit.functions.report_outcome.fake_tickets import Tickets
from tests.unit.functions.shrink_image import scenes
from tests.unit.functions.shrink_image.layers import FakeRegistry as ShrunkRegistry
from tests.unit.ledgers import Clock

LOCAL = "127.0.0.1:5000"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
TRACKER = {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"}
TICKET_CALLS = ("create", "edit_comment", "reopen")
BUILD_SECONDS = timedelta(seconds=150)
"""Longer than it takes until somebody looks after a run whose worker died."""


def registry(name: str, **more: Any) -> dict[str, Any]:
    return {"uid": f"uid-{name}", "name": name, "url": f"https://{name}", **more}


class AdvisedImage:
    """An image with an upgrade that is long frozen, and the ticket system that is told of it."""

    inventory: ClassVar[Any] = {
        "registries": [registry("images.example.org", repositories=["shop/*"])],
        "trackers": [TRACKER],
    }
    settings: ClassVar[Any] = {"advise_image_layers": {"max_upgrade_age_days": 1, "tracker": "helpdesk"}}
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.registry, self.tickets = AdvisedRegistry(), Tickets()
        self.registry.push("current", [ran("apt-get -y upgrade")])
        monkeypatch.setattr(advise_app, "open_registry", lambda *_: self.registry)
        monkeypatch.setattr(advise_app, "open_tracker", lambda *_: self.tickets)
        monkeypatch.setattr(advise_app, "open_ledger", lambda: ledger)

    def effects(self) -> Iterable[tuple[object, str]]:
        return [(self.tickets, name) for name in TICKET_CALLS]

    def summary(self) -> dict[str, Any]:
        return {"tickets": self.tickets.made, "comments": self.tickets.comments, "writes": self.tickets.writes}


class CrowdedRepository:
    """Manifests that nothing refers to, in a repository of any registry."""

    inventory: ClassVar[Any] = {
        "registries": [
            registry(LOCAL, repositories=["swept", "demo/*"], storage={"via": "folder", "path": "/images"}),
            registry(ECR, system="ecr", repositories=["team/*"]),
        ]
    }
    settings: ClassVar[Any] = {"clean_registry": {}}
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.registry = CleanedRegistry(count=5)
        monkeypatch.setattr(clean_app, "survey", self.registry.survey)
        monkeypatch.setattr(clean_app, "in_use", self.registry.in_use)
        monkeypatch.setattr(clean_app, "open_holdings", lambda *_, **__: self.registry)

    def effects(self) -> Iterable[tuple[object, str]]:
        return [(self.registry, "delete")]

    def summary(self) -> dict[str, Any]:
        return {"deleted": Counter(self.registry.deleted), "tags": self.registry.tags}


class Promotion:
    """An image of two platforms in one registry, and another one under its tag in the next."""

    inventory: ClassVar[Any] = {
        "registries": [
            registry(LOCAL, repositories=["team/*"]),
            registry(ECR, system="ecr", repositories=["team/*"]),
            registry(PROD, repositories=["team/*"]),
        ]
    }
    settings: ClassVar[Any] = {
        "promote_image": {
            "routes": [
                {"stage": "prod", "from": name, "to": [PROD], "repositories": ["team/*"]} for name in (LOCAL, ECR)
            ]
        }
    }
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.lab, self.prod, self.ledger = PromotedRegistry(), PromotedRegistry(), ledger
        children = [self.lab.image("team/app", None, b"common", name) for name in (b"1", b"2")]
        self.lab.index("team/app", "1.0", *children)
        self.prod.image("team/app", "1.0", b"earlier")
        monkeypatch.setattr(promote_app, "open_registry", self._open)

    def _open(self, registry: Any, *_: Any, **__: Any) -> PromotedRegistry:
        return self.prod if registry.name == PROD else self.lab

    def effects(self) -> Iterable[tuple[object, str]]:
        return [(self.prod, name) for name in ("upload_blob", "put_manifest")]

    def summary(self) -> dict[str, Any]:
        promotions = [
            {**one.model_dump(exclude={"last_seen", "source"}), "seen": one.last_seen is not None}
            for one in self.ledger.promotions.all()
        ]
        manifests = {key: one.digest for key, one in self.prod.manifests.items()}
        # A manifest by its digest may be put twice: that changes nothing but its age.
        written = Counter(
            {what: 1 if what.startswith("put sha256:") else n for what, n in Counter(self.prod.writes).items()}
        )
        return {"manifests": manifests, "blobs": set(self.prod.blobs), "written": written, "promotions": promotions}


class Builds:
    """AWS CodeBuild, which knows no token any more: each start is another build. It pushes when its time is over."""

    def __init__(self, registry: LetteredRegistry, clock: Clock) -> None:
        self.registry, self.clock = registry, clock
        self.begun: list[tuple[str, str, datetime]] = []

    def start(self, project: str, run: str, variables: Mapping[str, str], version: str = "") -> str:
        self.begun.append((run, variables["PAYDOWN_IMAGE"], self.clock() + BUILD_SECONDS))
        return f"{project}:{len(self.begun)}"

    def find(self, project: str, run: str) -> Build:
        for number, (carried, image, end) in enumerate(self.begun, 1):
            if carried == run and self.clock() < end:
                return Build(BuildState.RUNNING, f"{project}:{number}")
            if carried == run:
                repository, _, tag = image.removeprefix(f"{LOCAL}/").partition(":")
                self.registry.push(repository, tag, REBUILT[repository])
                return Build(BuildState.DONE, f"{project}:{number}")
        return Build(BuildState.ABSENT)


REBUILT = {"team/app": "NA", "team/web": "NAW"}


class StaleImages:
    """An image on a base that has become another one, and one that stands upon it."""

    inventory: ClassVar[Any] = {"registries": [registry(LOCAL, bases=["demo/base"])]}
    settings: ClassVar[Any] = {
        "rebuild_stale_images": {
            "builders": [{"images": f"{LOCAL}/team/*", "by": {"via": "codebuild", "project": "images"}}]
        }
    }
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.registry = LetteredRegistry()
        self.builds = Builds(self.registry, clock)
        for tag, layers in (("2026-10-01", "O"), ("current", "N")):
            self.registry.push("demo/base", tag, layers)
        for name, layers in (("app", "OA"), ("web", "OAW")):
            self.registry.push(f"team/{name}", "latest", layers)
        monkeypatch.setattr(rebuild_app, "open_ledger", lambda: ledger)
        monkeypatch.setattr(rebuild_app, "open_registry", lambda *_: self.registry)
        monkeypatch.setattr(building, "codebuild", self.builds)

    def effects(self) -> Iterable[tuple[object, str]]:
        return [(self.builds, "start"), (self.registry, "push")]

    def summary(self) -> dict[str, Any]:
        held = {key: one.digest for key, one in self.registry.held.items()}
        return {"held": held, "builds": Counter(image for _, image, _ in self.builds.begun)}


class LargeImage:
    """An image of one static program and ballast, a host to try a smaller one on, and the ticket system."""

    inventory: ClassVar[Any] = scenes.INVENTORY
    settings: ClassVar[Any] = {"shrink_image": {"trials": scenes.TRIALS, "tracker": "helpdesk"}}
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.registry, self.host, self.tickets = ShrunkRegistry(), scenes.FakeHost(), Tickets()
        scenes.push(self.registry)
        monkeypatch.setattr(shrink_app, "open_registry", lambda *_, **__: self.registry)
        monkeypatch.setattr(shrink_app, "open_trials", lambda _: self.host)
        monkeypatch.setattr(shrink_app, "open_tracker", lambda *_: self.tickets)
        monkeypatch.setattr(shrink_app, "open_ledger", lambda: ledger)

    def effects(self) -> Iterable[tuple[object, str]]:
        yield from ((self.registry, name) for name in ("upload_blob", "put_manifest"))
        yield from ((self.tickets, name) for name in TICKET_CALLS)

    def summary(self) -> dict[str, Any]:
        manifests = {name: one.digest for name, one in self.registry.manifests.items()}
        return {
            "manifests": manifests,
            "blobs": set(self.registry.blobs),
            "put": Counter(self.registry.written),
            "tickets": self.tickets.made,
            "comments": self.tickets.comments,
            "writes": self.tickets.writes,
        }


class BusyBaseHost(BaseHost):
    """A bootstrap takes its time."""

    def __init__(self, registry: BaseRegistry, clock: Clock) -> None:
        super().__init__(registry)
        self.clock, self.ends = clock, clock()

    def build(self, key: str, run_id: str, recipe: Recipe) -> None:
        super().build(key, run_id, recipe)
        self.ends = self.clock() + BUILD_SECONDS

    def read(self, key: str) -> Candidate:
        if self.candidate.running and self.clock() >= self.ends:
            self.finish()
        return super().read(key)


class Bases(BaseRegistry):
    """It holds nothing but bases."""

    def repositories(self, patterns: tuple[str, ...]) -> list[str]:
        return ["base/debian"]


class OldBase:
    """A base whose packages have become others, its build host, and a registry with an image that stands on no base."""

    inventory: ClassVar[Any] = {
        "hosts": [
            {"uid": "h", "name": "build-1", "reach": {"via": "ssm", "instance_id": "i-0123456789abcdef0"}},
        ],
        "registries": [registry("images.example", bases=["base/debian"]), registry("other.example")],
    }
    settings: ClassVar[Any] = {
        "refresh_base_image": {
            "bases": {
                "images.example/base/debian": {
                    "host": "build-1",
                    "sources": [{"mirror": "https://mirror.example/debian", "suite": "bookworm"}],
                }
            }
        }
    }
    rules: ClassVar[Any] = []

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.registry, self.other = Bases(), LetteredRegistry()
        self.host = BusyBaseHost(self.registry, clock)
        for tag in ("20200101", "current"):
            self.registry.push(tag, "sha256:" + "a" * 64)
        self.other.push("team/stray", "latest", "Z")
        monkeypatch.setattr(refresh_app, "open_registry", self._open)
        monkeypatch.setattr(refresh_app, "open_build_host", lambda *_, **__: self.host)
        monkeypatch.setattr(refresh_app, "open_ledger", lambda: ledger)

    def _open(self, registry: Any, *_: Any, **__: Any) -> Any:
        return self.other if registry.name == "other.example" else self.registry

    def effects(self) -> Iterable[tuple[object, str]]:
        yield from ((self.host, name) for name in ("build", "push"))
        yield self.registry, "put_manifest"

    def summary(self) -> dict[str, Any]:
        return {
            "tags": self.registry.pointed,
            "manifests": set(self.registry.manifests),
            "asked": Counter(self.host.asked),
        }
