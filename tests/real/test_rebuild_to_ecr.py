"""What a host built is pushed to a registry that engines take for Amazon ECR: with a token, or with its own login."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.rebuild_stale_images.hosts import HostBuilds
from functions.rebuild_stale_images.jobs import LABEL, job_of
from functions.rebuild_stale_images.settings import Builder, DockerHost
from local import registry as local_registry
from paydown.clients import aws, registry_ecr
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.docker_hosts import builder as containers
from paydown.clients.registry import RegistryApi
from paydown.inventory import Host, Inventory, Reach, Ssm, Unix
from tests.real.builder_image import image_of
from tests.real.docker_engine import Engine, engine_in_memory
from tests.real.ecr_standin import NAME, TOKEN, EcrStandIn
from tests.real.ssm_standin import INSTANCE, SsmStandIn
from tests.servers import need
from tests.unit.ledgers import ledger_in_moto

BUILDER = "paydown-builder:docker"
NUMBERS = itertools.count(1)
"""Of images: what was pushed stays."""
SOURCE = {"uid": "s", "name": "app", "url": "https://git.example/app.git", "images": [f"{NAME}/team/*"]}


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrStandIn]:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with EcrStandIn(tmp_path_factory.mktemp("ecr"), "http://127.0.0.1:9/", "unused") as registry:
        yield registry


@pytest.fixture(scope="module")
def engine(ecr: EcrStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with engine_in_memory(folder, proxy=ecr.url, insecure=(NAME,)) as engine:
        image_of(engine, folder, BUILDER, ())
        yield engine


class Pushing:
    """An image that was built for one run, and the host that pushes it."""

    def __init__(self, engine: Engine, ecr: EcrStandIn, kept: Path, name: str) -> None:
        self.engine, self.ecr, self.kept, self.name = engine, ecr, kept, name

    def look(self, reach: Reach, builder: str) -> Build:
        """What the host says when it is asked how far it is."""
        declared = {"uid": "r", "name": NAME, "url": self.ecr.url, "system": "ecr", "repositories": ["team/*"]}
        host = {"uid": "h", "name": "build-1", "reach": reach.model_dump()}
        inventory = Inventory.parse({"hosts": [host], "registries": [declared], "sources": [SOURCE]})
        settings = {"images": "*", "by": {"via": "host", "host": "build-1", "builder": builder}}
        by = Builder.model_validate(settings)
        job = job_of(inventory.registries[0], f"team/{self.name}", "latest", by, "1f0c")
        mark = self.kept / job.mark
        if not mark.with_suffix(".lock").exists():
            image = self.engine.build(
                f"paydown-rebuild:{job.mark}", f"FROM scratch\nCOPY a /a\nLABEL {LABEL}={job.mark}\n", a=b"a"
            )
            self.kept.mkdir(parents=True, exist_ok=True)
            for suffix, text in ((".lock", ""), (".begun", ""), (".log", ""), (".image", f"{image}\n")):
                mark.with_suffix(suffix).write_text(text)
        assert isinstance(by.by, DockerHost)
        return HostBuilds(inventory).find(job, by.by)

    def ended(self, reach: Reach, builder: str = "") -> Build:
        """What it comes to."""
        deadline = time.monotonic() + 90
        while (found := self.look(reach, builder)).state is BuildState.RUNNING:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return found

    def is_there(self) -> bool:
        """Whether the registry has it."""
        return RegistryApi(self.ecr.url, lambda: TOKEN).digest(f"team/{self.name}", "latest") is not None


@pytest.fixture
def pushing(
    over_ssm: Host, engine: Engine, ecr: EcrStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pushing]:
    """With moto, whose ECR gives the token."""
    monkeypatch.setenv("PAYDOWN_BASES", str(tmp_path))
    monkeypatch.setattr(containers, "START_SECONDS", 0.5)
    registry_ecr._tokens.clear()
    with ledger_in_moto():
        aws.forget()
        yield Pushing(engine, ecr, tmp_path / "rebuilds", f"t{next(NUMBERS)}")
    registry_ecr._tokens.clear()
    aws.forget()


def test_over_a_socket_a_token_of_the_function_goes_along(pushing: Pushing, engine: Engine) -> None:
    build = pushing.ended(Unix(via="unix", path=str(engine.socket)), BUILDER)
    assert build.state is BuildState.DONE, build
    assert pushing.is_there()
    assert not any(TOKEN["password"] in path.read_text() for path in pushing.kept.iterdir())


@pytest.mark.parametrize("logged_in", [True, False])
def test_over_ssm_the_host_has_to_be_logged_in(
    pushing: Pushing, engine: Engine, ssm_agent: SsmStandIn, tmp_path: Path, logged_in: bool
) -> None:
    auth = base64.b64encode(f"{TOKEN['username']}:{TOKEN['password']}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {NAME: {"auth": auth}} if logged_in else {}}))
    ssm_agent.let_have(DOCKER_HOST=engine.host, PAYDOWN_BASES=str(tmp_path), DOCKER_CONFIG=str(tmp_path))
    build = pushing.ended(Ssm(via="ssm", instance_id=INSTANCE))
    assert pushing.is_there() == logged_in
    assert build.state is (BuildState.DONE if logged_in else BuildState.FAILED), build
    assert logged_in or "the push failed: " in build.log
    assert not registry_ecr._tokens
