"""Everything that the policy may name, from event to verification on a real engine, over each way to reach a host."""

from __future__ import annotations

import os
from typing import Any

from paydown.inventory import Host
from paydown.plan import Done, Moot, Plan, Verified
from tests.real.cleaning import ANY_DISK, PRESSURE, applied, cleaned, cleaner, drafted, recorded
from tests.real.docker_engine import Engine

EVERYTHING = {
    "min_age": 0,
    "keep_newest": 1,
    "exited_containers_age": 0,
    "unused_volumes_age": 0,
    "build_cache_age": 0,
}


def test_all_of_it_goes_in_its_order_and_what_is_in_use_stays(
    engine: Engine, docker_host: Host, sleeping_program: bytes
) -> None:
    used = engine.image("tool:1", pause=sleeping_program)
    newest = engine.image("tool:2", content=b"2")
    old_container = engine.ended(used)
    engine.docker(
        "image", "rm", engine.build("app:1", "FROM scratch\nCOPY a /a\nCOPY b /b\n", True, a=b"a" * 9000, b=b"b")
    )
    dangling = engine.rebuilt("demo:1", 1)
    engine.docker("volume", "create", "data")
    toil = cleaner(docker_host, **EVERYTHING)

    results, seen = cleaned(toil, docker_host)
    assert {type(result) for result in results} == {Done}
    assert isinstance(seen, Verified), seen
    assert (seen.saved["images"], seen.saved["containers"]) == (1, 1)
    assert seen.saved["cache_records"] >= 2
    assert not set(dangling) & engine.images()
    assert used in engine.images(), "a stopped container had it when it was planned"
    assert old_container not in engine.containers()
    assert engine.docker("volume", "ls", "--quiet") == "data", "that waits for a person, and for a plan of its own"

    results, seen = cleaned(toil, docker_host)
    assert isinstance(seen, Verified), seen
    assert (seen.saved["images"], seen.saved["volumes"]) == (1, 1)
    assert newest in engine.images()
    assert used not in engine.images()
    assert engine.docker("volume", "ls", "--quiet") == ""
    assert drafted(toil, docker_host).stages == ()


def test_disk_pressure_takes_as_many_as_it_needs_and_stops_below_the_low_mark(
    engine: Engine, docker_host: Host, monkeypatch: Any
) -> None:
    ids = [engine.image("app:1", content=os.urandom(40_000)) for _ in range(5)][:-1]
    everything = drafted(cleaner(docker_host, PRESSURE, min_age=0, **ANY_DISK), docker_host)
    assert [action.object for stage in everything.stages for action in stage] == ids, "oldest first"
    if docker_host.reach.via == "tcp":
        assert "disk_percent" not in everything.before
        return
    percent = everything.before["disk_percent"]
    quiet = cleaner(docker_host, PRESSURE, min_age=0, disk_high=min(100, percent + 5), disk_low=percent + 4)
    draft = drafted(quiet, docker_host)
    assert draft.stages == ()
    assert "below the high mark" in draft.why
    actions: Any = Plan.from_draft(everything).actions
    stopped = applied(quiet, docker_host, actions)
    assert all(isinstance(result, Moot) and "below the low mark" in result.why for result in stopped)
    assert set(ids) <= engine.images()
    seen = quiet.verify(docker_host, recorded(everything, actions, stopped))
    assert isinstance(seen, Verified), seen
