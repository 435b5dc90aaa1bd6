"""Builds that take longer than a function may, over SSM and over a socket, on a real engine and a guarded registry."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.errors import NotFound

from functions.rebuild_stale_images.actions import FinishBuild, StartBuild
from functions.rebuild_stale_images.app import RebuildStaleImages
from functions.rebuild_stale_images.jobs import Job
from paydown.clients import aws
from paydown.clients.docker_hosts.builds import BuildHost
from paydown.clients.docker_hosts.rebuilds import Recipe
from paydown.inventory import Host, Registry
from paydown.ledger import Ledger, Outcome
from paydown.plan import Done, Moot, NotYet
from tests.real.background_builds import (
    PASSWORDS,
    WAIT,
    BackgroundWorld,
    Site,
    background,
    behind_the_agent,
    site,
)
from tests.real.docker_engine import builder
from tests.real.rebuilding import sources
from tests.real.shrinking import compiled
from tests.real.ssm_standin import SsmStandIn
from tests.servers import need_program
from tests.unit.ledgers import ledger_in_moto

__all__ = ["background", "compiled", "site", "sources"]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with ledger_in_moto() as made:
        yield made


@pytest.fixture(params=["ssm", "socket"])
def world(
    request: pytest.FixtureRequest, over_ssm: Host, background: BackgroundWorld, site: Site, ssm_agent: SsmStandIn
) -> BackgroundWorld:
    """Reached in one way or the other."""
    if request.param == "ssm":
        behind_the_agent(background, site, ssm_agent)
    return background


@pytest.fixture
def over_agent(
    over_ssm: Host, background: BackgroundWorld, site: Site, ssm_agent: SsmStandIn, monkeypatch: pytest.MonkeyPatch
) -> BackgroundWorld:
    """Reached over SSM."""
    monkeypatch.delenv("PAYDOWN_OUTPUT_BUCKET")  # as this function has none
    behind_the_agent(background, site, ssm_agent)
    return background


class Begun:
    """A run's build of one image, step by step."""

    def __init__(self, world: BackgroundWorld, image: str) -> None:
        world.run("sweep")
        world.push_base()
        run = world.run("image_pushed", observing=True)
        start, finish = world.actions(run, image)
        assert isinstance(start, StartBuild)
        assert isinstance(finish, FinishBuild)
        self.world, self.start, self.finish = world, start, finish
        self.toil: RebuildStaleImages = world.toil(run)
        self.target: Registry = self.toil.inventory.registries[0]
        job = self.toil._job(self.target, finish.object)
        assert isinstance(job, Job)
        self.mark = job.mark

    def begin(self) -> object:
        return self.toil.apply(self.start, self.target)

    def end(self) -> object:
        return self.toil.apply(self.finish, self.target)

    def ended(self) -> object:
        """What it comes to."""
        deadline = time.monotonic() + 90
        while isinstance(found := self.end(), NotYet):
            assert time.monotonic() < deadline, found
            time.sleep(0.3)
        return found


def test_a_build_may_take_longer_than_a_function(
    world: BackgroundWorld, compiled: Callable[..., bytes], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BuildHost.build.__kwdefaults__, "seconds", 1.0)  # what the foreground may take
    world.run("sweep")
    world.slowly("app", compiled(WAIT, "-static"), 2)
    old = world.digests()
    world.push_base()
    if world.by.get("builder"):
        background, world.by = world.by, {"via": "host", "host": "build-1"}
        run = world.run("image_pushed")
        assert "was not done within 1 s, and was stopped: with a `builder` image it may take longer" in str(run.reasons)
        assert world.digests() == old
        world.by = background
    run = world.run("image_pushed")
    assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
    base, made, web = world.image("base"), world.image("app"), world.image("web")
    assert made.layers[0][: len(base.layers[0])] == base.layers[0]
    assert web.layers[0][: len(made.layers[0])] == made.layers[0]
    assert run.evidence["rebuilt"] == {made.name: made.digest, web.name: web.digest}
    assert len(world.marked()) == 2
    assert not world.candidates()
    assert not list(site.kept.glob("*.source")), "what was cloned goes with the build"
    assert not any(word in repr(run) for word in PASSWORDS.values())
    again = world.run("image_pushed")
    assert (again.status, again.reasons[0].code) == (Outcome.SKIPPED, "nothing_to_do")


def test_a_build_that_was_killed_is_told_with_the_end_of_its_log_and_not_begun_again(
    world: BackgroundWorld, compiled: Callable[..., bytes], site: Site
) -> None:
    world.slowly("app", compiled(WAIT, "-static"), 60)
    begun, old = Begun(world, "app"), world.digests()
    for _ in range(2):  # its worker died before it could write down that it began
        assert isinstance(begun.begin(), Done)
    world.until(begun.mark, lambda seen: any("RUN" in line for line in seen.log))
    assert isinstance(begun.end(), NotYet)
    secret_free(world, site)
    world.kill(begun.mark)
    world.until(begun.mark, lambda seen: not seen.running)
    ended = begun.end()
    assert isinstance(ended, Moot)
    assert ended.why.startswith("the build failed: build-1: it was killed, or its 2 minutes were over: ")
    assert 'RUN ["/wait", "60"]' in ended.why
    begun.begin()
    world.until(begun.mark, lambda seen: seen.killed)  # whoever begins holds the lock for a moment
    assert (world.digests(), world.marked(), world.candidates()) == (old, [], [])
    log = (site.kept / f"{begun.mark}.log").read_text()
    assert log.count("Step 1/") == 1


