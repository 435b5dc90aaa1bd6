"""Containers, volumes, tagged images and build cache on a real engine, over each of the ways to reach a host."""

from __future__ import annotations

import os
import time

import pytest

from paydown.clients.docker import DockerHost, Fate, Kind, Leftover, Removal, open_host
from paydown.errors import PermanentError
from paydown.inventory import Host
from tests.real.docker_engine import Engine

CHAIN = "FROM scratch\nCOPY big /big\nCOPY small /small\n"


@pytest.fixture
def opened(docker_host: Host) -> DockerHost:
    return open_host(docker_host, observing=False)


def listed(host: DockerHost, kind: Kind) -> dict[str, Leftover]:
    return {one.id: one for one in host.list_leftovers().leftovers if one.kind is kind}


def remove(host: DockerHost, *leftovers: Leftover) -> list[Removal]:
    return host.remove_leftovers([one.key for one in leftovers])


def test_only_a_container_that_ended_for_good_may_go(
    engine: Engine, opened: DockerHost, sleeping_program: bytes
) -> None:
    image = engine.image("app:1", pause=sleeping_program)
    ended = engine.ended(image, "--label", "team=a")
    always = engine.ended(image, "--restart", "unless-stopped")
    running = engine.container(image, start=True)
    created = engine.container(image)
    found = listed(opened, Kind.CONTAINER)
    assert {id: one.held for id, one in found.items()} == {
        ended: "",
        always: "its restart policy is unless-stopped",
        running: "it is running",
        created: "it is created",
    }
    assert found[ended].labels == {"team": "a"}
    removals = remove(opened, *(found[id] for id in (ended, always, running, created)))
    assert [one.fate for one in removals] == [Fate.REMOVED, Fate.USED, Fate.USED, Fate.USED]
    assert engine.containers() == {always, running, created}
    assert [one.fate for one in remove(opened, found[ended])] == [Fate.ABSENT]


def test_a_container_that_ran_again_since_is_kept(engine: Engine, opened: DockerHost, sleeping_program: bytes) -> None:
    container = engine.ended(engine.image("app:1", pause=sleeping_program))
    before = listed(opened, Kind.CONTAINER)[container]
    engine.docker("start", container)
    engine.docker("kill", container)
    engine.docker("wait", container)
    (removal,) = remove(opened, before)
    assert removal.fate is Fate.CHANGED
    assert container in engine.containers()


def test_a_volume_goes_only_while_no_container_has_it(
    engine: Engine, opened: DockerHost, sleeping_program: bytes
) -> None:
    image = engine.image("app:1", pause=sleeping_program)
    engine.docker("volume", "create", "--label", "team=a", "free")
    engine.docker("volume", "create", "taken")
    content = engine.root / "volumes/free/_data/content"
    content.write_bytes(os.urandom(40_000))
    engine.docker("create", "--volume", "taken:/data", image, "/pause")
    found = listed(opened, Kind.VOLUME)
    assert {id: one.held for id, one in found.items()} == {"free": "", "taken": "a container has it"}
    assert found["free"].labels == {"team": "a"}
    assert found["free"].size == pytest.approx(40_000, rel=0.3)
    removals = remove(opened, found["free"], found["taken"])
    assert [one.fate for one in removals] == [Fate.REMOVED, Fate.USED]
    assert engine.docker("volume", "ls", "--quiet").split() == ["taken"]
    assert not content.exists()


def test_a_volume_that_was_made_anew_is_kept(engine: Engine, opened: DockerHost) -> None:
    engine.docker("volume", "create", "data")
    before = listed(opened, Kind.VOLUME)["data"]
    engine.docker("volume", "rm", "data")
    time.sleep(1.1)  # the engine tells when it was made in seconds
    engine.docker("volume", "create", "data")
    assert [one.fate for one in remove(opened, before)] == [Fate.CHANGED]
    assert engine.docker("volume", "ls", "--quiet") == "data"


