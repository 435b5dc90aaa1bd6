"""Builds that did not help are not repeated; what others pushed meanwhile is not replaced."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions.rebuild_stale_images import hosts
from functions.rebuild_stale_images.actions import FinishBuild
from functions.rebuild_stale_images.building import Builders
from paydown.clients.codebuild import Build, BuildState
from paydown.plan import Done, Draft, Moot, Unverified
from tests.unit.functions.rebuild_stale_images.conftest import APP, BASE, HOST, NOW, WEB, World, flat

LONE = f"{HOST}/team/lone:latest"
UPGRADE = "/bin/sh -c apt-get update && apt-get -y upgrade"


def upgraded(days: int) -> list[dict[str, Any]]:
    return [{"created_by": UPGRADE, "created": (NOW - timedelta(days=days)).isoformat()}]


def built(world: World, name: str, layers: str, history: list[dict[str, Any]] | None = None) -> Unverified:
    """A run whose build of `name` gives these layers; the next runs remember it. WEB is left as it was."""
    draft = world.plan()
    mine = [[one for one in stage if one.object == name] for stage in draft.stages]
    world.builds[name] = Build(BuildState.DONE, "b1")
    world.registry.push(name.partition("/")[2].rpartition(":")[0], "latest", layers, history)
    [finish] = [one for stage in mine for one in stage if isinstance(one, FinishBuild)]
    done = world.apply(finish)
    assert isinstance(done, Done)
    assert done.evidence["fault"]
    seen = world.verify(Draft.of(*mine, **draft.before), found={name: done.evidence})
    assert isinstance(seen, Unverified)
    run = SimpleNamespace(id=f"run-{len(world.runs)}-before", before=dict(draft.before), evidence=dict(seen.evidence))
    world.runs.insert(0, run)
    return seen


def test_a_dockerfile_that_names_its_base_by_digest_is_built_once_for_each_base(world: World) -> None:
    del world.registry.held["team/web", "latest"]
    built(world, APP, "OB")  # the old base still, though the build succeeded
    draft = world.plan()
    assert draft.stages == ()
    said = draft.before["refused"][APP]
    assert said.startswith("a build of it did not help, and neither it nor its base changed since: its layers do not")
    assert draft.why.startswith("1 are refused, and each other image")
    world.runs.insert(0, SimpleNamespace(id="run-9", before=dict(draft.before), evidence=dict(draft.before)))
    assert world.plan().stages == ()  # a run that did nothing hands it on
    world.registry.push("base/debian", "current", "P")
    assert APP in {name for _, name in flat(world.plan())}  # the base is another one
    world.registry.push("base/debian", "current", "N")
    assert world.plan().stages == ()
    world.registry.push("team/app", "latest", "OC")
    assert APP in {name for _, name in flat(world.plan())}  # somebody pushed another image


def test_what_stands_on_it_and_others_are_rebuilt_all_the_same(world: World) -> None:
    built(world, APP, "OB")
    world.registry.push("team/other", "latest", "OX")
    world.registry.push("team/web", "latest", "OAW")  # what APP was
    assert {name for _, name in flat(world.plan())} == {WEB, f"{HOST}/team/other:latest"}


def test_a_build_that_gives_the_same_image_is_remembered_too(world: World) -> None:
    seen = built(world, APP, "OA")
    assert "the tag is the same image as before" in seen.why
    assert APP in world.plan().before["refused"]


def test_an_upgrade_in_a_base_that_nobody_knows_is_tried_again_after_its_days(world: World) -> None:
    world.registry.push("team/app", "latest", "NA")
    world.registry.push("team/web", "latest", "NAW")
    world.registry.push("team/lone", "latest", "X", upgraded(40))
    built(world, LONE, "Y", upgraded(39))
    assert world.plan().stages == ()
    world.now = NOW + timedelta(days=29)
    assert world.plan().stages == ()
    world.now = NOW + timedelta(days=30)
    assert {name for _, name in flat(world.plan())} == {LONE}


@pytest.mark.parametrize("made", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1980-01-01T00:00:00Z"])
def test_a_time_before_there_were_images_is_none(world: World, made: str) -> None:
    world.registry.push("team/app", "latest", "NA")
    world.registry.push("team/web", "latest", "NAW")
    world.registry.push("team/lone", "latest", "X", [{"created_by": UPGRADE, "created": made}])
    assert world.plan().stages == ()


def test_notes_of_images_that_are_others_by_now_are_dropped(world: World) -> None:
    built(world, APP, "OB")
    assert set(world.plan().before["in_vain"]) == {APP}
    world.registry.push("team/app", "latest", "NC")
    assert world.plan().before["in_vain"] == {}


class FakeEngine:
    """Has built one image, and pushes it."""

    def __init__(self, world: World, image: str) -> None:
        self.world, self.image, self.pushed = world, image, 0

    def built(self, label: str, value: str) -> list[str]:
        return [self.image]

    def tag(self, image: str, name: str) -> None:
        assert (image, name) == (self.image, APP)

    def push(self, name: str, credentials: object) -> str:
        self.pushed += 1
        return self.world.registry.push("team/app", "latest", "NA")


@pytest.fixture
def engine(world: World, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """APP is built by a host, whose image is known and not pushed."""
    old = world.registry.held["team/app", "latest"]
    world.registry.push("team/app", "latest", "NA")
    config = world.registry.held["team/app", "latest"].document["config"]["digest"]
    world.registry.held["team/app", "latest"] = old
    world.settings["builders"].insert(0, {"images": f"{HOST}/team/app", "by": {"via": "host", "host": "build-1"}})
    made = FakeEngine(world, config)
    monkeypatch.setattr(hosts, "open_builds", lambda host: made)
    monkeypatch.setattr("functions.rebuild_stale_images.app.Builders", Builders)
    return made


def finishing(world: World) -> FinishBuild:
    _, (finish,), *_ = world.plan().stages
    assert isinstance(finish, FinishBuild)
    assert (finish.object, finish.base) == (APP, BASE)
    return finish


def test_a_newer_push_is_not_replaced_by_what_a_host_built_before(world: World, engine: FakeEngine) -> None:
    finish = finishing(world)
    newer = world.registry.push("team/app", "latest", "OZ")
    said = f"it is {newer} meanwhile: what others pushed is not replaced by an older build"
    assert world.apply(finish) == Moot(said)
    assert (engine.pushed, world.registry.held["team/app", "latest"].digest) == (0, newer)


@pytest.mark.parametrize("name", ["configuration", "manifest"])
def test_a_push_of_its_own_is_finished_by_the_next_worker(world: World, engine: FakeEngine, name: str) -> None:
    finish = finishing(world)
    made = world.registry.push("team/app", "latest", "NA")
    engine.image = engine.image if name == "configuration" else made  # as engines with another image store call it
    done = world.apply(finish)
    assert isinstance(done, Done)
    assert done.evidence["image"] == made
