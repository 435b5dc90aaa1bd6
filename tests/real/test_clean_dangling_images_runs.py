"""Whole runs of the toil type under the contract: sample events, a real engine, and a ledger in the emulator."""

from __future__ import annotations

import uuid

import pytest

from local.emulator import Emulator
from paydown.inventory import Host
from paydown.ledger import Ledger
from tests.real.cleaning import allow, now, sample, to_its_end, worker
from tests.real.docker_engine import Engine
from tests.unit.ledgers import make_table


@pytest.fixture
def ledger(output_store: Emulator, docker_host: Host) -> Ledger:
    made = make_table(output_store.client("dynamodb"), f"ledger-{uuid.uuid4().hex}")
    host = docker_host.model_copy(update={"builds": ("127.0.0.1:5000/demo/app",), "aliases": ("i-0123456789abcdef0",)})
    made.inventory.publish({"hosts": [host.model_dump(mode="json")]}, "test", now())
    return made


@pytest.mark.parametrize("name", ["image_pushed", "disk_pressure", "disk_pressure_cloudwatch", "sweep"])
def test_each_sample_event_cleans_the_host(engine: Engine, ledger: Ledger, docker_host: Host, name: str) -> None:
    allow(ledger, min_age=0, disk_high=None, disk_low=None)  # the disk of a test machine is not full
    ids = engine.rebuilt("demo/app:latest", 3)
    (begun,) = worker(ledger).handle(sample(name))
    run = to_its_end(ledger, begun)
    assert (run.status.value, run.ref) == ("Verified", "host/build-1"), run.reasons
    assert not set(ids) & engine.images()
    assert len(engine.images()) == 1
    assert (run.evidence["images"], run.evidence["bytes"]) == (3, 3000)


def test_a_push_defers_its_run_until_what_it_left_is_old(engine: Engine, ledger: Ledger, docker_host: Host) -> None:
    allow(ledger, min_age=20)
    text = "FROM scratch\nCOPY content /content\n"
    first = engine.build("demo/app:1", text, content=b"A")
    second = engine.build("demo/app:1", text, content=b"B")
    engine.build("demo/app:1", text, content=b"A")
    (begun,) = worker(ledger).handle(sample("image_pushed"))
    assert begun.status.value == "Deferred"
    assert second in engine.images()
    run = to_its_end(ledger, begun)
    assert run.status.value == "Verified"
    assert second not in engine.images()
    assert first in engine.images()


def test_deployed_to_observe_nothing_goes(engine: Engine, ledger: Ledger, docker_host: Host) -> None:
    allow(ledger, min_age=0)
    ids = engine.rebuilt("demo/app:latest", 2)
    (run,) = worker(ledger, observing=True).handle(sample("sweep"))
    assert run.status.value == "Observed"
    assert set(ids) <= engine.images()
