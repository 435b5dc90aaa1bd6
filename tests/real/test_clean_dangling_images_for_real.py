"""The toil type from event to verification on a real engine, over each of the ways to reach a host."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paydown.inventory import Host
from paydown.plan import Done, Moot, NotYet, Unverified, Verified
from tests.real.cleaning import ANY_DISK, PRESSURE, PUSH, applied, cleaned, cleaner, drafted, recorded
from tests.real.docker_engine import Engine

MANY = 120
"""Images: more than two batches."""


def test_used_young_and_tagged_images_survive_and_the_rest_goes(
    engine: Engine, docker_host: Host, sleeping_program: bytes
) -> None:
    running = engine.image("app:1", pause=sleeping_program)
    created = engine.image("app:1", content=b"created")
    old = engine.rebuilt("app:1", 3)
    engine.container(running, start=True)
    engine.container(created)
    other = engine.image("other:1", content=b"tagged, and as old")
    time.sleep(12)
    young = engine.rebuilt("app:1", 1)
    before = engine.layer_bytes()
    results, seen = cleaned(cleaner(docker_host, min_age=12), docker_host)
    assert [type(result) for result in results] == [Done] * 4, "three, and the one that the last rebuild left"
    tagged = engine.docker("image", "inspect", "--format", "{{.Id}}", "app:1")
    assert engine.images() == {running, created, other, tagged, *young}
    assert not set(old) & engine.images()
    assert isinstance(seen, Verified)
    assert seen.saved == {"bytes": before - engine.layer_bytes(), "images": 4}
    assert seen.evidence["storage_driver"] == engine.driver_name
    assert seen.evidence["data_root"] == str(engine.root)
    assert len(seen.evidence["layer_directories"]) == seen.evidence["layers"] == 4
    assert seen.evidence["dangling_left"] == 3


def test_while_all_are_young_it_waits_until_they_are_old(engine: Engine, docker_host: Host) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    waiting = cleaner(docker_host, PUSH, min_age=60).plan(docker_host)
    assert isinstance(waiting, NotYet)
    assert timedelta() < waiting.until - datetime.now(UTC) <= timedelta(seconds=60)
    assert image in engine.images()
    old = waiting.until - timedelta(seconds=60 - 4)  # for those who wait for 4 s
    time.sleep(max(0.0, (old - datetime.now(UTC)).total_seconds()))
    results, seen = cleaned(cleaner(docker_host, PUSH, min_age=4), docker_host)
    assert [type(result) for result in results] == [Done]
    assert isinstance(seen, Verified)
    assert image not in engine.images()


def test_disk_pressure_waits_for_the_oldest_only(engine: Engine, docker_host: Host) -> None:
    made = []
    for _ in range(2):
        made.append(datetime.now(UTC))
        engine.rebuilt("app:1", 1)
        made.append(datetime.now(UTC))
        time.sleep(2)
    for event, first, last in ((PRESSURE, *made[:2]), (PUSH, *made[2:])):
        asked = datetime.now(UTC)
        waiting = cleaner(docker_host, event, min_age=600, **ANY_DISK).plan(docker_host)
        assert isinstance(waiting, NotYet)
        # It counts from the host's clock to ours: the time of the answer lies between.
        late = datetime.now(UTC) - asked
        assert first <= waiting.until - timedelta(seconds=600) <= last + late, event


@pytest.mark.parametrize("buildkit", [False, True], ids=["classic", "buildkit"])
def test_a_tag_that_moves_there_and_back_leaves_the_other_image_to_clean(
    engine: Engine, docker_host: Host, buildkit: bool
) -> None:
    text = "FROM scratch\nCOPY content /content\n"
    first = engine.build("demo/app:1", text, buildkit, content=b"A")
    second = engine.build("demo/app:1", text, buildkit, content=b"B")
    assert engine.build("demo/app:1", text, buildkit, content=b"A") == first
    assert isinstance(cleaner(docker_host, PUSH, min_age=600).plan(docker_host), NotYet)
    time.sleep(2)
    results, seen = cleaned(cleaner(docker_host, PUSH, min_age=2), docker_host)
    assert [type(result) for result in results] == [Done]
    assert isinstance(seen, Verified)
    assert first in engine.images()
    assert second not in engine.images()


def test_what_was_planned_is_looked_at_again(engine: Engine, docker_host: Host) -> None:
    tagged, used, gone, plain = engine.rebuilt("app:1", 4)
    toil = cleaner(docker_host, min_age=0)
    draft = drafted(toil, docker_host)
    actions: Any = draft.stages[0]
    assert [action.object for action in actions] == [tagged, used, gone, plain], "oldest first"
    engine.docker("tag", tagged, "rescued:1")
    engine.container(used)
    engine.docker("image", "rm", gone)
    results = applied(toil, docker_host, actions)
    assert [type(result) for result in results] == [Moot, Moot, Moot, Done]
    assert {tagged, used} <= engine.images()
    seen = toil.verify(docker_host, recorded(draft, actions, results))
    assert isinstance(seen, Verified)
    assert (seen.saved["images"], seen.evidence["kept"]) == (1, 3)


def test_a_repeat_after_a_lost_answer_is_moot(engine: Engine, docker_host: Host) -> None:
    engine.rebuilt("app:1", 2)
    toil = cleaner(docker_host, min_age=0)
    actions: Any = drafted(toil, docker_host).stages[0]
    assert [type(result) for result in applied(toil, docker_host, actions)] == [Done, Done]
    assert [type(result) for result in applied(toil, docker_host, actions)] == [Moot, Moot]
    assert drafted(toil, docker_host).stages == ()


def test_verify_is_not_fooled(engine: Engine, docker_host: Host) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    toil = cleaner(docker_host, min_age=0)
    draft = drafted(toil, docker_host)
    claim = recorded(draft, draft.stages[0], [Done({"bytes": 1000, "exact": True})])  # type: ignore[arg-type]  # its own
    seen = toil.verify(docker_host, claim)
    assert isinstance(seen, Unverified)
    assert image in seen.why


def test_pulled_images_are_left_alone_unless_the_policy_says_otherwise(
    engine: Engine, docker_host: Host, plain_registry: Any
) -> None:
    name = f"{plain_registry.host}/app:1"
    engine.image(name, content=os.urandom(100))
    engine.docker("push", "--quiet", name)
    digest = engine.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name)
    engine.clear()
    engine.docker("pull", "--quiet", digest)
    draft = drafted(cleaner(docker_host, min_age=0), docker_host)
    assert draft.stages == ()
    assert draft.before["pulled"] == 1
    results, _ = cleaned(cleaner(docker_host, min_age=0, pulled=True), docker_host)
    assert [type(result) for result in results] == [Done]
    assert engine.images() == set()


def test_the_limit_leaves_the_youngest(engine: Engine, docker_host: Host) -> None:
    ids = engine.rebuilt("app:1", 5)
    draft = drafted(cleaner(docker_host, min_age=0, limit=2), docker_host)
    assert [action.object for action in draft.stages[0]] == ids[:2]
    assert draft.before["left"] == 3


@pytest.mark.slow
def test_more_images_than_two_batches(engine: Engine, docker_host: Host) -> None:
    ids = engine.rebuilt("app:1", MANY)
    results, seen = cleaned(cleaner(docker_host, min_age=0), docker_host)
    assert [type(result) for result in results] == [Done] * MANY
    assert isinstance(seen, Verified)
    assert seen.saved == {"bytes": MANY * 1000, "images": MANY}
    assert not set(ids) & engine.images()
