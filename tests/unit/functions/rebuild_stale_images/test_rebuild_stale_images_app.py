"""What is planned, begun, waited for and verified: with registries and builders that only pretend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.actions import FinishBuild, Rebuild, StartBuild
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.building import Builders, Job, job_of
from functions.rebuild_stale_images.settings import Builder, Settings
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import ImagePushed, Sweep
from paydown.inventory import Inventory, Registry
from paydown.plan import Done, Draft, Moot, NotYet, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene

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
class FakeRegistry:
    """Repositories with tags, manifests and configurations."""

    held: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def push(
        self, repository: str, tag: str, layers: str, history: list[dict[str, Any]] | None = None, **notes: str
    ) -> str:
        """An image whose layers are letters."""
        ids = [f"sha256:{hashlib.sha256(one.encode()).hexdigest()}" for one in layers]
        steps = [{"created_by": f"COPY {one} / # buildkit"} for one in layers] if history is None else history
        raw = json.dumps({"rootfs": {"diff_ids": ids}, "history": steps, "config": None}).encode()
        self.blobs[digest_of(raw)] = raw
        annotations = {name.replace("_", "."): value for name, value in notes.items()}
        made = Manifest.made({"config": {"digest": digest_of(raw)}, "annotations": annotations}, OCI_MANIFEST)
        self.held[repository, tag] = self.held[repository, made.digest] = made
        return made.digest

    def repositories(self, patterns: tuple[str, ...]) -> list[str]:
        return sorted({name for name, _ in self.held}) if patterns == ("*",) else []

    def tags(self, repository: str) -> list[str]:
        return sorted(tag for name, tag in self.held if name == repository and ":" not in tag)

    def manifest(self, repository: str, reference: str) -> Manifest:
        with suppress(KeyError):
            return self.held[repository, reference]
        raise NotThere(reference)

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        return self.blobs[digest]


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
            now=lambda: NOW,
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

    def verify(self, draft: Draft, whys: Mapping[str, str] | None = None) -> Any:
        actions = [(number, action) for number, stage in enumerate(draft.stages) for action in stage]
        steps = [
            Step(index, stage, action, StepState.DONE, why=(whys or {}).get(action.object, ""))
            for index, (stage, action) in enumerate(actions)
        ]
        return self.toil.verify(self.target, Record(draft.before, steps, NOW))


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
    assert world.apply(finish) == Moot("the build succeeded, but the tag is the same image as before")
    world.registry.push("team/app", "latest", "OB")
    assert world.apply(finish) == Moot(f"the build succeeded, but its layers do not begin with those of {BASE}")
    made = world.registry.push("team/app", "latest", "NA")
    assert world.apply(finish) == Done({"image": made, "previous": finish.digest, "build": "b1"})
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
        ({"via": "host", "host": "far"}, {}, "host/far is reached over ssm: a host builds over tcp or unix only"),
        ({"via": "host", "host": "gone"}, {}, "the inventory has 0 hosts that answer to gone, not one"),
        ({"via": "host", "host": "build-1"}, {"sources": []}, f"the inventory has 0 sources of {APP}, not one"),
        ({"via": "host", "host": "build-1"}, {"secret": "s"}, "app wants credentials, and an engine gets none"),
        ({"via": "host", "host": "build-1"}, {"url": "https://git.example/app"}, "must end with .git"),
        ({"via": "host", "host": "build-1"}, {"system": "ecr"}, "our role does not push"),
    ],
)
def test_what_a_host_cannot_build_is_left_out_with_the_reason(
    world: World, by: dict[str, str], change: dict[str, Any], why: str
) -> None:
    world.settings["builders"].insert(0, {"images": f"{HOST}/team/app", "by": by})
    source = {**INVENTORY["sources"][0], **{name: it for name, it in change.items() if name in ("secret", "url")}}
    world.inventory = {**INVENTORY, "sources": change.get("sources", [source])}
    if "system" in change:
        [first, other] = INVENTORY["registries"]
        world.inventory = {**INVENTORY, "registries": [{**first, "system": "ecr"}, other]}
    draft = world.plan()
    assert why in draft.before["refused"][APP]
    assert not any(name == APP for _, name in flat(draft))


def test_a_context_is_named_from_the_inventory_alone() -> None:
    source = {**INVENTORY["sources"][0], "context": "docker/app", "dockerfile": "docker/app/Dockerfile.prod"}
    inventory = Inventory.parse({**INVENTORY, "sources": [source]})
    builder = Builder.model_validate({"images": "*", "by": {"via": "host", "host": "build-1", "ref": "v{tag}"}})
    job = job_of(inventory.registries[0], "team/app", "1.2", builder, "run-1")
    context = Builders(inventory)._context(job)
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
