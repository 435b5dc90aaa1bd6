"""Sweeps of clean_registry under the contract, and the person who decides on what they hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.clean_registry.app import CleanRegistry
from paydown.ledger import Ledger, Run
from paydown.toil.worker import Worker
from tests.real.workers import worker_of

SAMPLES = Path(__file__).resolve().parents[2] / "events/clean_registry"


def now() -> datetime:
    return datetime.now(UTC)


def allow(ledger: Ledger, **policy: Any) -> None:
    ledger.policy.publish({"toils": {"clean_registry": {"mode": "enforce", **policy}}}, "test", now())


def worker(ledger: Ledger, observing: bool = False) -> Worker:
    return worker_of(CleanRegistry, ledger, observing=observing)


def swept(ledger: Ledger, observing: bool = False) -> Run:
    (run,) = worker(ledger, observing).handle(json.loads((SAMPLES / "sweep.json").read_text()))
    return run


def approved(ledger: Ledger, run: Run) -> Run:
    ledger.approvals.decide(run, run.fingerprint, approved=True, by="ann", why="", now=now())
    worker(ledger).handle({"paydown": 1, "command": "wake", "run_id": run.id})
    found = ledger.runs.get(run.id)
    assert found is not None
    return found
