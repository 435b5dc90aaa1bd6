"""Images that stand on each other in a real registry, their sources in real git repositories, and a real engine."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.actions import FinishBuild, StartBuild
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.building import LABEL
from functions.rebuild_stale_images.reading import read
from functions.rebuild_stale_images.standing import Image
from local import registry as local_registry
from local.registry import Registry
from paydown.clients.registry import RegistryApi
from paydown.events import Event
from paydown.inventory import Reach, Unix
from paydown.ledger import Ledger, Run
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine
from tests.real.git_server import GitServer, GitWork, git_server
from tests.real.workers import worker_of
from tests.servers import need
from tests.unit.ledgers import ledger_in_moto

EVENTS = Path(__file__).parents[2] / "events/rebuild_stale_images"
SAMPLES = {kind: json.loads((EVENTS / f"{kind}.json").read_text()) for kind in ("image_pushed", "sweep")}
NUMBERS = itertools.count(1)
"""Of worlds: registries and repositories outlive one, so that each has names of its own."""
VERBS = {verb.verb(): verb for verb in RebuildStaleImages.does}


@pytest.fixture(scope="module")
def images(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry beside the engine."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    docker_engine.clear()
    with Registry(tmp_path_factory.mktemp("images"), "http://127.0.0.1:9/", "unused") as registry:
        yield registry
    docker_engine.clear()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """The repositories from which they are built."""
    with git_server(tmp_path_factory.mktemp("sources")) as server:
        yield server


class World:
    """Images `NAME/base`, `NAME/app` on it, `NAME/web` on that, and `NAME/other` on nothing."""

    base_tag = "latest"
    by: Mapping[str, Any] = {"via": "host", "host": "build-1"}
    rules: Mapping[str, Any] = {"mode": "enforce", "cool_down_seconds": 0, "ceiling": "disruptive"}
    login: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    """What the inventory says of the registry's."""

    def __init__(self, engine: Engine, registry: Registry, sources: GitServer, ledger: Ledger) -> None:
        self.engine, self.registry, self.ledger, self.name = engine, registry, ledger, f"t{next(NUMBERS)}"
        self.api = RegistryApi(registry.url, lambda: self.login)
        self.events = 0
        self.works: dict[str, GitWork] = {}
        self.push_base()
        for image, below in (("app", "base"), ("web", "app"), ("other", "")):
            stands_on = f"{self.place}/{below}:{self.base_tag if below == 'base' else 'latest'}" if below else "scratch"
            dockerfile = f"FROM {stands_on}\nCOPY {image} /srv/{image}\n"
            self.works[image] = sources.repository(f"{self.name}-{image}")
            content = os.urandom(500)
            self.works[image].commit({"Dockerfile": dockerfile.encode(), image: content})
            engine.build(f"{self.place}/{image}:latest", dockerfile, **{image: content})
            engine.docker("push", "--quiet", f"{self.place}/{image}:latest")
        self.declare(Unix(via="unix", path=str(engine.socket)))

    def declare(self, reach: Reach) -> None:
        """Publish the inventory, with a host that is reached like this."""
        host = {"uid": "h1", "name": "build-1", "reach": reach.model_dump()}
        declared = {
            "uid": "r1",
            "name": self.registry.host,
            "url": self.registry.url,
            "repositories": [f"{self.name}/*"],
            "bases": [f"{self.name}/base"],
            **self.secrets,
        }
        listed = [
            {"uid": f"s-{image}", "name": image, "url": work.url, "images": [f"{self.place}/{image}"]}
            for image, work in self.works.items()
        ]
        inventory = {"hosts": [host], "registries": [declared], "sources": listed}
        self.ledger.inventory.publish(inventory, "test", datetime.now(UTC))

    @property
    def place(self) -> str:
        return f"{self.registry.host}/{self.name}"

    def push_base(self) -> None:
        """Another base under the same name."""
        base = f"{self.place}/base:latest"
        self.engine.build(base, "FROM scratch\nCOPY base /srv/base\n", base=os.urandom(500))
        self.engine.docker("push", "--quiet", base)

    def image(self, name: str) -> Image:
        tag = self.base_tag if name == "base" else "latest"
        found = read(self.api, self.registry.host, f"{self.name}/{name}", tag)
        assert found is not None
        return found

    def digests(self) -> dict[str, str]:
        return {name: self.image(name).digest for name in ("app", "web", "other")}

    def marked(self) -> list[str]:
        """The images that were built here for runs."""
        return self.engine.docker("image", "ls", "--quiet", "--filter", f"label={LABEL}").split()

    def run(self, kind: str, *, observing: bool = False, event: Event | None = None, **settings: Any) -> Run:
        """What becomes of an event."""
        builder = {"images": f"{self.place}/*", "by": self.by}
        policy = {**self.rules, "settings": {"builders": [builder], **settings}}
        now = datetime.now(UTC)
        self.ledger.policy.publish({"toils": {"rebuild_stale_images": policy}}, "test", now)
        self.events += 1
        message = {**SAMPLES[kind], "id": f"{self.name}-{self.events}"}
        if event is not None:
            message["detail"] = event.model_dump(mode="json")
        elif kind == "image_pushed":
            place = {"registry": self.registry.host, "repository": f"{self.name}/base", "tag": "latest"}
            message["detail"] = {**message["detail"], **place, "key": f"registry:{self.name}{self.events}"}

        worker = worker_of(RebuildStaleImages, self.ledger, observing=observing, seconds=200)
        [run] = worker.handle(message)
        return run

    def push(self, image: str, content: bytes) -> str:
        """Somebody else builds and pushes an image, on the base as it was; its digest."""
        dockerfile = f"FROM scratch\nCOPY {image} /srv/{image}\n"
        self.engine.build(f"{self.place}/{image}:latest", dockerfile, **{image: content})
        self.engine.docker("push", "--quiet", f"{self.place}/{image}:latest")
        return self.image(image).digest

    def actions(self, run: Run, image: str) -> list[StartBuild | FinishBuild]:
        """What a run has planned for an image."""
        steps = self.ledger.journal.read(run, run.plan_number, VERBS)
        found = (step.action for step in steps)
        return [
            it for it in found if isinstance(it, StartBuild | FinishBuild) and it.object.endswith(f"/{image}:latest")
        ]

    def toil(self, run: Run) -> RebuildStaleImages:
        """The toil type as the run had it."""
        policy = self.ledger.policy.current().document
        scene = Scene(
            run_id=run.id,
            event=RebuildStaleImages.listens_to[0].from_detail(dict(run.event)),
            inventory=self.ledger.inventory.current().document,
            policy=Policy(),
            settings=app.Settings.model_validate(policy.toil("rebuild_stale_images").settings),
            observing=False,
            now=lambda: datetime.now(UTC),
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
        return RebuildStaleImages(scene)


@pytest.fixture
def world(
    docker_engine: Engine, images: Registry, sources: GitServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The images, and a ledger."""
    with ledger_in_moto() as ledger:
        monkeypatch.setattr(app, "open_ledger", lambda: ledger)
        yield World(docker_engine, images, sources, ledger)
    docker_engine.clear()
