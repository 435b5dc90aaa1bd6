"""A disk that is really full, since it is a small one: what goes from it, and what is said when that is too little."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from paydown.clients.docker import Disk, open_host
from paydown.inventory import Host, Unix
from paydown.plan import Unverified, Verified
from tests.real.cleaning import PRESSURE, SWEEP, cleaned, cleaner
from tests.real.docker_engine import Engine, engine_in_memory

SIZE = 100_000_000
IMAGE = 10_000_000
"""A tenth of the disk."""


@pytest.fixture(scope="module")
def small_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_in_memory(tmp_path_factory.mktemp("small"), size=str(SIZE)) as engine:
        yield engine


@pytest.fixture
def small(small_engine: Engine) -> Engine:
    small_engine.clear()
    return small_engine


@pytest.fixture
def host(small: Engine) -> Host:
    return Host(uid="host-1", name="build-1", reach=Unix(via="unix", path=str(small.socket)))


def disk(host: Host) -> Disk:
    found = open_host(host, observing=True).read_disk()
    assert found is not None
    assert found.total < 2 * SIZE, "the engine's data lies on a disk of its own"
    return found


def dangling(engine: Engine, count: int) -> list[str]:
    """Images that dangle, oldest first, each a tenth of the disk."""
    ids = [engine.image("app:1", content=os.urandom(IMAGE)) for _ in range(count)]
    engine.image("app:1", content=b"new")
    return ids


def test_the_oldest_go_until_the_disk_is_below_its_low_mark(small: Engine, host: Host) -> None:
    ids = dangling(small, 5)
    full = disk(host).percent
    marks = {"disk_high": full - 5, "disk_low": full - 15}
    _, seen = cleaned(cleaner(host, PRESSURE, min_age=0, **marks), host)
    assert isinstance(seen, Verified), seen
    assert (seen.saved["images"], seen.evidence["disk_percent"]) == (2, disk(host).percent)
    assert disk(host).percent <= marks["disk_low"]
    assert small.dangling() == set(ids[2:])


def test_a_disk_that_stays_full_when_all_is_gone_that_may_go_is_said_to_be_full(small: Engine, host: Host) -> None:
    kept = small.root / "somebody's file"
    kept.write_bytes(os.urandom(3 * IMAGE))
    try:
        dangling(small, 2)
        low = disk(host).percent - 25
        _, seen = cleaned(cleaner(host, PRESSURE, min_age=0, disk_high=low + 1, disk_low=low), host)
        assert isinstance(seen, Unverified), seen
        percent = disk(host).percent
        assert percent > low
        assert seen.why == f"the disk is still {percent} % full, and nothing more may be removed by policy"
        assert (seen.evidence["images"], seen.evidence["disk_percent"]) == (2, percent)
        assert not small.dangling()
        empty = cleaner(host, PRESSURE, min_age=0, disk_high=low + 1, disk_low=low).plan(host)
        assert getattr(empty, "why", "").startswith(f"the disk is {percent} % full, and nothing may be removed")
    finally:
        kept.unlink()


def test_a_sweep_is_not_asked_to_free_the_disk(small: Engine, host: Host) -> None:
    dangling(small, 2)
    _, seen = cleaned(cleaner(host, SWEEP, min_age=0, disk_high=2, disk_low=1), host)
    assert isinstance(seen, Verified), seen
    assert seen.saved["images"] == 2
