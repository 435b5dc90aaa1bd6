"""What a host is told to build and push in the background, and what becomes of what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from functions.rebuild_stale_images import hosts
from functions.rebuild_stale_images.hosts import HostBuilds
from functions.rebuild_stale_images.jobs import Job, job_of
from functions.rebuild_stale_images.settings import Builder, BuilderImage, DockerHost
from functions.refresh_base_image.settings import Builder as RefreshBuilder
from paydown.clients import registry_ecr
from paydown.clients.codebuild import Build, BuildState
from paydown.errors import PermanentError
from paydown.inventory import Inventory
from tests.unit.functions.rebuild_stale_images.conftest import APP, INVENTORY

IMAGE = "sha256:" + "1" * 64
PASSWORDS = {"read": "correct-horse-7", "write": "battery-staple-9"}
BUILT = f"begun\nimage {IMAGE}"


class Host:
    """Answers what a test wants, and writes down what it is asked to begin."""

    def __init__(self) -> None:
        self.output = ""
        self.trouble: Exception | None = None
        self.begun: list[tuple[str, Mapping[str, list[str]], Any]] = []
        self.opened: dict[str, Any] = {}

    def open(self, host: Any, **options: Any) -> Host:
        self.opened = {"host": host.name, **options}
        return self

    def run(self, document: str, parameters: Mapping[str, list[str]], *_: Any) -> str:
        assert document == "ReadRebuild"
        assert set(parameters) == {"Mark"}
        return f"{self.output}\npaydown-end\n"

    def start(self, document: str, parameters: Mapping[str, list[str]], *, login: Any = None) -> None:
        if self.trouble:
            raise self.trouble
        self.begun.append((document, parameters, login))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    known = {name: {"username": name, "password": word} for name, word in PASSWORDS.items()}
    monkeypatch.setattr(hosts, "open_runner", made.open)
    monkeypatch.setattr(hosts.aws, "secret", known.__getitem__)
    return made


def built_by(**by: Any) -> tuple[HostBuilds, Job, DockerHost]:
    first, other = INVENTORY["registries"]
    registries = [{**first, "secret": "read", "operator_secret": "write"}, other]
    inventory = Inventory.parse({**INVENTORY, "registries": registries})
    builder = Builder.model_validate({"images": "*", "by": {"via": "host", **by}})
    assert isinstance(builder.by, DockerHost)
    return HostBuilds(inventory), job_of(inventory.registries[0], "team/app", "latest", builder, "1f0c"), builder.by


SSM = {"host": "far"}
SOCKET = {"host": "build-1", "builder": "images.example:5000/builders/git:1"}


@pytest.mark.parametrize(("by", "user"), [(SSM, None), (SOCKET, "read")], ids=["ssm", "socket"])
def test_a_build_is_begun_with_all_that_bounds_it(host: Host, by: Any, user: str | None) -> None:
    builds, job, at = built_by(**by, minutes=90, free_mib=2_000)
    assert builds.start(job, at) == Build(BuildState.RUNNING, at.host)
    [(document, parameters, login)] = host.begun
    assert document == "RebuildImage"
    assert parameters == {
        "Mark": [job.mark],
        "Source": ["https://git.example/app.git#main"],
        "Dockerfile": ["Dockerfile"],
        "Seconds": ["5400"],
        "Free": ["2000"],
    }
    registry = {job.registry.name: {"username": user, "password": PASSWORDS[user]}} if user else None
    assert login == registry  # over SSM nothing secret travels
    assert (host.opened["host"], host.opened["builder"]) == (at.host, at.builder)
    assert host.opened["mark"] == f"paydown run 1f0c {job.mark[:8]}"


@pytest.mark.parametrize(
    ("output", "state", "begun"),
    [
        ("", BuildState.RUNNING, ["RebuildImage"]),  # the command was lost, or there was no room
        ("running", BuildState.RUNNING, ["RebuildImage"]),  # somebody looks at it just now
        ("running\nbegun", BuildState.RUNNING, []),
        (BUILT, BuildState.RUNNING, ["PushRebuild"]),
        (f"running\n{BUILT}", BuildState.RUNNING, []),
        (f"running\n{BUILT}\npushed", BuildState.RUNNING, []),
        (f"{BUILT}\npushed", BuildState.DONE, []),
        ("begun", BuildState.FAILED, []),
        ("begun\nfailed the build failed", BuildState.FAILED, []),
        (f"{BUILT}\nfailed the push failed", BuildState.FAILED, []),
    ],
)
def test_each_look_leads_on(host: Host, output: str, state: BuildState, begun: list[str]) -> None:
    builds, job, at = built_by(**SSM)
    host.output = output
    assert builds.find(job, at).state is state
    assert [document for document, *_ in host.begun] == begun


def test_it_is_pushed_under_its_name_by_whoever_may_push(host: Host) -> None:
    builds, job, at = built_by(**SOCKET)
    host.output = BUILT
    builds.find(job, at)
    login = {job.registry.name: {"username": "write", "password": PASSWORDS["write"]}}
    assert host.begun == [("PushRebuild", {"Mark": [job.mark], "Name": [APP]}, login)]
    assert builds.made(job, at) == [IMAGE]


def test_to_ecr_it_is_pushed_with_a_token_over_a_socket_and_with_its_own_login_over_ssm(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = {"username": "AWS", "password": "a-token-for-twelve-hours"}
    monkeypatch.setattr(registry_ecr, "credentials", lambda _: token)
    for by, login in ((SOCKET, {"images.example:5000": token}), (SSM, None)):
        builds, job, at = built_by(**by)
        ecr = replace(job, registry=job.registry.model_copy(update={"system": "ecr"}))
        assert builds.refusal(ecr, at) == ""
        host.output, host.begun = BUILT, []
        builds.find(ecr, at)
        [(document, _, given)] = host.begun
        assert (document, given) == ("PushRebuild", login)


def test_what_failed_is_told_with_its_log_and_without_secrets(host: Host) -> None:
    builds, job, at = built_by(**SOCKET)
    word = PASSWORDS["read"]
    host.output = f"begun\nfailed the build failed\nlog Step 2/3 : RUN x\rpushed\nlog token=hunter2hunter2 {word}"
    build = builds.find(job, at)
    said = "build-1: the build failed: Step 2/3 : RUN x | pushed | token=*** ***"
    assert build == Build(BuildState.FAILED, "build-1", said)
    host.output = "begun\nlog Step 1/3"
    assert builds.find(job, at).log == "build-1: it was killed, or its 60 minutes were over: Step 1/3"


def test_a_host_that_cannot_fails_its_own_images_alone(host: Host) -> None:
    builds, job, at = built_by(**SSM)
    host.trouble = PermanentError("far: the docker command is not installed there")
    told = Build(BuildState.FAILED, "far", "far: the docker command is not installed there")
    assert (builds.start(job, at), builds.find(job, at)) == (told, told)


@pytest.mark.parametrize("word", ["minutes", "free_mib"])
def test_bounds_have_bounds(word: str) -> None:
    for number in (-1, 2_000_000):
        with pytest.raises(ValidationError):
            built_by(**SSM, **{word: number})


def test_a_builder_is_named_as_for_a_bootstrap() -> None:
    assert BuilderImage == RefreshBuilder