def test_a_build_ends_on_the_engine_too_when_its_time_is_up(
    world: BackgroundWorld, compiled: Callable[..., bytes]
) -> None:
    world.slowly("app", compiled(WAIT, "-static"), 60)
    mark = secrets.token_hex(20)
    login = {world.registry.host: world.login} if world.by.get("builder") else None
    world.host().start(mark, Recipe(f"{world.works['app'].url}#main", seconds=3, free=20), login)
    world.until(mark, lambda seen: seen.killed)
    deadline = time.monotonic() + 60
    while world.engine.containers():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not world.candidates()


def secret_free(world: BackgroundWorld, site: Site) -> None:
    """Nothing that the engine or the host shows of a build has a password in it."""
    shown = []
    for one in world.engine.containers():
        with suppress(NotFound):  # a look at the build ended, and its container goes by itself
            shown.append(world.engine.api.inspect_container(one))
    assert shown
    kept = [path.read_bytes().decode(errors="replace") for path in site.kept.rglob("*") if path.is_file()]
    text = json.dumps(shown) + "".join(kept)
    text += subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, check=True, text=True).stdout
    assert not any(word in text for word in PASSWORDS.values())


def test_a_host_builds_as_its_docker_command_does(
    over_agent: BackgroundWorld, site: Site, ssm_agent: SsmStandIn
) -> None:
    programs = Path(builder()).parent  # the other tests' builder is the classic one
    behind_the_agent(over_agent, site, ssm_agent, DOCKER_BUILDKIT="1", PATH=f"{programs}:/usr/bin:/bin:/usr/sbin")
    begun = Begun(over_agent, "app")
    assert isinstance(begun.begin(), Done)
    seen = over_agent.until(begun.mark, lambda seen: seen.begun and not seen.running)
    assert seen.image, seen
    assert any(line.startswith("#") for line in seen.log)
    done = begun.ended()
    assert isinstance(done, Done)
    assert "fault" not in done.evidence


def test_what_others_pushed_meanwhile_stays(over_agent: BackgroundWorld) -> None:
    begun = Begun(over_agent, "app")
    assert isinstance(begun.begin(), Done)
    image = over_agent.until(begun.mark, lambda seen: seen.image and not seen.running).image
    newer = over_agent.push("app", b"version 2")
    assert begun.end() == Moot(f"it is {newer} meanwhile: what others pushed is not replaced by an older build")
    assert over_agent.image("app").digest == newer
    assert over_agent.engine.api.inspect_image(image)["RepoTags"] == [f"paydown-rebuild:{begun.mark}"]


def test_a_push_that_is_refused_is_told_and_leaves_the_name_where_it_was(
    background: BackgroundWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Begun(background, "app")
    before = background.engine.api.inspect_image(begun.finish.object)["Id"]
    assert isinstance(begun.begin(), Done)
    background.until(begun.mark, lambda seen: seen.image and not seen.running)
    name = background.secrets["operator_secret"]
    wrong = {"username": "operator", "password": "wrong-horse-77"}
    monkeypatch.setitem(aws._secrets, name, (float("inf"), wrong))
    ended = begun.ended()
    assert isinstance(ended, Moot)
    assert "build-1: the push failed: " in ended.why
    assert "wrong-horse" not in ended.why
    assert background.engine.api.inspect_image(begun.finish.object)["Id"] == before
    assert not background.candidates()


@pytest.mark.parametrize(("programs", "missing"), [((), "the docker command"), (("docker",), "flock")])
def test_what_a_host_lacks_is_told_and_not_waited_for(
    over_agent: BackgroundWorld,
    site: Site,
    ssm_agent: SsmStandIn,
    tmp_path: Path,
    programs: tuple[str, ...],
    missing: str,
) -> None:
    for program in ("sh", *programs):
        (tmp_path / program).symlink_to(need_program(program, program))
    begun = Begun(over_agent, "app")
    behind_the_agent(over_agent, site, ssm_agent, PATH=str(tmp_path))
    assert isinstance(begun.begin(), Done)  # nobody waits for it
    ended = begun.end()
    assert isinstance(ended, Moot)
    assert f"{missing} is not installed" in ended.why


def test_a_disk_that_is_too_full_is_not_filled(over_agent: BackgroundWorld) -> None:
    over_agent.by = {**over_agent.by, "free_mib": 900_000}
    begun = Begun(over_agent, "app")
    assert isinstance(begun.begin(), Done)
    ended = begun.ended()
    assert isinstance(ended, Moot)
    assert "fewer than 900000 MiB are free where the engine has its images" in ended.why
    assert not over_agent.marked()


def test_who_finds_no_room_is_begun_when_there_is_some(over_agent: BackgroundWorld, site: Site) -> None:
    begun = Begun(over_agent, "app")
    site.kept.mkdir(parents=True, exist_ok=True)
    held = [subprocess.Popen(["flock", str(site.kept / f"room.{one}"), "cat"], stdin=subprocess.PIPE) for one in (1, 2)]
    try:
        for one in (1, 2):
            taken = ["flock", "--nonblock", str(site.kept / f"room.{one}"), "true"]
            while subprocess.run(taken, check=False).returncode == 0:
                pass
        assert isinstance(begun.begin(), Done)
        over_agent.until(begun.mark, lambda seen: not seen.running)
        assert isinstance(begun.end(), NotYet)
        assert not over_agent.progress(begun.mark).begun
    finally:
        for one in held:
            one.communicate()
    assert isinstance(begun.ended(), Done)
