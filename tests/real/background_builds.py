"""Build hosts that build in the background, and a registry that wants to know who one is."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from functions.rebuild_stale_images import app
from functions.rebuild_stale_images.hosts import DOCUMENTS
from local import registry as local_registry
from local.registry import Registry
from paydown.clients.bases import open_runner
from paydown.clients.docker_hosts import builder as containers
from paydown.clients.docker_hosts.rebuilds import Progress, RebuildHost
from paydown.inventory import Host, Reach, Ssm, Unix
from paydown.ledger import Ledger
from tests.real.builder_image import image_of
from tests.real.docker_engine import Engine
from tests.real.git_server import GitServer
from tests.real.rebuilding import World
from tests.real.ssm_standin import INSTANCE, SsmStandIn
from tests.servers import need, need_program

BUILDER = "paydown-builder:git"
SECRETS = {"secret": "paydown/registries/images", "operator_secret": "paydown/registry-operators/images"}
PASSWORDS = {"reader": "correct-horse-7", "operator": "battery-staple-9"}
WAIT = """
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) { sleep(atoi(words[count - 1])); return 0; }
"""


class Guarded(Registry):
    """Lets nobody in without one of the passwords."""

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = super()._config()  # type: ignore[assignment]  # JSON
        hashed = "print crypt($ARGV[0], q($2b$04$abcdefghijklmnopqrstuu))"
        command = ["perl", "-e", hashed]
        lines = []
        for user, word in PASSWORDS.items():
            done = subprocess.run([*command, word], capture_output=True, check=True, text=True)
            lines.append(f"{user}:{done.stdout}\n")
        (self.folder / "htpasswd").write_text("".join(lines))
        auth = {"htpasswd": {"realm": "images", "path": str(self.folder / "htpasswd")}}
        return {**config, "auth": auth}


def login(folder: Path, registry: Registry, user: str = "operator") -> Path:
    """A folder with docker's own file for a login."""
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    return folder


@dataclass
class Site:
    """What all tests share: the engine with a builder image, the registry, and a folder for what hosts keep."""

    engine: Engine
    registry: Registry
    folder: Path

    @property
    def kept(self) -> Path:
        """What hosts keep of builds."""
        return self.folder / "bases/rebuilds"


@pytest.fixture(scope="module")
def site(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An engine that has the builder image, beside the registry."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    need_program("perl", "perl")
    need_program("git", "git")
    docker_engine.clear()
    folder = tmp_path_factory.mktemp("background")
    image_of(docker_engine, folder, BUILDER, ("git", "ca-certificates"))
    with Guarded(folder / "registry", "http://127.0.0.1:9/", "unused") as registry:
        login(folder / "login", registry)
        yield Site(docker_engine, registry, folder)
    docker_engine.clear()


class BackgroundWorld(World):
    """Images whose host builds in the background."""

    login: Mapping[str, str] = {"username": "operator", "password": PASSWORDS["operator"]}
    secrets: Mapping[str, str] = SECRETS
    rules: Mapping[str, Any] = {**World.rules, "back_off_seconds": 0}
    reach: Reach

    def runs_on(self, reach: Reach, **by: Any) -> None:
        """Let the host be reached like this, and build like that."""
        self.reach = reach
        self.by = {"via": "host", "host": "build-1", "minutes": 2, "free_mib": 20, **by}
        self.declare(reach)

    def slowly(self, image: str, wait: bytes, seconds: int) -> None:
        """Let the build of an image on the base take so long."""
        dockerfile = f'FROM {self.place}/base:latest\nCOPY wait /wait\nRUN ["/wait", "{seconds}"]\nCOPY {image} /srv/\n'
        (self.works[image].folder / "wait").touch(mode=0o755)
        self.works[image].commit({"Dockerfile": dockerfile.encode(), "wait": wait})

    def host(self, *, observing: bool = False) -> RebuildHost:
        """The host itself."""
        host = Host(uid="h1", name="build-1", reach=self.reach)
        runner = open_runner(
            host, documents=DOCUMENTS, builder=BUILDER, mark="test", observing=observing, credentials=dict
        )
        return RebuildHost(runner)

    def progress(self, mark: str) -> Progress:
        """How far a build is."""
        return self.host(observing=True).read(mark)

    def until(self, mark: str, seen: Callable[[Progress], object]) -> Progress:
        """What is seen once something is so."""
        deadline = time.monotonic() + 90
        while not seen(found := self.progress(mark)):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return found

    def kill(self, mark: str) -> None:
        """End what builds, as if its host had died."""
        if isinstance(self.reach, Unix):
            for running in self.engine.api.containers(filters={"label": containers.LABEL}):
                with suppress(APIError):  # a look at the build that ended meanwhile
                    self.engine.api.kill(running["Id"])
            return
        groups = {os.getpgid(int(one.parent.name)) for one in Path("/proc").glob("[0-9]*/cmdline") if _names(one, mark)}
        assert len(groups) == 1
        os.killpg(groups.pop(), signal.SIGKILL)

    def candidates(self) -> list[str]:
        """The names of what was built and not pushed."""
        return self.engine.docker("image", "ls", "--quiet", "paydown-rebuild").split()


def _names(path: Path, mark: str) -> bool:
    try:
        return f"paydown-rebuild:{mark}".encode() in path.read_bytes()
    except OSError:
        return False


@pytest.fixture
def background(
    site: Site, sources: GitServer, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> Iterator[BackgroundWorld]:
    """Images in the registry, whose host is reached by a socket until a test says otherwise."""
    monkeypatch.setenv("PAYDOWN_BASES", str(site.folder / "bases"))
    monkeypatch.setenv("DOCKER_CONFIG", str(site.folder / "login"))
    monkeypatch.setattr(app, "open_ledger", lambda: ledger)
    monkeypatch.setattr(app, "LOOK_AGAIN", timedelta(seconds=1))
    monkeypatch.setattr(containers, "START_SECONDS", 0.5)
    never = float("inf")
    known = {
        name: (never, {"username": user, "password": PASSWORDS[user]})
        for name, user in zip(SECRETS.values(), PASSWORDS, strict=True)
    }
    monkeypatch.setattr("paydown.clients.aws._secrets", known)
    made = BackgroundWorld(site.engine, site.registry, sources, ledger)
    made.runs_on(Unix(via="unix", path=str(site.engine.socket)), builder=BUILDER)
    yield made
    for _ in range(3):  # an image goes only after those that were built upon it
        for image in {*made.marked(), *made.candidates()}:
            with suppress(APIError):
                site.engine.api.remove_image(image, force=True)


def behind_the_agent(world: BackgroundWorld, site: Site, agent: SsmStandIn, **environment: str) -> None:
    """Let the world's host be reached over SSM; it has its own login."""
    own = {"PAYDOWN_BASES": str(site.folder / "bases"), "DOCKER_CONFIG": str(site.folder / "login"), **environment}
    agent.let_have(DOCKER_HOST=site.engine.host, **own)
    world.runs_on(Ssm(via="ssm", instance_id=INSTANCE))
