"""Real builds that do not help, that come too late, of what is frozen, and after a base that was refreshed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.refresh_base_image.actions import TagBase
from functions.refresh_base_image.app import RefreshBaseImage
from functions.refresh_base_image.app import Settings as RefreshSettings
from functions.refresh_base_image.published import CURRENT, published
from local.registry import Registry
from paydown.clients.base_contents import Candidate
from paydown.clients.registry_content import Manifest, digest_of
from paydown.events import ImagePushed, Sweep
from paydown.inventory import Inventory, Repository
from paydown.ledger import Outcome
from paydown.plan import Done, Moot
from paydown.policy import Policy
from paydown.toil import Scene
from tests.fixtures.ingress import SECRET
from tests.real.docker_engine import Engine
from tests.real.git_server import GitServer
from tests.real.ingress_server import Front, front_door
from tests.real.rebuilding import World, images, sources, world
from tests.real.shrinking import compiled
from tests.unit.ledgers import ledger_in_moto

__all__ = ["compiled", "images", "sources", "world"]

UPGRADE = """
#include <stdio.h>
#include <time.h>
int main(void) {
    struct timespec now;
    FILE *file = fopen("/upgraded", "w");
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(file, "%ld.%ld", now.tv_sec, now.tv_nsec);
    return fclose(file);
}
"""
"""Stands for apt-get: what it leaves tells when it ran."""
FROZEN = 'FROM scratch\nCOPY apt-get /usr/bin/apt-get\nRUN ["apt-get", "-y", "upgrade"]\n'


def test_what_others_pushed_while_a_host_built_stays(world: World) -> None:
    world.run("sweep")
    world.push_base()
    run = world.run("image_pushed", observing=True)
    start, finish = world.actions(run, "app")
    toil = world.toil(run)
    target = toil.inventory.registries[0]
    assert isinstance(toil.apply(start, target), Done)
    [mine] = world.marked()
    newer = world.push("app", b"version 2")  # before the worker goes on
    said = f"it is {newer} meanwhile: what others pushed is not replaced by an older build"
    assert toil.apply(finish, target) == Moot(said)
    assert world.image("app").digest == newer
    assert world.marked() == [mine]


def test_a_dockerfile_that_names_its_base_by_digest_is_built_once_for_each_base(world: World) -> None:
    world.run("sweep")
    pinned = f"FROM {world.place}/base@{world.image('base').digest}\nCOPY app /srv/app\n"
    world.works["app"].commit({"Dockerfile": pinned.encode()})
    world.push_base()
    name = f"{world.place}/app:latest"
    run = world.run("image_pushed")
    assert run.status is Outcome.UNVERIFIED, (run.status, run.reasons)
    assert "its layers do not begin with those of" in run.evidence["failed"][name]
    assert set(run.evidence["rebuilt"]) == {f"{world.place}/web:latest"}
    after, built = world.digests(), len(world.marked())
    for _ in range(2):
        again = world.run("sweep")
        assert (again.status, again.reasons[0].code) == (Outcome.SKIPPED, "nothing_to_do")
        assert "a build of it did not help" in again.evidence["refused"][name]
    assert (world.digests(), len(world.marked())) == (after, built)
    world.push_base()
    observed = world.run("image_pushed", observing=True)
    assert [type(one).__name__ for one in world.actions(observed, "app")] == ["StartBuild", "FinishBuild"]


def test_a_frozen_upgrade_is_built_anew(world: World, compiled: Callable[..., bytes]) -> None:
    program = compiled(UPGRADE, "-static")
    (world.works["other"].folder / "apt-get").touch(mode=0o755)
    world.works["other"].commit({"Dockerfile": FROZEN.encode(), "apt-get": program})
    name = f"{world.place}/other:latest"
    world.engine.build(name, FROZEN, **{"apt-get": program})
    world.engine.docker("push", "--quiet", name)
    ran = set()
    for _ in range(2):
        aged(world, "other", timedelta(days=40))
        old = world.image("other")
        world.run("sweep", frozen_days=60)
        assert world.image("other") == old  # it is not too old for that
        run = world.run("sweep", frozen_days=30)
        assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
        new = world.image("other")
        assert run.evidence["rebuilt"] == {name: new.digest}
        [(position, made)] = new.upgraded
        assert position == 1
        assert datetime.now(UTC) - made < timedelta(minutes=5)
        ran |= {old.layers[0][1], new.layers[0][1]}
    assert len(ran) == 3  # the second time it ran again, though the engine had all of it in its cache
    again = world.run("sweep", frozen_days=30)
    assert (again.status, again.reasons[0].code) == (Outcome.SKIPPED, "nothing_to_do")


def aged(world: World, image: str, age: timedelta) -> None:
    """Let all that made an image have happened so long ago."""
    repository = f"{world.name}/{image}"
    manifest = world.api.manifest(repository, "latest")
    config = json.loads(world.api.blob(repository, manifest.document["config"]["digest"], 100_000))
    then = (datetime.now(UTC) - age).isoformat()
    config["history"] = [{**entry, "created": then} for entry in config["history"]]
    raw = json.dumps(config).encode()
    world.api.upload_blob(repository, digest_of(raw), [raw])
    described = {**manifest.document["config"], "digest": digest_of(raw), "size": len(raw)}
    changed = Manifest.made({**manifest.document, "config": described}, manifest.media_type)
    world.api.put_manifest(repository, "latest", changed)


# -- a base that was refreshed ----------------------------------------------------------------------------------------


class Refreshed(World):
    """The same, with a base that `refresh_base_image` makes `current`; it is told that the engine bootstrapped it."""

    base_tag = CURRENT
    pushed = 0

    def push_base(self) -> None:
        """Another base under its date, and then as `current`, as the steps of a refresh push it."""
        repository = f"{self.name}/base"
        self.pushed += 1
        dated = f"2026-11-{self.pushed:02}"
        self.engine.build(
            f"{self.place}/base:{dated}", "FROM scratch\nCOPY base /srv/base\n", base=bytes([self.pushed])
        )
        self.engine.docker("push", "--quiet", f"{self.place}/base:{dated}")
        made, before = published(self.api, repository, dated), published(self.api, repository, CURRENT)
        assert made is not None
        [diff_id] = made.diff_ids
        toil, target = refreshing(self, Candidate(diff_id=diff_id, image=made.config))
        action = TagBase(
            object=f"{self.place}/base:{CURRENT}",
            precondition="it is another one",
            key="f" * 32,
            dated=dated,
            previous=before.digest if before else "",
            packages={"bash/amd64": str(self.pushed)},
        )
        done = toil.apply(action, target)
        assert isinstance(done, Done), done


class Bootstrapped:
    """A build host that has the candidate."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate

    def read(self, key: str) -> Candidate:
        return self.candidate


