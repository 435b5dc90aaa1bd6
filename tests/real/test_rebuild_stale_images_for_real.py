"""Images that stand on each other, built by a real engine out of real git repositories, in a real registry."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.building import LABEL
from functions.rebuild_stale_images.reading import read
from functions.rebuild_stale_images.standing import Image
from local import registry as local_registry
from local.processes import free_port
from local.registry import Registry
from paydown.clients.registry import RegistryApi
from paydown.inventory import Unix
from paydown.ledger import Ledger, Outcome, Run
from paydown.plan import Done, Moot
from paydown.policy import Policy
from paydown.toil import Scene
from paydown.toil.worker import Worker
from tests.real.docker_engine import Engine
from tests.real.git_server import GitServer, GitWork, git_server
from tests.servers import need
from tests.unit.ledgers import ledger_in_moto

EVENTS = Path(__file__).parents[2] / "events/rebuild_stale_images"
SAMPLES = {kind: json.loads((EVENTS / f"{kind}.json").read_text()) for kind in ("image_pushed", "sweep")}
VERBS = {verb.verb(): verb for verb in RebuildStaleImages.does}


@pytest.fixture(scope="module")
def images(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry beside the engine."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    docker_engine.clear()
    with Registry(tmp_path_factory.mktemp("images"), f"http://127.0.0.1:{free_port()}/", "unused") as registry:
        yield registry
    docker_engine.clear()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """The repositories from which they are built."""
    with git_server(tmp_path_factory.mktemp("sources")) as server:
        yield server


class World:
    """Images `NAME/base`, `NAME/app` on it, `NAME/web` on that, and `NAME/other` on nothing."""

    def __init__(self, engine: Engine, registry: Registry, sources: GitServer, ledger: Ledger, name: str) -> None:
        self.engine, self.registry, self.ledger, self.name = engine, registry, ledger, name
        self.api = RegistryApi(registry.url, dict)
        self.events = 0
        self.works: dict[str, GitWork] = {}
        self.push_base()
        for image, below in (("app", "base"), ("web", "app"), ("other", "")):
            stands_on = f"{self.place}/{below}:latest" if below else "scratch"
            dockerfile = f"FROM {stands_on}\nCOPY {image} /srv/{image}\n"
            self.works[image] = sources.repository(f"{name}-{image}")
            content = os.urandom(500)
            self.works[image].commit({"Dockerfile": dockerfile.encode(), image: content})
            engine.build(f"{self.place}/{image}:latest", dockerfile, **{image: content})
            engine.docker("push", "--quiet", f"{self.place}/{image}:latest")
        host = {"uid": "h1", "name": "build-1", "reach": Unix(via="unix", path=str(engine.socket)).model_dump()}
        declared = {
            "uid": "r1",
            "name": registry.host,
            "url": registry.url,
            "repositories": [f"{name}/*"],
            "bases": [f"{name}/base"],
        }
        listed = [
            {"uid": f"s-{image}", "name": image, "url": work.url, "images": [f"{self.place}/{image}"]}
            for image, work in self.works.items()
        ]
        inventory = {"hosts": [host], "registries": [declared], "sources": listed}
        ledger.inventory.publish(inventory, "test", datetime.now(UTC))

    @property
    def place(self) -> str:
        return f"{self.registry.host}/{self.name}"

    def push_base(self) -> None:
        """Another base under the same name."""
        base = f"{self.place}/base:latest"
        self.engine.build(base, "FROM scratch\nCOPY base /srv/base\n", base=os.urandom(500))
        self.engine.docker("push", "--quiet", base)

    def image(self, name: str) -> Image:
        found = read(self.api, self.registry.host, f"{self.name}/{name}", "latest")
        assert found is not None
        return found

    def digests(self) -> dict[str, str]:
        return {name: self.image(name).digest for name in ("app", "web", "other")}

    def marked(self) -> list[str]:
        """The images that were built here for runs."""
        return self.engine.docker("image", "ls", "--quiet", "--filter", f"label={LABEL}").split()

    def run(self, kind: str, *, observing: bool = False, **settings: Any) -> Run:
        """What becomes of an event."""
        builder = {"images": f"{self.place}/*", "by": {"via": "host", "host": "build-1"}}
        policy = {"mode": "enforce", "cool_down_seconds": 0, "ceiling": "disruptive"}
        policy |= {"settings": {"builders": [builder], **settings}}
        now = datetime.now(UTC)
        self.ledger.policy.publish({"toils": {"rebuild_stale_images": policy}}, "test", now)
        self.events += 1
        message = {**SAMPLES[kind], "id": f"{self.name}-{self.events}"}
        if kind == "image_pushed":
            place = {"registry": self.registry.host, "repository": f"{self.name}/base", "tag": "latest"}
            message["detail"] = {**message["detail"], **place, "key": f"registry:{self.name}{self.events}"}

        def report(run_id: str, error: Exception) -> None:
            raise AssertionError(run_id) from error

        worker = Worker(
            toil=RebuildStaleImages,
            ledger=self.ledger,
            observing=observing,
            send=lambda toil, bodies: None,
            report=report,
            now=lambda: datetime.now(UTC),
            deadline=now + timedelta(seconds=58),
        )
        [run] = worker.handle(message)
        return run

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
    docker_engine: Engine,
    images: Registry,
    sources: GitServer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """The images, and a ledger."""
    with ledger_in_moto() as ledger:
        monkeypatch.setattr(app, "open_ledger", lambda: ledger)
        name = f"t{abs(hash(request.node.name)) % 10_000}"
        yield World(docker_engine, images, sources, ledger, name)
    docker_engine.clear()


def test_a_new_base_is_below_all_that_stood_on_the_old_one_and_nothing_else_moves(world: World) -> None:
    assert world.run("sweep").status is Outcome.SKIPPED  # it remembers what the base is
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed")
    assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
    base, made, web = world.image("base"), world.image("app"), world.image("web")
    assert made.layers[0][: len(base.layers[0])] == base.layers[0]
    assert web.layers[0][: len(made.layers[0])] == made.layers[0]
    assert world.image("other").digest == old["other"]
    assert run.evidence["rebuilt"] == {made.name: made.digest, web.name: web.digest}
    assert run.evidence["previous"] == {made.name: old["app"], web.name: old["web"]}
    assert len(world.marked()) == 2
    again = world.run("image_pushed")
    assert (again.status, again.reasons[0].code) == (Outcome.SKIPPED, "nothing_to_do")
    assert len(world.marked()) == 2


def test_observing_plans_and_builds_nothing(world: World) -> None:
    world.run("sweep")
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed", observing=True)
    assert (run.status, run.actions) == (Outcome.OBSERVED, 4)
    assert world.digests() == old
    assert not world.marked()


def test_a_build_that_fails_is_told_with_its_log_and_what_waits_for_it_is_not_built(world: World) -> None:
    world.run("sweep")
    old = world.digests()
    broken = f"FROM {world.place}/base:latest\nCOPY nothing-token=hunter2hunter2 /srv/app\n"
    world.works["app"].commit({"Dockerfile": broken.encode()})
    world.push_base()
    run = world.run("image_pushed")
    assert run.status is Outcome.UNVERIFIED, (run.status, run.reasons)
    said = run.reasons[0].text
    assert "the build failed" in said
    assert "nothing-token=***" in said
    assert "hunter2" not in str(run)
    assert f"its base {world.place}/app:latest was not rebuilt" in said
    assert world.digests() == old


def test_a_build_that_was_begun_is_not_begun_again(world: World) -> None:
    world.run("sweep")
    world.push_base()
    run = world.run("image_pushed", observing=True)
    start, finish = (
        next(
            step.action
            for step in world.ledger.journal.read(run, run.plan_number, VERBS)
            if step.action.verb() == verb and step.action.object.endswith("/app:latest")
        )
        for verb in ("start_build", "finish_build")
    )
    toil = world.toil(run)
    target = toil.inventory.registries[0]
    for _ in range(2):  # its worker died before it could write down that it began
        assert isinstance(toil.apply(start, target), Done)
    assert len(world.marked()) == 1
    first = toil.apply(finish, target)
    assert isinstance(first, Done)
    assert toil.apply(finish, target) == first
    assert isinstance(toil.apply(start, target), Moot)  # it happened
    assert len(world.marked()) == 1


def test_a_base_that_nobody_remembers_is_found_by_the_name_in_a_label(world: World) -> None:
    base = f"{world.place}/base:latest"
    named = f"FROM {base}\nLABEL org.opencontainers.image.base.name={base}\nCOPY other /srv/other\n"
    content = os.urandom(300)
    world.works["other"].commit({"Dockerfile": named.encode(), "other": content})
    world.engine.build(f"{world.place}/other:latest", named, other=content)
    world.engine.docker("push", "--quiet", f"{world.place}/other:latest")
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed")  # no sweep before: what the base was is not known
    assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
    new = world.digests()
    assert new["other"] != old["other"]
    assert (new["app"], new["web"]) == (old["app"], old["web"])
