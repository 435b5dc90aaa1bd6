"""Listing and removing images on a real engine, over each of the ways to reach a host."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from local.registry import Registry
from paydown.clients.docker import DockerHost, Fate, Removal, open_host
from paydown.errors import PermanentError
from paydown.inventory import Host
from tests.real.docker_engine import Engine

COPY_TWO = "FROM scratch\nCOPY big /big\nCOPY small /small\n"
NOBODY = "sha256:" + "0" * 64
MANY = 120
"""Images: more than two calls remove."""


@pytest.fixture
def opened(docker_host: Host) -> DockerHost:
    return open_host(docker_host, observing=False)


def remove(host: DockerHost, *ids: str) -> list[Removal]:
    return host.remove_images(ids)


def test_an_empty_engine_has_nothing_to_clean(engine: Engine, opened: DockerHost) -> None:
    listing = opened.list_images()
    assert (listing.dangling, listing.used, listing.present) == ((), frozenset(), frozenset())
    assert listing.root == str(engine.root)
    assert listing.driver == engine.driver_name


def test_the_list_tells_what_dangles_what_is_used_and_what_is_there(engine: Engine, opened: DockerHost) -> None:
    first, second = engine.rebuilt("app:1", 2)
    engine.container(first)
    listing = opened.list_images()
    assert {image.id for image in listing.dangling} == {first, second}
    assert listing.used == {first}
    assert listing.present == engine.images()
    assert all(image.size == 1000 and not image.digests for image in listing.dangling)
    assert all(timedelta() <= listing.clock - image.since < timedelta(seconds=30) for image in listing.dangling)


def test_free_space_is_told_where_it_can_be_seen(docker_host: Host, opened: DockerHost, engine: Engine) -> None:
    free = opened.list_images().free
    if docker_host.reach.via == "tcp":
        assert free is None
        return
    seen = os.statvfs(engine.root)
    assert free == pytest.approx(seen.f_bavail * seen.f_frsize, rel=0.05)


def test_a_tag_on_an_old_image_makes_it_young(engine: Engine, opened: DockerHost) -> None:
    old = engine.image("app:1", content=b"old")
    engine.docker("tag", old, "app:2")
    engine.image("app:1", content=b"new")
    engine.image("app:2", content=b"newer")
    (image,) = opened.list_images().dangling
    assert image.id == old
    assert image.tagged is not None
    assert image.since == image.tagged > image.created


@pytest.mark.parametrize("buildkit", [False, True], ids=["classic", "buildkit"])
def test_a_cached_rebuild_moves_a_tag_back_to_an_old_image_and_makes_it_young(
    engine: Engine, opened: DockerHost, buildkit: bool
) -> None:
    first = engine.build("app:1", COPY_TWO, buildkit, big=b"1", small=b"1")
    second = engine.build("app:1", COPY_TWO, buildkit, big=b"2", small=b"2")
    assert engine.build("app:1", COPY_TWO, buildkit, big=b"1", small=b"1") == first
    (dangling,) = opened.list_images().dangling
    assert dangling.id == second
    engine.image("app:1", content=b"3")
    again = next(image for image in opened.list_images().dangling if image.id == first)
    assert again.since > dangling.since
    assert again.created < dangling.created


def test_removing_says_what_the_disk_got_back(engine: Engine, opened: DockerHost) -> None:
    shared = os.urandom(200_000)
    first, second = (engine.build("app:1", COPY_TWO, big=shared, small=bytes([number]) * 1000) for number in range(2))
    engine.build("app:1", COPY_TWO, big=shared, small=b"last")
    before = engine.layer_bytes()
    (one,) = remove(opened, first)
    assert (one.fate, one.freed, one.exact, one.layers) == (Fate.REMOVED, 1000, True, 1)
    (two,) = remove(opened, second)
    assert (two.fate, two.freed, two.layers) == (Fate.REMOVED, 1000, 1)
    assert before - engine.layer_bytes() == one.freed + two.freed


def test_a_shared_layer_counts_once_with_the_last_image_that_has_it(engine: Engine, opened: DockerHost) -> None:
    shared = os.urandom(200_000)
    ids = [engine.build("app:1", COPY_TWO, big=shared, small=bytes([number]) * 1000) for number in range(3)]
    engine.docker("image", "rm", "--no-prune", "app:1")
    engine.image("app:1", content=b"other")
    before = engine.layer_bytes()
    removals = remove(opened, *ids[:2])
    assert [one.freed for one in removals] == [1000, 201_000]
    assert removals[1].parents == 1, "the intermediate image that only they were built upon"
    assert before - engine.layer_bytes() == 202_000
    assert len(engine.images()) == 1


def test_layer_directories_are_told_and_gone(engine: Engine, opened: DockerHost) -> None:
    image = engine.build("app:1", COPY_TWO, big=b"b" * 5000, small=b"s")
    engine.image("app:1", content=b"new")
    (removal,) = remove(opened, image)
    assert removal.layers == len(removal.directories) == 2
    for directory in removal.directories:
        assert directory.startswith(str(engine.root))
        assert not os.path.exists(directory)  # noqa: PTH110 -- it is text from elsewhere


def test_what_the_build_cache_holds_is_not_counted(engine: Engine, opened: DockerHost) -> None:
    image = engine.build("app:1", COPY_TWO, buildkit=True, big=b"b" * 50_000, small=b"s")
    engine.image("app:1", content=b"new")
    before = engine.layer_bytes()
    (removal,) = remove(opened, image)
    assert (removal.fate, removal.freed, removal.exact, removal.layers) == (Fate.REMOVED, 0, True, 0)
    assert engine.layer_bytes() == before


def test_empty_layers_do_not_confuse_the_count(engine: Engine, opened: DockerHost) -> None:
    text = 'FROM scratch\nCOPY big /big\nENV a=b\nWORKDIR /work\nLABEL c=d\nCOPY small /small\nCMD ["/x"]\n'
    image = engine.build("app:1", text, big=b"b" * 9000, small=b"1")
    engine.build("app:1", text, big=b"b" * 9000, small=b"22")
    before = engine.layer_bytes()
    (removal,) = remove(opened, image)
    assert (removal.freed, removal.exact) == (1, True)
    assert before - engine.layer_bytes() == 1


def test_an_image_of_a_container_is_kept_running_or_not(
    engine: Engine, opened: DockerHost, sleeping_program: bytes
) -> None:
    running = engine.image("app:1", pause=sleeping_program)
    created = engine.image("app:1", content=b"created")
    stopped = engine.image("app:1", pause=sleeping_program, other=b"")
    engine.image("app:1", content=b"new")
    engine.container(running, start=True)
    engine.container(created)
    engine.docker("container", "kill", engine.container(stopped, start=True))
    removals = remove(opened, running, created, stopped)
    assert [one.fate for one in removals] == [Fate.USED] * 3
    assert all("container" in one.why for one in removals)
    assert {running, created, stopped} <= engine.images()


def test_an_image_that_got_a_tag_is_kept_with_its_tag(engine: Engine, opened: DockerHost) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    engine.docker("tag", image, "rescued:1")
    (removal,) = remove(opened, image)
    assert (removal.fate, removal.freed) == (Fate.TAGGED, 0)
    assert engine.docker("image", "inspect", "--format", "{{index .RepoTags 0}}", image) == "rescued:1"


def test_removing_twice_finds_it_absent(engine: Engine, opened: DockerHost) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    assert [one.fate for one in remove(opened, image, NOBODY)] == [Fate.REMOVED, Fate.ABSENT]
    assert [one.fate for one in remove(opened, image, NOBODY)] == [Fate.ABSENT, Fate.ABSENT]


def test_two_workers_at_once_do_it_once(engine: Engine, docker_host: Host, opened: DockerHost) -> None:
    ids = engine.rebuilt("app:1", 12)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: opened.remove_images(ids), range(2)))
    fates = [{one.fate for one in pair} for pair in zip(*both, strict=True)]
    assert all(Fate.REMOVED in fate for fate in fates)
    assert {one.fate for one in opened.remove_images(ids)} == {Fate.ABSENT}, "whatever the other was told"
    assert sum(one.freed for removals in both for one in removals) <= 12 * 1000, "nothing is counted twice"
    assert not set(ids) & engine.images()


def test_a_parent_that_a_container_uses_survives_its_child(engine: Engine, opened: DockerHost) -> None:
    child = engine.build("app:1", COPY_TWO, big=b"b" * 5000, small=b"s")
    parent = engine.docker("image", "inspect", "--format", "{{.Parent}}", child)
    engine.container(parent)
    engine.image("app:1", content=b"new")
    (removal,) = remove(opened, child)
    assert (removal.fate, removal.freed, removal.parents) == (Fate.REMOVED, 1, 0)
    assert parent in engine.images()


def test_an_image_that_others_are_built_upon_is_kept(
    engine: Engine, opened: DockerHost, plain_registry: Registry
) -> None:
    base = pushed(engine, plain_registry, "base")
    engine.build("child:1", f"FROM {plain_registry.host}/base:1\nCOPY a /a\n", a=b"a")
    engine.image(f"{plain_registry.host}/base:1", content=b"new")
    assert not opened.list_images().dangling, "it has no tag, but a child"
    (removal,) = remove(opened, base)
    assert removal.fate is Fate.USED
    assert "child" in removal.why
    inspected = engine.docker("image", "inspect", "--format", "{{len .RepoDigests}}", base)
    assert inspected == "1", "its digest is left alone"


def pushed(engine: Engine, registry: Registry, repository: str, content: bytes = b"content") -> str:
    name = f"{registry.host}/{repository}:1"
    image = engine.image(name, content=content)
    engine.docker("push", "--quiet", name)
    return image


def test_an_overwritten_image_that_was_pushed_dangles_and_goes(
    engine: Engine, opened: DockerHost, plain_registry: Registry
) -> None:
    old = pushed(engine, plain_registry, "app", os.urandom(500))
    new = pushed(engine, plain_registry, "app", os.urandom(500))
    (image,) = opened.list_images().dangling
    assert (image.id, image.pulled, len(image.digests)) == (old, False, 1)
    assert [one.fate for one in remove(opened, old)] == [Fate.REMOVED]
    assert engine.images() == {new}


def test_one_that_was_pushed_to_two_repositories_goes_too(
    engine: Engine, opened: DockerHost, plain_registry: Registry
) -> None:
    image = pushed(engine, plain_registry, "app")
    other = f"{plain_registry.host}/other:1"
    engine.docker("tag", image, other)
    engine.docker("push", "--quiet", other)
    for tag in (f"{plain_registry.host}/app:1", other):
        engine.image(tag, content=b"new")
    container = engine.container(image)
    assert [one.fate for one in remove(opened, image)] == [Fate.USED]
    assert len(opened.list_images().dangling[0].digests) == 2
    engine.docker("container", "rm", container)
    (removal,) = remove(opened, image)
    assert (removal.fate, removal.freed) == (Fate.REMOVED, len(b"content"))
    assert image not in engine.images()


def test_one_that_was_pulled_by_digest_is_known_as_such(
    engine: Engine, opened: DockerHost, plain_registry: Registry
) -> None:
    pushed(engine, plain_registry, "app")
    digest = engine.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", f"{plain_registry.host}/app:1")
    engine.clear()
    engine.docker("pull", "--quiet", digest)
    (image,) = opened.list_images().dangling
    assert (image.pulled, image.tagged, image.digests) == (True, None, (digest,))


def test_observing_removes_nothing(engine: Engine, docker_host: Host) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    watched = open_host(docker_host, observing=True)
    assert [one.id for one in watched.list_images().dangling] == [image]
    with pytest.raises(PermanentError, match="nothing is removed while observing"):
        watched.remove_images([image])
    assert image in engine.images()


@pytest.mark.parametrize("docker_host", ["unix", "tcp"], indirect=True)  # over SSM the document has the limit
def test_what_is_left_when_time_is_up_is_said(
    engine: Engine, docker_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = engine.rebuilt("app:1", 2)
    monkeypatch.setattr("paydown.clients.docker_hosts.engine.REMOVE_SECONDS", -1.0)
    removals = open_host(docker_host, observing=False).remove_images(ids)
    assert [one.fate for one in removals] == [Fate.SKIPPED] * 2
    assert set(ids) <= engine.images()


@pytest.mark.slow
def test_more_images_than_two_calls_remove(engine: Engine, opened: DockerHost) -> None:
    ids = engine.rebuilt("app:1", MANY)
    assert {image.id for image in opened.list_images().dangling} == set(ids)
    freed, left = 0, list(ids)
    while left:
        removals = opened.remove_images(left[:50])
        assert [one.id for one in removals] == left[:50]
        assert {one.fate for one in removals} <= {Fate.REMOVED, Fate.SKIPPED}
        assert removals[0].fate is Fate.REMOVED
        freed += sum(one.freed for one in removals)
        left = [one.id for one in removals if one.fate is Fate.SKIPPED] + left[50:]
    assert freed == MANY * 1000
    assert len(engine.images()) == 1
