"""A base that is bootstrapped in containers of a builder image: the engine's socket is all that its host offers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.refresh_base_image import app
from local.registry import Registry
from paydown.clients import aws
from paydown.clients.base_contents import Recipe, candidate_name
from paydown.clients.bases import BuildHost, open_build_host
from paydown.clients.docker_builds import open_builder
from paydown.clients.docker_hosts import builder as containers
from paydown.clients.docker_hosts.builder import LABEL, BuilderContainer, Needs
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Tcp, Unix
from paydown.toil.worker import Worker
from tests.real import base_bootstrap
from tests.real.base_bootstrap import REPOSITORY, BuildSite, machine_source
from tests.real.builder_image import builder_image
from tests.real.docker_engine import TLS_SECRET, Engine
from tests.servers import need_program
from tests.unit.ledgers import ledger_in_moto

BUILDER = "paydown-builder:1"
MARK = "paydown run 1f0c"


class Killed(BaseException):
    """As if by signal 9."""


@dataclass
class SocketSite(BuildSite):
    """A site whose host is reached by a socket. `ahead` is added to the time; `built` has the images that were made."""

    ahead: timedelta = timedelta(0)
    built: list[str] = field(default_factory=list)

    def worker(self, observing: bool = False, sent: list[Any] | None = None) -> Worker:
        made = super().worker(observing, sent)
        made.now = lambda: base_bootstrap.now() + self.ahead
        made.deadline += self.ahead
        return made

    @property
    def reach(self) -> dict[str, Any]:
        return {"via": "unix", "path": str(self.engine.socket)}

    @property
    def recipe(self) -> Recipe:
        line = " ".join(["deb", self.source["mirror"], self.source["suite"], *self.source["components"]])
        return Recipe(self.source["suite"], (line,), "essential", (), self.keyring)

    def host(self, mark: str = MARK) -> BuildHost:
        reached = Host(uid="h", name="build-1", reach=Unix(via="unix", path=str(self.engine.socket)))
        return open_build_host(reached, documents=app.DOCUMENTS, builder=BUILDER, mark=mark)

    def no_container_is_left(self) -> bool:
        """The engine removes them by itself: a moment after they end."""
        deadline = time.monotonic() + 60
        while self.engine.containers() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.engine.containers()


def imported(engine: Engine, since: float) -> list[str]:
    """What the engine imported: an image for each bootstrap that came so far."""
    asked = ["--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter", "event=import"]
    return engine.docker("events", *asked, "--format", "{{.ID}}").splitlines()


def sweep_and_die(site: SocketSite, patch: pytest.MonkeyPatch) -> None:
    """The first sweep. The command to build comes twice each time, and its worker dies right after the first time."""
    build, calls, began = BuildHost.build, list[str](), time.time()

    def dying(self: BuildHost, key: str, run_id: str, recipe: Recipe) -> None:
        for _ in range(2):
            build(self, key, run_id, recipe)
        calls.append(run_id)
        if len(calls) == 1:
            raise Killed

    patch.setattr(BuildHost, "build", dying)
    with pytest.raises(Killed):
        site.sweep()
    patch.setattr(BuildHost, "build", build)
    site.ahead = timedelta(minutes=10)  # when the dead worker's time is over
    site.worker().handle({"paydown": 1, "command": "wake", "run_id": calls[0]})
    site.first = site.ledger.runs.get(calls[0])
    site.built = imported(site.engine, began)


@pytest.fixture(scope="module")
def site(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketSite]:
    need_program("docker-registry", "docker-registry")
    source, keyring = machine_source()
    folder = tmp_path_factory.mktemp("socket")
    docker_engine.clear()
    builder_image(docker_engine, folder, BUILDER)
    with (
        pytest.MonkeyPatch.context() as patch,
        ledger_in_moto() as ledger,
        Registry(folder / "registry", "http://127.0.0.1:9/", "x") as registry,
    ):
        patch.setenv("PAYDOWN_BASES", str(folder / "bases"))
        patch.setattr(app, "LOOK_AGAIN", timedelta(seconds=2))
        patch.setattr(containers, "START_SECONDS", 1.0)
        patch.setattr(app, "open_ledger", lambda: ledger)
        made = SocketSite(docker_engine, registry, ledger, source, keyring)
        made.inventory(made.reach)
        made.allow(builder=BUILDER)
        sweep_and_die(made, patch)
        yield made
        docker_engine.clear()
        aws.forget()


@pytest.fixture
def settled(site: SocketSite) -> Iterator[SocketSite]:
    """The same, with its settings and inventory, whatever this test does."""
    yield site
    site.allow(builder=BUILDER)
    site.inventory(site.reach)


def test_the_first_sweep_bootstraps_in_containers_and_leaves_none(site: SocketSite) -> None:
    run = site.first
    assert run is not None
    assert run.status.value == "Verified", (run.reasons, run.evidence)
    current = site.current()
    assert site.api.digest(REPOSITORY, run.evidence["tag"]) == current.digest == run.evidence["digest"]
    assert len(current.packages) > 40
    assert site.host().read(str(run.before["key"])).diff_id == current.diff_ids[0]
    assert site.no_container_is_left()


def test_a_worker_that_died_and_commands_that_came_twice_made_one_base(site: SocketSite) -> None:
    assert site.first is not None
    assert len(site.built) == 1
    assert site.api.tags(REPOSITORY) == sorted(["current", site.first.evidence["tag"]])


def test_the_same_packages_are_neither_built_nor_pushed_again_over_tls(
    settled: SocketSite, client_secret: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "SOCKET", str(settled.engine.socket))  # this engine's own is not in /var/run
    reach = Tcp(via="tcp", address=f"127.0.0.1:{settled.engine.port}", secret=TLS_SECRET)
    settled.inventory(reach.model_dump())
    run, _ = settled.sweep()
    assert (run.status.value, run.reasons[0].text) == ("Skipped", "no package changed since the current base")
    # Who commands it all the same is told that it is there.
    assert settled.first is not None
    key = str(settled.first.before["key"])
    host = open_build_host(Host(uid="h", name="build-1", reach=reach), documents=app.DOCUMENTS, builder=BUILDER)
    before = imported(settled.engine, 0)
    host.build(key, "1f0c", settled.recipe)
    assert host.read(key).diff_id
    assert imported(settled.engine, 0) == before


def test_without_a_builder_the_host_is_left_alone(settled: SocketSite) -> None:
    settled.allow()
    run, _ = settled.sweep()
    why = "host/build-1 is reached by unix: the settings must name a `builder` image for a bootstrap there"
    assert (run.status.value, run.reasons[0].code, run.reasons[0].text) == ("Refused", "invalid_settings", why)


def test_a_builder_that_is_not_there_is_named(settled: SocketSite) -> None:
    settled.allow(builder="builders/none:1")
    run, _ = settled.sweep()
    assert run.status.value == "Failed"
    assert "build-1: the builder builders/none:1 is not there" in run.reasons[0].text


def test_a_builder_that_is_not_there_is_pulled_by_its_digest(settled: SocketSite) -> None:
    engine, name = settled.engine, f"{settled.registry.host}/builders/empty"
    engine.image(f"{name}:1", content=b"no shell")
    engine.docker("push", "--quiet", f"{name}:1")
    digest = f"{name}@{settled.api.digest('builders/empty', '1')}"
    engine.docker("image", "rm", f"{name}:1")
    settled.allow(builder=digest)
    run, _ = settled.sweep()
    assert run.status.value == "Failed"
    assert "executable file not found" in run.reasons[0].text
    assert engine.docker("image", "inspect", "--format", "{{len .RepoDigests}}", digest) == "1"
    assert settled.no_container_is_left()

    settled.allow(builder=f"{name}@sha256:{'0' * 64}")
    run, _ = settled.sweep()
    assert run.status.value == "Failed"
    assert "build-1: the builder cannot be pulled" in run.reasons[0].text


# -- what a container is given, and how it ends ---------------------------------------------------------------------


@pytest.fixture
def scripts(site: SocketSite, tmp_path: Path) -> Callable[..., BuilderContainer]:
    """The engine with one document, `TryIt`: a script of a test, which takes at most so many seconds."""

    def made(*script: str, seconds: int = 20, observing: bool = False) -> BuilderContainer:
        inputs = {"runCommand": [*script], "timeoutSeconds": str(seconds)}
        step = {"action": "aws:runShellScript", "name": "try", "inputs": inputs}
        (tmp_path / "try_it.json").write_text(json.dumps({"schemaVersion": "2.2", "mainSteps": [step]}))
        host = Host(uid="h", name="build-1", reach=Unix(via="unix", path=str(site.engine.socket)))
        return open_builder(host, BUILDER, tmp_path, mark=MARK, observing=observing, credentials=dict)

    return made


def test_a_container_gets_what_its_script_needs_and_no_more(scripts: Callable[..., BuilderContainer]) -> None:
    host = scripts(
        "docker version >/dev/null 2>&1 && echo engine",
        'touch "$PAYDOWN_BASES/tried" 2>/dev/null && rm "$PAYDOWN_BASES/tried" && echo writes',
        "mount -t tmpfs tmpfs /var/tmp 2>/dev/null && echo mounts",
        'id -u; echo "$HOME"',
    )
    assert [host.run("TryIt", {}, needs).split() for needs in Needs] == [
        ["writes", "0", "/root"],
        ["engine", "writes", "0", "/root"],
        ["engine", "writes", "mounts", "0", "/root"],
    ]


def test_while_observing_scripts_may_only_look(scripts: Callable[..., BuilderContainer]) -> None:
    host = scripts("echo seen", observing=True)
    assert host.run("TryIt", {}) == "seen\n"
    with pytest.raises(PermanentError, match="build-1: TryIt is not run while observing"):
        host.start("TryIt", {})


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (10, PermanentError, "build-1: paydown-builder:1: what it lacks"),
        (11, RetryableError, "the Docker engine does not answer in its containers: what it lacks"),
        (12, PermanentError, "build-1: paydown-builder:1: what it lacks"),
        (13, RetryableError, "TryIt ended with 13: what it lacks"),
    ],
)
def test_how_a_script_fails_is_told_waited_for_or_not(
    scripts: Callable[..., BuilderContainer],
    code: int,
    kind: type[Exception],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "START_SECONDS", 60.0)
    host = scripts("echo nothing", "echo what it lacks >&2", f"exit {code}")
    for run in (host.run, host.start):
        with pytest.raises(kind, match=said):
            run("TryIt", {})


def test_a_script_that_takes_too_long_is_killed_and_its_container_goes(
    site: SocketSite, scripts: Callable[..., BuilderContainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "COMMAND_SECONDS", 1.0)
    with pytest.raises(RetryableError, match="build-1: TryIt is not done after 1 s"):
        scripts("sleep 60").run("TryIt", {})
    assert site.no_container_is_left()


def test_what_nobody_waits_for_ends_by_itself_when_its_time_is_up(
    site: SocketSite, scripts: Callable[..., BuilderContainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "START_SECONDS", 0.2)
    scripts("sleep 60", seconds=10).start("TryIt", {})
    assert site.engine.containers()
    assert site.no_container_is_left()


def test_a_script_cannot_write_without_end(
    site: SocketSite, scripts: Callable[..., BuilderContainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "OUTPUT_MOST", 100_000)
    with pytest.raises(PermanentError, match="build-1: a script wrote more than 100000 bytes"):
        scripts("yes").run("TryIt", {})
    assert site.no_container_is_left()
    assert scripts("yes nothing | head -c 9000000 >&2", "echo end").run("TryIt", {}) == "end\n"


def test_what_a_dead_worker_left_unstarted_goes_with_the_next_command(site: SocketSite) -> None:
    left = {}
    for mark in (MARK, "paydown run of another"):
        left[mark] = site.engine.api.create_container(BUILDER, ["true"], labels={LABEL: mark})["Id"]
    site.host().read("0" * 32)
    assert left[MARK] not in site.engine.containers()
    assert left["paydown run of another"] in site.engine.containers()
    site.engine.api.remove_container(left["paydown run of another"])


def test_a_candidate_is_forgotten(site: SocketSite) -> None:
    assert site.first is not None
    key, host = str(site.first.before["key"]), site.host()
    assert host.forget(key)
    assert host.read(key).diff_id == ""
    assert candidate_name(key).partition(":")[2] not in site.engine.docker("image", "ls")
    assert site.no_container_is_left()
