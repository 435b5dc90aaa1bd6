"""What the tests of `shrink_image` share: the registry, the host, tickets, a ledger, and whole runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from functions.shrink_image import app
from functions.shrink_image.app import ShrinkImage
from paydown.ledger import Ledger, Run
from paydown.toil.worker import Worker
from tests.unit.functions.report_outcome.fake_tickets import Tickets
from tests.unit.functions.shrink_image.layers import FakeRegistry
from tests.unit.functions.shrink_image.scenes import INVENTORY, NOW, SAMPLE, TAG, TRIALS, FakeHost
from tests.unit.ledgers import ledger_in_moto


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    made = FakeRegistry()
    monkeypatch.setattr(app, "open_registry", lambda registry, secret, operator: made)
    return made


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost()
    monkeypatch.setattr(app, "open_trials", lambda host: made)
    return made


@pytest.fixture
def tickets(monkeypatch: pytest.MonkeyPatch) -> Tickets:
    made = Tickets()
    monkeypatch.setattr(app, "open_tracker", lambda tracker, secret: made)
    return made


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with ledger_in_moto() as made:
        made.inventory.publish(INVENTORY, "test", NOW)
        monkeypatch.setattr(app, "open_ledger", lambda: made)
        yield made


Work = Callable[..., Run]


@pytest.fixture
def work(ledger: Ledger, registry: FakeRegistry, host: FakeHost) -> Work:
    """What becomes of a push that the deployed function gets."""
    pushes = [0]

    def handle(
        observing: bool = False, inventory: dict[str, Any] | None = None, tag: str = TAG, **settings: Any
    ) -> Run:
        pushes[0] += 1
        now = NOW + timedelta(minutes=pushes[0])
        policy = {"mode": "enforce", "cool_down_seconds": 0, "settings": {"trials": TRIALS, **settings}}
        ledger.policy.publish({"toils": {"shrink_image": policy}}, "test", now)
        if inventory:
            ledger.inventory.publish({**INVENTORY, **inventory}, "test", now)
        worker = Worker(
            toil=ShrinkImage,
            ledger=ledger,
            observing=observing,
            send=lambda toil, bodies: None,
            report=lambda run, error: None,
            now=lambda: now,
            deadline=now + timedelta(seconds=58),
        )
        [run] = worker.handle({**SAMPLE, "detail": {**SAMPLE["detail"], "key": f"registry:{pushes[0]}", "tag": tag}})
        return run

    return handle
