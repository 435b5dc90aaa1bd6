"""What is planned, done and taken back: with a host and a registry that only pretend."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.refresh_base_image import app
from functions.refresh_base_image.actions import BuildBase, CheckBase, ListStrays, PushBase, TagBase
from functions.refresh_base_image.app import RefreshBaseImage, Settings, key_of
from functions.refresh_base_image.strays import stands_on
from paydown.clients.base_contents import Candidate, Contents, Entry
from paydown.clients.registry_content import OCI_INDEX, Manifest
from paydown.errors import PermanentError
from paydown.events import Sweep
from paydown.inventory import Inventory, Repository
from paydown.plan import Action, Done, Draft, Moot, NotYet, Overridden, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.unit.functions.refresh_base_image.fake_build_host import NEW, OLD, FakeHost, FakeRegistry

NOW = datetime(2026, 7, 1, 3, 0, tzinfo=UTC)
NAME = "images.example/base/debian"
SOURCE = {"mirror": "https://mirror.example/debian", "suite": "bookworm"}


@dataclass
class World:
    registry: FakeRegistry
    host: FakeHost
    reach: dict[str, Any] = field(default_factory=lambda: {"via": "ssm", "instance_id": "i-0123456789abcdef0"})
    system: str = "distribution"
    recipe: dict[str, Any] = field(default_factory=dict)
    secret: str | None = None

    @property
    def inventory(self) -> Inventory:
        host = {"uid": "h", "name": "build-1", "reach": self.reach}
        registry = {
            "uid": "r",
            "name": "images.example",
            "url": "https://images.example",
            "bases": ["base/debian"],
            "system": self.system,
            "secret": self.secret,
        }
        return Inventory.parse({"hosts": [host], "registries": [registry]})

    @property
    def target(self) -> Repository:
        found = self.inventory.repository("images.example", "base/debian")
        assert found is not None
        return found

    def toil(self, **settings: Any) -> RefreshBaseImage:
        base = {"host": "build-1", "sources": [SOURCE], **self.recipe}
        return RefreshBaseImage(
            Scene(
                run_id="1f0c",
                event=Sweep(key="s", at=NOW, rule="daily"),
                inventory=self.inventory,
                policy=Policy(),
                settings=Settings.model_validate({"bases": {NAME: base}, **settings}),
                observing=False,
                now=lambda: NOW,
                nudge=lambda *_: None,
                has_run=lambda *_: False,
            )
        )

    def plan(self) -> Draft:
        draft = self.toil().plan(self.target)
        assert isinstance(draft, Draft)
        return draft

    def actions(self) -> list[Action]:
        return [action for stage in self.plan().stages for action in stage]

    def refresh(self) -> tuple[Draft, list[Step]]:
        """All the way; the host finishes what it began before each second look."""
        draft, steps = self.plan(), list[Step]()
        for number, stage in enumerate(draft.stages):
            for action in stage:
                result = self.toil().apply(action, self.target)
                if isinstance(result, NotYet):
                    self.host.finish()
                    result = self.toil().apply(action, self.target)
                assert isinstance(result, Done), (action, result)
                steps.append(Step(number, number, action, StepState.DONE, result.evidence))
        return draft, steps


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    registry = FakeRegistry()
    made = World(registry, FakeHost(registry))
    monkeypatch.setattr(app, "open_build_host", lambda host, **_: made.host)
    monkeypatch.setattr(app, "open_registry", lambda registry, secret, operator: made.registry)
    return made


def test_the_first_base_goes_all_the_way(world: World) -> None:
    draft, steps = world.refresh()
    assert [step.action.verb() for step in steps] == ["build_base", "check_base", "push_base", "tag_base"]
    assert world.host.asked == ["build", f"push {NAME}:20260701"]
    seen = world.toil().verify(world.target, Record(draft.before, steps, NOW))
    assert isinstance(seen, Verified)
    assert seen.saved == {"bases": 1}
    assert world.registry.pointed["current"] == world.registry.pointed["20260701"] == seen.evidence["digest"]
    notes = world.registry.manifest("", "current").document["annotations"]
    assert notes["org.opencontainers.image.created"] == "2026-07-01T03:00:00Z"
    assert notes["org.opencontainers.image.version"] == "20260701"
    assert world.plan() == Draft.of(
        why="no package changed since the current base", packages=1, digest=seen.evidence["digest"]
    )


def test_a_step_that_is_repeated_does_it_once(world: World) -> None:
    _, steps = world.refresh()
    before = (dict(world.registry.pointed), list(world.host.asked))
    for step in steps:
        assert isinstance(world.toil().apply(step.action, world.target), Done | Moot)
    assert (world.registry.pointed, world.host.asked) == before


def test_another_recipe_or_package_is_a_reason(world: World) -> None:
    world.refresh()
    world.host.available = {**NEW, "zlib1g/amd64": "1"}
    assert world.plan().before["added"] == ["zlib1g/amd64"]
    world.host.available = dict(NEW)
    world.recipe = {"variant": "apt"}
    draft = world.plan()
    assert (draft.before["changed"], draft.before["tag"]) == ([], "20260701.1")


def test_equal_bytes_are_not_pushed(world: World) -> None:
    world.refresh()
    world.recipe = {"variant": "apt"}
    build, check, push, tag = world.actions()
    world.host.last = world.host.built
    assert isinstance(world.toil().apply(build, world.target), Done)
    assert isinstance(world.toil().apply(check, world.target), PermanentError) is False
    assert isinstance(world.toil().apply(push, world.target), Moot)
    assert isinstance(world.toil().apply(tag, world.target), Moot)


def test_what_is_unexpected_ends_it_with_its_name(world: World) -> None:
    world.refresh()
    world.host.available = {"bash/amd64": "5.4"}
    world.host.built = Contents({"bash/amd64": "5.4"}, {"/opt/x": Entry("f", 0o4755, "0:0", "2")})
    world.host.last = Contents(dict(NEW), {})
    check = next(action for action in world.actions() if isinstance(action, CheckBase))
    with pytest.raises(PermanentError, match=f"unexpected in the new base of {NAME}: a setuid file /opt/x"):
        world.toil().apply(check, world.target)


def test_a_mirror_that_moves_on_meanwhile_is_noticed(world: World) -> None:
    check = next(action for action in world.actions() if isinstance(action, CheckBase))
    world.host.built = Contents({"bash/amd64": "5.4"}, {})
    with pytest.raises(PermanentError, match="moved on"):
        world.toil().apply(check, world.target)


def test_a_bootstrap_that_failed_for_this_run_ends_it_and_for_another_is_tried_again(world: World) -> None:
    build = world.actions()[0]
    world.host.candidate = Candidate(failed=("1f0c", "NO_PUBKEY"))
    with pytest.raises(PermanentError, match="NO_PUBKEY"):
        world.toil().apply(build, world.target)
    world.host.candidate = Candidate(failed=("ffff", "NO_PUBKEY"))
    assert isinstance(world.toil().apply(build, world.target), NotYet)
    assert world.host.asked == ["build"]
    assert isinstance(world.toil().apply(build, world.target), NotYet)
    assert world.host.asked == ["build"]  # it runs


def test_a_current_that_somebody_moved_is_left(world: World) -> None:
    world.refresh()
    world.host.available = {"bash/amd64": "5.4"}
    tag = next(action for action in world.actions() if isinstance(action, TagBase))
    world.registry.push(tag.dated, "sha256:" + "e" * 64)
    world.registry.push("current", "sha256:" + "f" * 64)
    assert isinstance(world.toil().apply(tag, world.target), Overridden)


def test_what_was_pushed_but_not_built_here_does_not_become_current(world: World) -> None:
    tag = next(action for action in world.actions() if isinstance(action, TagBase))
    world.host.finish()
    world.registry.push(tag.dated, "sha256:" + "e" * 64)
    with pytest.raises(PermanentError, match="is not what was built and checked"):
        world.toil().apply(tag, world.target)
    push = next(action for action in world.actions() if isinstance(action, PushBase))
    world.registry.push(push.object.rpartition(":")[2], "sha256:" + "e" * 64)
    with pytest.raises(PermanentError, match="is another image meanwhile"):
        world.toil().apply(push, world.target)


def test_all_is_taken_back_the_last_step_first(world: World) -> None:
    world.registry.push("current", "sha256:" + "a" * 64)
    world.registry.push("20200101", "sha256:" + "a" * 64)
    before = dict(world.registry.pointed)
    _, steps = world.refresh()
    assert world.registry.pointed != before
    for step in reversed(steps):
        undone = world.toil().undo(step.action, world.target)
        assert isinstance(undone, Moot if isinstance(step.action, CheckBase) else Done), step
    assert world.registry.pointed == before
    assert world.host.asked[-1] == "forget"
    assert all(isinstance(world.toil().undo(step.action, world.target), Moot) for step in steps[1:])


def test_the_first_base_is_taken_back_as_a_whole(world: World) -> None:
    _, steps = world.refresh()
    for step in reversed(steps):
        world.toil().undo(step.action, world.target)
    assert world.registry.pointed == {}


def test_a_base_that_others_made_current_is_not_taken_back(world: World) -> None:
    _, steps = world.refresh()
    world.registry.push("current", "sha256:" + "b" * 64)
    tag = next(step.action for step in steps if isinstance(step.action, TagBase))
    assert isinstance(world.toil().undo(tag, world.target), Moot)


@pytest.mark.parametrize("reach", [{"via": "unix", "path": "/s"}, {"via": "tcp", "address": "a:1", "secret": "s"}])
def test_a_host_behind_a_socket_needs_a_builder_and_the_plan_says_what_that_may(
    world: World, reach: dict[str, Any]
) -> None:
    world.reach = reach
    draft = world.plan()
    assert draft.code == "invalid_settings"
    assert draft.why == (
        f"host/build-1 is reached by {reach['via']}: the settings must name a `builder` image for a bootstrap there"
    )
    world.recipe = {"builder": "builders/debian:1"}
    assert world.actions()[0].note == (
        "the first one, of 1 packages; in containers of builders/debian:1, "
        "which get the engine of build-1 and may mount"
    )


@pytest.mark.parametrize(
    ("builder", "login"),
    [
        ("images.example/builders/debian@sha256:" + "a" * 64, {"username": "reader", "password": "p"}),
        ("elsewhere.example/builders/debian@sha256:" + "a" * 64, {}),
    ],
)
def test_a_builder_is_pulled_with_what_the_inventory_says_of_its_registry(
    world: World, monkeypatch: pytest.MonkeyPatch, builder: str, login: dict[str, str]
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(app, "open_build_host", lambda host, **options: asked.update(options) or world.host)
    monkeypatch.setattr(app.aws, "secret", lambda _: {"username": "reader", "password": "p", "more": 1})
    world.secret = "paydown/registries/images"
    world.recipe = {"builder": builder}
    world.plan()
    assert (asked["builder"], asked["observing"], asked["mark"]) == (builder, False, "paydown run 1f0c")
    assert sorted(path.stem for path in asked["documents"].glob("read_*.json")) == [
        "read_base_contents",
        "read_base_image",
    ]
    assert asked["credentials"]() == login


def test_a_repository_without_a_recipe_is_left_alone(world: World) -> None:
    draft = world.toil(bases={}).plan(world.target)
    assert isinstance(draft, Draft)
    assert draft.why == f"the settings do not say how {NAME} is made"


def test_a_current_that_is_an_index_is_not_guessed_at(world: World) -> None:
    made = Manifest.made({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}, OCI_INDEX)
    world.registry.put_manifest("", "current", made)
    with pytest.raises(PermanentError, match="is an index"):
        world.plan()


def test_verify_reads_the_registry_again(world: World) -> None:
    draft, steps = world.refresh()
    record = Record(draft.before, steps, NOW)
    world.registry.push("20260701", "sha256:" + "c" * 64)
    assert isinstance(world.toil().verify(world.target, record), Unverified)
    world.registry.pointed.clear()
    assert isinstance(world.toil().verify(world.target, record), Unverified)


def test_the_key_is_of_recipe_and_packages(world: World) -> None:
    base = world.toil().settings.bases[NAME]
    other = base.model_copy(update={"variant": "apt"})
    assert len({key_of(base, OLD), key_of(base, NEW), key_of(other, OLD)}) == 3


def test_actions_are_read_back_from_a_journal(world: World) -> None:
    for action in [*world.actions(), ListStrays(object="registry/r", precondition="p", images=("a:1",))]:
        assert type(action).model_validate_json(action.model_dump_json()) == action
    assert isinstance(world.actions()[0], BuildBase)


def test_an_image_stands_on_a_base_with_all_its_layers() -> None:
    bases = frozenset({("a", "b")})
    assert stands_on(("a", "b", "c"), bases)
    assert stands_on((), bases)
    assert not stands_on(("a", "c"), bases)
    assert not stands_on(("a",), bases)