def test_a_tagged_image_goes_with_its_names_unless_it_is_used(engine: Engine, opened: DockerHost) -> None:
    old = engine.image("app:1", content=os.urandom(5000))
    engine.docker("tag", old, "app:stable")
    used = engine.image("app:2", content=b"used")
    engine.container(used)
    base = engine.build("base:1", "FROM scratch\nCOPY a /a\n", a=b"a")
    child = engine.build("child:1", "FROM base:1\nCOPY b /b\n", b=b"b")
    found = listed(opened, Kind.IMAGE)
    assert {id: one.held for id, one in found.items()} == {
        old: "",
        used: "a container uses it",
        base: "an image is built upon it",
        child: "",
    }
    assert (found[old].state, found[old].size, found[old].pushed) == ("app:1+app:stable", 5000, False)
    removals = remove(opened, found[old], found[used], found[base])
    assert [one.fate for one in removals] == [Fate.REMOVED, Fate.USED, Fate.USED]
    assert (removals[0].freed, removals[0].exact, removals[0].layers) == (5000, True, 1)
    left = engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert set(left) == {"child:1", "base:1", "app:2"}


def test_an_image_whose_names_changed_is_kept_with_them(engine: Engine, opened: DockerHost) -> None:
    image = engine.image("app:1", content=b"a")
    before = listed(opened, Kind.IMAGE)[image]
    engine.docker("tag", image, "app:rescued")
    assert [one.fate for one in remove(opened, before)] == [Fate.CHANGED]
    assert listed(opened, Kind.IMAGE)[image].names == ("app:1", "app:rescued")


def test_cache_that_no_image_has_goes_from_its_top_down(engine: Engine, opened: DockerHost) -> None:
    image = engine.build("app:1", CHAIN, buildkit=True, big=os.urandom(300_000), small=b"s")
    shared = {one.id for one in listed(opened, Kind.CACHE).values() if one.held == "an image has it"}
    assert len(shared) == 2
    engine.docker("image", "rm", image)
    found = listed(opened, Kind.CACHE)
    assert all(not one.held for one in found.values())
    (top,) = (one for one in found.values() if one.below)
    below = found[top.below[0]]
    before = engine.layer_bytes()
    (refused,) = remove(opened, below)
    first, second = remove(opened, top, below)
    assert (refused.fate, refused.why) == (Fate.USED, "another record stands on it")
    assert (first.fate, second.fate) == (Fate.REMOVED, Fate.REMOVED)
    assert first.freed + second.freed == pytest.approx(before - engine.layer_bytes(), rel=0.01)
    assert set(listed(opened, Kind.CACHE)) == set(found) - {top.id, below.id}
    assert [one.fate for one in remove(opened, top)] == [Fate.ABSENT]


def test_cache_that_a_build_has_used_since_is_kept(engine: Engine, opened: DockerHost) -> None:
    engine.docker("image", "rm", engine.build("app:1", CHAIN, buildkit=True, big=b"b" * 5000, small=b"s"))
    (top,) = (one for one in listed(opened, Kind.CACHE).values() if one.below)
    engine.docker("image", "rm", engine.build("app:1", CHAIN, buildkit=True, big=b"b" * 5000, small=b"s"))
    (removal,) = remove(opened, top)
    assert removal.fate is Fate.CHANGED
    assert top.id in listed(opened, Kind.CACHE)


def test_a_host_of_the_classic_builder_has_no_cache(engine: Engine, opened: DockerHost) -> None:
    engine.build("app:1", CHAIN, big=b"b", small=b"s")
    assert listed(opened, Kind.CACHE) == {}


def test_the_disk_is_told_where_it_can_be_seen(engine: Engine, docker_host: Host, opened: DockerHost) -> None:
    disk = opened.read_disk()
    if docker_host.reach.via == "tcp":
        assert disk is None
        return
    seen = os.statvfs(engine.root)
    assert disk is not None
    assert disk.free == pytest.approx(seen.f_bavail * seen.f_frsize, rel=0.05)
    assert disk.total == pytest.approx(seen.f_blocks * seen.f_frsize, rel=0.01)
    assert opened.list_leftovers().disk is not None


def test_unique_bytes_are_those_that_no_other_image_has(engine: Engine, opened: DockerHost) -> None:
    shared = os.urandom(100_000)
    ids = [engine.build("app:1", CHAIN, buildkit=True, big=shared, small=bytes([number]) * 3000) for number in (1, 2)]
    unique = opened.list_leftovers().unique
    assert {id: unique[id] for id in ids} == dict.fromkeys(ids, 3000)


def test_observing_removes_none_of_it(engine: Engine, docker_host: Host) -> None:
    engine.docker("volume", "create", "data")
    watched = open_host(docker_host, observing=True)
    (volume,) = listed(watched, Kind.VOLUME).values()
    with pytest.raises(PermanentError, match="nothing is removed while observing"):
        watched.remove_leftovers([volume.key])
    assert engine.docker("volume", "ls", "--quiet") == "data"
