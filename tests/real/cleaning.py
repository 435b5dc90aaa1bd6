"""Runs of `clean_dangling_images`, in parts and whole, as tests of several files begin them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.clean_dangling_images.app import CleanDanglingImages, RemoveImage, Settings
from paydown.events import DiskPressure, Event, ImagePushed, Sweep
from paydown.inventory import Host, Inventory
from paydown.ledger import Ledger, Run
from paydown.plan import Applied, Done, Draft, Moot, NotYet, Plan, Record, Seen, Step, StepState
from paydown.policy import Policy
from paydown.toil import Scene
from paydown.toil.worker import Worker
from tests.real.workers import worker_of

SAMPLES = Path(__file__).resolve().parents[2] / "events/clean_dangling_images"
SWEEP = Sweep(key="schedule:1", at=datetime.now(UTC), rule="hourly")
PUSH = ImagePushed(
    key="registry:1",
    at=datetime.now(UTC),
    registry="127.0.0.1:5000",
    repository="demo/app",
    digest="sha256:" + "1" * 64,
    tag="1",
)
PRESSURE = DiskPressure(key="alert:1", at=datetime.now(UTC), host="build-1", mount="/")
ANY_DISK = {"disk_high": 1, "disk_low": 0}
"""Marks by which the disk of every machine is too full."""


def now() -> datetime:
    return datetime.now(UTC)


def cleaner(host: Host, event: Event = SWEEP, **settings: Any) -> CleanDanglingImages:
    return CleanDanglingImages(
        Scene(
            run_id="1f0c",
            event=event,
            inventory=Inventory(hosts=(host,)),
            policy=Policy(),
            settings=Settings(**settings),
            observing=False,
            now=now,
            nudge=lambda *_: None,
            has_run=lambda *_: False,
        )
    )


def drafted(toil: CleanDanglingImages, host: Host) -> Draft:
    draft = toil.plan(host)
    assert isinstance(draft, Draft)
    return draft


def applied(toil: CleanDanglingImages, host: Host, actions: Sequence[RemoveImage]) -> list[Applied]:
    """In batches, and again what there was no time for."""
    results: dict[str, Applied] = {}
    while left := [action for action in actions if isinstance(results.get(action.object), NotYet | None)]:
        batch = left[: toil.batch]
        results.update(zip((action.object for action in batch), toil.apply_batch(batch, host), strict=True))
    return [results[action.object] for action in actions]


def recorded(draft: Draft, actions: Sequence[RemoveImage], results: Sequence[Applied]) -> Record:
    states = {Done: StepState.DONE, Moot: StepState.MOOT, NotYet: StepState.PLANNED}
    steps = [
        Step(index, 0, action, states[type(result)], getattr(result, "evidence", {}))
        for index, (action, result) in enumerate(zip(actions, results, strict=True))
    ]
    return Record(draft.before, steps, now())


def cleaned(toil: CleanDanglingImages, host: Host) -> tuple[list[Applied], Seen]:
    """Plan, apply and verify, as the contract does."""
    draft = drafted(toil, host)
    actions: Any = Plan.from_draft(draft).actions
    results = applied(toil, host, actions)
    return results, toil.verify(host, recorded(draft, actions, results))


def allow(ledger: Ledger, **settings: Any) -> None:
    """Publish a policy in which it may act by itself."""
    toil = {"mode": "enforce", "ceiling": "disruptive", "settings": settings}
    ledger.policy.publish({"toils": {CleanDanglingImages.name: toil}}, "test", now())


def worker(ledger: Ledger, observing: bool = False) -> Worker:
    return worker_of(CleanDanglingImages, ledger, observing=observing)


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
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
