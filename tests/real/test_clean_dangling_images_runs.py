"""Whole runs of the toil type under the contract: sample events, a real engine, and a ledger in the emulator."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.clean_dangling_images.app import CleanDanglingImages
from local.emulator import Emulator
from paydown.inventory import Host
from paydown.ledger import Ledger, Run
from paydown.toil.worker import Worker
from tests.real.docker_engine import Engine
from tests.unit.ledgers import make_table

EVENTS = Path(__file__).resolve().parents[2] / "events/clean_dangling_images"
TOIL = "clean_dangling_images"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def ledger(output_store: Emulator, docker_host: Host) -> Ledger:
    made = make_table(output_store.client("dynamodb"), f"ledger-{uuid.uuid4().hex}")
    host = docker_host.model_copy(update={"builds": ("127.0.0.1:5000/demo/app",), "aliases": ("i-0123456789abcdef0",)})
    made.inventory.publish({"hosts": [host.model_dump(mode="json")]}, "test", now())
    return made


def allow(ledger: Ledger, **settings: Any) -> None:
    toil = {"mode": "enforce", "ceiling": "disruptive", "settings": settings}
    ledger.policy.publish({"toils": {TOIL: toil}}, "test", now())


def worker(ledger: Ledger, observing: bool = False) -> Worker:
    def report(run_id: str, error: Exception) -> None:
        raise AssertionError(run_id) from error

    return Worker(
        toil=CleanDanglingImages,
        ledger=ledger,
        observing=observing,
        send=lambda toil, bodies: None,
        report=report,
        now=now,
        deadline=now() + timedelta(seconds=58),
    )


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def to_its_end(ledger: Ledger, run: Run) -> Run:
    """What `wake` does until the run ends."""
    deadline = time.monotonic() + 90
    while not run.ended:
        assert time.monotonic() < deadline, f"{run.status} {run.reasons}"
        assert run.due is not None
        time.sleep(max(0.0, (run.due - now()).total_seconds()))
        worker(ledger).handle({"paydown": 1, "command": "wake", "run_id": run.id})
        found = ledger.runs.get(run.id)
        assert found is not None
        run = found
    return run


@pytest.mark.parametrize("name", ["image_pushed", "disk_pressure", "disk_pressure_cloudwatch", "sweep"])
def test_each_sample_event_cleans_the_host(engine: Engine, ledger: Ledger, docker_host: Host, name: str) -> None:
    allow(ledger, min_age=0, disk_high=1, disk_low=0)  # marks by which the disk of every machine is too full
    ids = engine.rebuilt("demo/app:latest", 3)
    (begun,) = worker(ledger).handle(sample(name))
    run = to_its_end(ledger, begun)
    assert (run.status.value, run.ref) == ("Verified", "host/build-1"), run.reasons
    assert not set(ids) & engine.images()
    assert len(engine.images()) == 1
    assert (run.evidence["images"], run.evidence["bytes"]) == (3, 3000)


def test_a_push_defers_its_run_until_what_it_left_is_old(engine: Engine, ledger: Ledger, docker_host: Host) -> None:
    allow(ledger, min_age=15)
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
