"""What is planned, begun, waited for and verified: with registries and builders that only pretend."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions.rebuild_stale_images.actions import FinishBuild, Rebuild
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.hosts import HostBuilds
from functions.rebuild_stale_images.jobs import job_of
from functions.rebuild_stale_images.settings import Builder
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.errors import PermanentError
from paydown.events import ImagePushed
from paydown.inventory import Inventory, Registry
from paydown.plan import Done, Draft, Moot, NotYet, Unverified, Verified
from tests.unit.functions.rebuild_stale_images.conftest import (
    APP,
    BASE,
    CODEBUILD,
    HOST,
    INVENTORY,
    NOW,
    WEB,
    World,
    flat,
)

FOREGROUND = (
    "built by build-1 in the foreground: a build or push that takes more than 24 s is stopped, as the policy names no "
    "`builder` image"
)


def test_it_plans_a_start_and_an_end_for_each_image_in_order(world: World) -> None:
    draft = world.plan()
    assert flat(draft) == [
        ("start_build", APP), ("finish_build", APP), ("start_build", WEB), ("finish_build", WEB)
    ]  # fmt: skip
    [[start], _, [later], _] = draft.stages
    assert isinstance(start, Rebuild)
    assert isinstance(later, Rebuild)
    assert (start.base, start.waits, later.base, later.waits) == (BASE, False, APP, True)
    assert draft.before["images"] == 3
    assert json.loads(json.dumps(draft.before)) == draft.before


def test_what_a_base_was_is_known_from_the_last_run(world: World) -> None:
    for tag in ("2026-10-01", "current"):
        del world.registry.held["base/debian", tag]
    world.registry.push("base/debian", "current", "O")
    remembered = world.plan()
    assert remembered.stages == ()
    world.registry.push("base/debian", "current", "N")
    assert world.plan().stages == ()
    world.runs = [SimpleNamespace(id="run-0", before={}, evidence=dict(remembered.before))]
    assert len(world.plan().stages) == 4
    world.runs = [SimpleNamespace(id="run-1", before=dict(remembered.before), evidence={})]
    assert world.plan().stages == ()  # its own plan is no memory


def test_one_run_rebuilds_so_many_and_says_what_is_left(world: World) -> None:
    world.settings["most"] = 1
    draft = world.plan()
    assert flat(draft) == [("start_build", APP), ("finish_build", APP)]
    assert draft.before["left"] == 1


def test_nothing_is_planned_without_builders_or_when_all_is_fresh(world: World) -> None:
    world.registry.push("team/app", "latest", "NA")
    world.registry.push("team/web", "latest", "NAW")
    assert world.plan().why == "each image stands on its base as that is now"
    world.settings = {}
    assert world.plan() == Draft(why="the settings name nobody who builds")


def test_a_frozen_upgrade_is_a_reason_of_its_own(world: World) -> None:
    def history(days: int) -> list[dict[str, Any]]:
        made = (NOW - timedelta(days=days)).isoformat()
        command = "/bin/sh -c apt-get update && apt-get -y upgrade"
        return [{"created_by": "ENV A=1", "empty_layer": True}, {"created_by": command, "created": made}]

    world.registry.push("team/lone", "latest", "X", history(40))
    draft = world.plan()
    [start] = [action for action in draft.stages[0] if action.object.endswith("lone:latest")]
    assert isinstance(start, Rebuild)
    assert (start.frozen, start.base) == (True, "")
    mine = Draft.of([start], [FinishBuild(**start.model_dump())], **draft.before)
    world.registry.push("team/lone", "latest", "Y", history(39))
    seen = world.verify(mine)
    assert isinstance(seen, Unverified)
    assert "older than 30 days" in seen.why
    world.registry.push("team/lone", "latest", "Z", history(0))
    assert isinstance(world.verify(mine), Verified)


def test_a_build_is_begun_waited_for_and_looked_at_in_the_registry(world: World) -> None:
    draft = world.plan()
    (start,), (finish,), (later,), (last,) = draft.stages
    assert isinstance(start, Rebuild)
    assert isinstance(finish, Rebuild)
    assert isinstance(later, Rebuild)
    assert isinstance(last, Rebuild)
    assert isinstance(world.apply(start), Done)
    assert world.apply(finish) == NotYet(NOW + timedelta(seconds=20), f"b1 builds {APP}")
    world.builds[APP] = Build(BuildState.DONE, "b1")
    base = world.registry.held["base/debian", "current"].digest
    said = {"previous": finish.digest, "build": "b1", "base": base}
    same = {"image": finish.digest, "fault": "the tag is the same image as before"}
    assert world.apply(finish) == Done({**said, **same})
    made = world.registry.push("team/app", "latest", "OB")
    old = {"image": made, "fault": f"its layers do not begin with those of {BASE}"}
    assert world.apply(finish) == Done({**said, **old})
    made = world.registry.push("team/app", "latest", "NA")
    assert world.apply(finish) == Done({**said, "image": made})
    assert world.apply(start) == Moot(f"it is {made} meanwhile")
    assert isinstance(world.apply(later), Done)
    world.builds[WEB] = Build(BuildState.DONE, "b2")
    web = world.registry.push("team/web", "latest", "NAW")
    assert isinstance(world.apply(last), Done)
    assert world.started == [APP, WEB]
    seen = world.verify(draft)
    assert isinstance(seen, Verified)
    assert seen.saved == {"images": 2}
    assert seen.evidence["rebuilt"] == {APP: made, WEB: web}
    assert seen.evidence["stands_on"] == {APP: f"{BASE}@{base}", WEB: f"{APP}@{made}"}


def test_what_waits_for_a_base_that_failed_is_not_begun(world: World) -> None:
    draft = world.plan()
    (start,), (finish,), (later,), (last,) = draft.stages
    assert isinstance(start, Rebuild)
    world.builds[APP] = Build(BuildState.FAILED, "b1", "no space left")
    assert world.apply(start) == Moot("the build failed: no space left")
    assert isinstance(finish, Rebuild)
    assert world.apply(finish) == Moot("the build failed: no space left")
    for action in (later, last):
        assert isinstance(action, Rebuild)
        assert world.apply(action) == Moot(f"its base {APP} was not rebuilt")
    assert world.started == [APP]
    seen = world.verify(draft, {APP: "the build failed: no space left"})
    assert isinstance(seen, Unverified)
    assert seen.why.startswith("2 of 2 images: ")
    assert "no space left" in seen.evidence["failed"][APP]
    assert seen.evidence["rebuilt"] == {}


def test_a_build_that_nobody_lists_yet_is_waited_for_and_never_begun_again(world: World) -> None:
    (_,), (finish,), *_ = world.plan().stages
    assert isinstance(finish, Rebuild)
    assert isinstance(world.apply(finish), NotYet)
    assert world.started == []
    pushed = world.registry.push("team/app", "latest", "NB")
    assert world.apply(finish) == Moot(f"it is {pushed} meanwhile, and no build of this run is known")


def test_an_image_or_builder_that_went_is_left(world: World) -> None:
    (start,), *_ = world.plan().stages
    assert isinstance(start, Rebuild)
    del world.registry.held["team/app", "latest"]
    assert world.apply(start) == Moot("it is gone")
    world.settings = {}
    assert world.apply(start) == Moot("the settings name nobody who builds it any more")


@pytest.mark.parametrize(
    ("by", "change", "why"),
    [
        ({"via": "host", "host": "gone"}, {}, "the inventory has 0 hosts that answer to gone, not one"),
        ({"via": "host", "host": "gone", "builder": "b:1"}, {}, "the inventory has 0 hosts that answer to gone"),
        ({"via": "host", "host": "build-1"}, {"sources": []}, f"the inventory has 0 sources of {APP}, not one"),
        ({"via": "host", "host": "build-1"}, {"secret": "s"}, "app wants credentials, and an engine gets none"),
        ({"via": "host", "host": "build-1"}, {"url": "https://git.example/app"}, "must end with .git"),
        ({"via": "host", "host": "far"}, {"url": "https://git.example/a'b.git"}, 'Parameter "Source" has value'),
        ({"via": "host", "host": "far"}, {"context": "a/../../etc"}, 'Parameter "Source" has value'),
        ({"via": "host", "host": "far"}, {"context": "a b"}, "cannot be named to an engine"),
        ({"via": "host", "host": "far"}, {"dockerfile": "$(id)"}, 'Parameter "Dockerfile" has value'),
        ({"via": "host", "host": "far"}, {"dockerfile": "a/../../b"}, 'Parameter "Dockerfile" has value'),
        ({"via": "host", "host": "far", "ref": "{branch}"}, {}, 'Parameter "Source" has value'),
    ],
)
def test_what_a_host_cannot_build_is_left_out_with_the_reason(
    world: World, by: dict[str, str], change: dict[str, Any], why: str
) -> None:
    world.settings["builders"].insert(0, {"images": f"{HOST}/team/app", "by": by})
    source = {**INVENTORY["sources"][0], **{name: it for name, it in change.items() if name != "sources"}}
    world.inventory = {**INVENTORY, "sources": change.get("sources", [source])}
    draft = world.plan()
    assert why in draft.before["refused"][APP]
    assert not any(name == APP for _, name in flat(draft))


@pytest.mark.parametrize(
    ("by", "note"),
    [
        ({"via": "host", "host": "far"}, "built and pushed by far with its own login"),
        (
            {"via": "host", "host": "build-1", "builder": "images.example:5000/builder:1"},
            "built and pushed in containers of images.example:5000/builder:1, which get the engine of build-1",
        ),
        (
            {"via": "host", "host": "build-1"},
            FOREGROUND,
        ),
        (CODEBUILD, ""),
    ],
)
def test_a_plan_tells_how_a_host_builds(world: World, by: dict[str, str], note: str) -> None:
    world.settings["builders"].insert(0, {"images": f"{HOST}/team/app", "by": by})
    notes = [action.note for stage in world.plan().stages for action in stage if action.object == APP]
    assert notes[0].partition("; ")[2] == note
    assert "; " not in notes[1]


def test_a_host_may_push_to_ecr(world: World) -> None:
    [first, other] = INVENTORY["registries"]
    world.inventory = {**INVENTORY, "registries": [{**first, "system": "ecr"}, other]}
    world.settings["builders"] = [{"images": f"{HOST}/team/app", "by": {"via": "host", "host": "far"}}]
    draft = world.plan()
    assert draft.before["refused"] == {}
    assert {name for _, name in flat(draft)} == {APP}


def test_a_context_is_named_from_the_inventory_alone() -> None:
    source = {**INVENTORY["sources"][0], "context": "docker/app/", "dockerfile": "docker/app/Dockerfile.prod"}
    inventory = Inventory.parse({**INVENTORY, "sources": [source]})
    builder = Builder.model_validate({"images": "*", "by": {"via": "host", "host": "build-1", "ref": "v{tag}"}})
    job = job_of(inventory.registries[0], "team/app", "1.2", builder, "run-1")
    context = HostBuilds(inventory)._context(job)
    assert context.remote == "https://git.example/app.git#v1.2:docker/app"
    assert context.dockerfile == "Dockerfile.prod"


@pytest.mark.parametrize("name", ["a b", "a;id", "$(id)", "A", "../x", "-x", "a\n"])
def test_hostile_names_are_no_names_of_images(name: str) -> None:
    builder = Builder.model_validate({"images": "*", "by": CODEBUILD})
    [registry, _] = Inventory.parse(INVENTORY).registries
    with pytest.raises(PermanentError, match="no name of an image"):
        job_of(registry, name, "latest", builder, "run-1")
    with pytest.raises(PermanentError, match="no name of an image"):
        job_of(replace_name(registry, f"{name} "), "team/app", "latest", builder, "run-1")


def replace_name(registry: Registry, name: str) -> Registry:
    return registry.model_copy(update={"name": name})


def test_a_mark_is_that_of_one_run_and_one_image() -> None:
    builder = Builder.model_validate({"images": "*", "by": CODEBUILD})
    [registry, _] = Inventory.parse(INVENTORY).registries
    one = job_of(registry, "team/app", "v1", builder, "run-1")
    assert one.mark == replace(one).mark
    assert len({one.mark, replace(one, tag="v2").mark, replace(one, run_id="run-2").mark}) == 3
    assert one.mark.isalnum()


def test_a_push_counts_if_it_is_to_a_base_and_looks_at_all_registries() -> None:
    inventory = Inventory.parse(INVENTORY)
    detail = {"key": "k", "at": NOW, "registry": HOST, "digest": "sha256:" + "0" * 64, "tag": "current"}
    base = ImagePushed.model_validate({**detail, "repository": "base/debian"})
    assert [one.uid for one in RebuildStaleImages.targets(base, inventory)] == ["r", "s"]
    for other in ({"repository": "team/app"}, {"repository": "base/debian", "registry": "unknown.example"}):
        event = ImagePushed.model_validate({**detail, **other})
        assert list(RebuildStaleImages.targets(event, inventory)) == []


def test_an_index_is_read_with_all_its_platforms_and_rubbish_is_no_image(world: World) -> None:
    registry = world.registry
    children = [registry.push("team/multi", f"c{number}", layers) for number, layers in enumerate(("OA", "NB"))]
    listed = [{"digest": one, "platform": {"os": "linux"}} for one in children]
    listed.append({"digest": "sha256:" + "9" * 64, "platform": {"os": "unknown"}})
    registry.held["team/multi", "latest"] = Manifest.made({"manifests": listed}, OCI_INDEX)
    for number in range(2):
        del registry.held["team/multi", f"c{number}"]
    for tag, document in (("a", {"config": 7}), ("b", {"config": {"digest": "sha256:" + "1" * 64}}), ("c", {})):
        registry.held[f"team/rubbish{tag}", "latest"] = Manifest.made(document, OCI_MANIFEST)
    draft = world.plan()
    assert f"{HOST}/team/multi:latest" in [name for _, name in flat(draft)]  # one of its platforms is old
    assert draft.before["images"] == 4
