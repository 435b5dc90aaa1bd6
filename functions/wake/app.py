"""Every minute: nudge the queue of each run that is due.

This is the one way in which a run continues, whatever it waited for: a retry, a wait, a deferral, an approval that
expired, or a worker that died. A nudge carries no authority, and a run that is not due ignores it, so that nudging
twice is harmless.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from paydown.errors import PaydownError
from paydown.ledger import Ledger, open_ledger
from paydown.ledger.run import stamp
from paydown.toil.handler import send_commands, utc_now
from paydown.toil.worker import wake_command

MOST = 500
"""Runs of one shard that one minute nudges at the most; the oldest come first, the others have their turn next."""

logger = Logger(service="wake")
_ledger: list[Ledger] = []


def handler(_event: dict[str, Any], _context: object = None) -> dict[str, int]:
    """Nudge what is due. Returns how many runs, and how many seconds the oldest of them is overdue."""
    if not _ledger:
        _ledger.append(open_ledger())
    now = utc_now()
    due = defaultdict(list)
    oldest = 0
    for row in _ledger[0].runs.due(now, MOST):
        due[row["toil"]].append(wake_command(row["id"]))
        oldest = max(oldest, (stamp(now) or 0) - int(row["due"]))
    nudged = 0
    for toil, commands in due.items():
        try:
            send_commands(toil, commands)
        except PaydownError as error:
            # The other toil types' runs must not wait for a queue that is gone; the next minute tries again.
            logger.warning("not nudged", toil=toil, runs=len(commands), error=str(error))
        else:
            nudged += len(commands)
    with single_metric(name="OverdueSeconds", unit=MetricUnit.Seconds, value=oldest // 1000, namespace="Paydown"):
        logger.info("nudged", runs=nudged, overdue_seconds=oldest // 1000)
    return {"nudged": nudged, "overdue_seconds": oldest // 1000}
