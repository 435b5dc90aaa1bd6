"""A base in Amazon ECR: what ECR would refuse is said before, and who logs in, the function or the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.refresh_base_image import app
from functions.refresh_base_image.actions import CheckBase, PushBase
from functions.refresh_base_image.app import RefreshBaseImage
from functions.refresh_base_image.in_ecr import REJECTED
from paydown.clients import aws, registry_ecr
from paydown.clients.base_contents import Candidate, Contents
from paydown.errors import PermanentError
from paydown.inventory import Inventory
from paydown.plan import Draft, NotYet
from tests.unit.functions.refresh_base_image.fake_build_host import FakeHost, FakeRegistry
from tests.unit.functions.refresh_base_image.test_base_strays import Shelf
from tests.unit.functions.refresh_base_image.test_refresh_base_image_app import World

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
NAME = f"{HOST}/base/debian"
OVER_SOCKET = {"via": "unix", "path": "/run/docker.sock"}


class InEcr(World):
    @property
    def inventory(self) -> Inventory:
        host = {"uid": "h", "name": "build-1", "reach": self.reach}
        registry = {"uid": "r", "name": HOST, "url": f"https://{HOST}", "bases": ["base/debian"], "system": "ecr"}
        return Inventory.parse({"hosts": [host], "registries": [registry]})

    @property
    def target(self) -> Any:
        return self.inventory.repository(HOST, "base/debian")

    def toil(self, **settings: Any) -> RefreshBaseImage:
        base = {"host": "build-1", "sources": [{"mirror": "https://m.example/debian", "suite": "bookworm"}]}
        return super().toil(**{"bases": {NAME: {**base, **self.recipe}}, **settings})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[InEcr]:
    for name, value in (("AWS_DEFAULT_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    registry = FakeRegistry()
    made = InEcr(registry, FakeHost(registry))
    monkeypatch.setattr(app, "open_build_host", lambda host, **_: made.host)
    monkeypatch.setattr(app, "open_registry", lambda registry, secret, operator: made.registry)
    aws.forget()
    registry_ecr._tokens.clear()
    with mock_aws():
        yield made
    registry_ecr._tokens.clear()
    aws.forget()


def create(**settings: Any) -> None:
    boto3.client("ecr", region_name="eu-central-1").create_repository(repositoryName="base/debian", **settings)


def test_over_a_socket_a_token_of_our_own_goes_along(world: InEcr) -> None:
    create()
    world.reach, world.recipe = OVER_SOCKET, {"builder": "builders/debian:1"}
    world.refresh()
    [login] = world.host.logins
    assert login is not None
    assert login[HOST]["username"] == "AWS"
    assert login[HOST]["password"]
    assert world.registry.pointed["current"] == world.registry.pointed["20260701"]


def test_over_a_socket_the_last_base_is_pulled_with_it_too(world: InEcr, monkeypatch: pytest.MonkeyPatch) -> None:
    create()
    world.reach, world.recipe = OVER_SOCKET, {"builder": "builders/debian:1"}
    world.registry.push("current", "sha256:" + "a" * 64)
    monkeypatch.setattr(world.host, "contents", lambda image: Candidate())
    check = next(one for one in world.actions() if isinstance(one, CheckBase))
    assert isinstance(world.toil().apply(check, world.target), NotYet)
    candidate, last = world.host.logins
    assert (candidate, set(last or {})) == (None, {HOST})


def test_a_host_behind_ssm_logs_in_by_itself(world: InEcr) -> None:
    create()
    world.refresh()
    assert world.host.logins == [None]


@pytest.mark.parametrize("said", REJECTED)
def test_a_host_behind_ssm_that_cannot_log_in_is_named(world: InEcr, said: str) -> None:
    create()
    push = next(one for one in world.actions() if isinstance(one, PushBase))
    world.host.finish()
    world.host.candidate = Candidate(diff_id=world.host.candidate.diff_id, failed=("1f0c", f"the push failed: {said}"))
    with pytest.raises(PermanentError, match=f"^build-1 is not logged in to {HOST}: .* the push failed: {said}$"):
        world.toil().apply(push, world.target)


def test_what_else_fails_is_told_as_it_is(world: InEcr) -> None:
    create()
    push = next(one for one in world.actions() if isinstance(one, PushBase))
    world.host.candidate = Candidate(diff_id="sha256:" + "d" * 64, failed=("1f0c", "the push failed: no space left"))
    with pytest.raises(PermanentError, match=r"^the push failed: no space left$"):
        world.toil().apply(push, world.target)


def test_a_repository_that_is_not_there_is_said_before_anything_is_built(world: InEcr) -> None:
    draft = world.plan()
    assert draft.code == "invalid_settings"
    assert draft.why == f"{NAME}: ECR has no such repository, and takes a push only to one that exists"
    assert world.host.asked == []


def test_tags_that_cannot_move_are_said_before_anything_is_built(world: InEcr) -> None:
    create(imageTagMutability="IMMUTABLE")
    assert world.plan().why == (
        f"{NAME}: ECR does not let 20260701 and current move to another image: its tag mutability is IMMUTABLE"
    )


def test_a_builder_in_ecr_is_pulled_with_a_token(world: InEcr, monkeypatch: pytest.MonkeyPatch) -> None:
    create()
    asked: dict[str, Any] = {}
    monkeypatch.setattr(app, "open_build_host", lambda host, **options: asked.update(options) or world.host)
    world.reach, world.recipe = OVER_SOCKET, {"builder": f"{HOST}/builders/debian@sha256:{'a' * 64}"}
    world.plan()
    assert asked["credentials"]()["username"] == "AWS"


def test_strays_in_ecr_are_listed(world: InEcr, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    shelf.image("base/debian", "20260101", "a")
    shelf.image("team/app", "on", "a", "x")
    shelf.image("team/app", "off", "z")
    monkeypatch.setattr(app, "open_registry", lambda registry, secret, operator: shelf)
    monkeypatch.setattr(RefreshBaseImage, "_told", lambda self, target: "")
    target = world.inventory.registry(HOST)
    assert target is not None
    draft = world.toil().plan(target)
    assert isinstance(draft, Draft)
    assert draft.before["names"] == ["team/app:off"]


def test_contents_are_compared_as_anywhere(world: InEcr) -> None:
    create()
    world.registry.push("current", "sha256:" + "a" * 64)
    world.host.available = {"bash/amd64": "5.4"}
    world.host.built = Contents({"bash/amd64": "5.4", "evil/amd64": "1"}, {})
    check = next(one for one in world.actions() if isinstance(one, CheckBase))
    with pytest.raises(PermanentError):
        world.toil().apply(check, world.target)
