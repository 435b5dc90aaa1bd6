"""One invocation's worker of a toil type, which takes a defect of its toil type for a failure of the test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.ledger import Ledger
from paydown.toil import Toil
from paydown.toil.worker import Send, Worker


def utc_now() -> datetime:
    return datetime.now(UTC)


def worker_of(
    toil: type[Toil[Any]],
    ledger: Ledger,
    *,
    observing: bool = False,
    now: Callable[[], datetime] = utc_now,
    seconds: float = 58,
    send: Send = lambda toil, bodies: None,
) -> Worker:
    """A worker that has so many seconds, and sends its messages nowhere."""

    def report(run_id: str, error: Exception) -> None:
        raise AssertionError(run_id) from error

    deadline = now() + timedelta(seconds=seconds)
    return Worker(toil=toil, ledger=ledger, observing=observing, send=send, report=report, now=now, deadline=deadline)