def refreshing(world: World, candidate: Candidate) -> tuple[RefreshBaseImage, Repository]:
    """A refresh that has come to its last step, and its base."""
    name = f"{world.place}/base"
    declared = {"uid": "r1", "name": world.registry.host, "url": world.registry.url, "bases": [f"{world.name}/base"]}
    inventory = Inventory.parse({"registries": [declared]})
    source = {"mirror": "http://mirror.example/debian", "suite": "stable", "components": ["main"]}
    event = Sweep.model_validate({"key": "s", "at": datetime.now(UTC), "rule": "daily"})

    class Late(RefreshBaseImage):
        def _builder(self, base: object) -> Any:
            return Bootstrapped(candidate)

    toil = Late(
        Scene(
            run_id="run-1",
            event=event,
            inventory=inventory,
            policy=Policy(),
            settings=RefreshSettings.model_validate({"bases": {name: {"host": "build-1", "sources": [source]}}}),
            observing=False,
            now=lambda: datetime.now(UTC),
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
    )
    [target] = [one for one in Late.targets(event, inventory) if isinstance(one, Repository)]
    return toil, target


@pytest.fixture
def front() -> Iterator[Front]:
    """Ingress, to which the registry tells its pushes."""
    with front_door() as made:
        yield made


def test_the_push_of_a_refreshed_base_rebuilds_what_stands_on_it(
    docker_engine: Engine, sources: GitServer, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_engine.clear()
    with ledger_in_moto() as ledger, Registry(tmp_path / "registry", front.url("registry"), SECRET) as registry:
        monkeypatch.setattr(app, "open_ledger", lambda: ledger)
        world = Refreshed(docker_engine, registry, sources, ledger)
        old = world.digests()
        world.push_base()
        current = world.image("base")

        def told() -> list[ImagePushed]:
            found = [one for one in front.events if isinstance(one, ImagePushed)]
            return [one for one in found if (one.digest, one.tag) == (current.digest, CURRENT)]

        front.until(told)
        [event] = told()
        inventory = ledger.inventory.current().document
        assert [one.name for one in RebuildStaleImages.targets(event, inventory)] == [registry.host]
        run = world.run("image_pushed", event=event)
        assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
        made, web = world.image("app"), world.image("web")
        assert made.layers[0][:1] == web.layers[0][:1] == current.layers[0]
        assert world.image("other").digest == old["other"]
        assert run.evidence["stands_on"][made.name] == f"{current.name}@{current.digest}"
        pushed = [one for one in front.events if isinstance(one, ImagePushed) and one.repository == f"{world.name}/app"]
        assert list(RebuildStaleImages.targets(pushed[-1], inventory)) == []  # it is no base: no run of its own
    docker_engine.clear()
