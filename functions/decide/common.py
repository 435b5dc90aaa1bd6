"""What all ways in share: the ledger, the policy in force, and the nudge."""

from __future__ import annotations

import os
import re
from datetime import timedelta

from aws_lambda_powertools import Logger

from paydown.errors import PaydownError
from paydown.ledger import Ledger, NoDocument, Run, open_ledger
from paydown.policy import Policy
from paydown.toil.handler import send_commands
from paydown.toil.worker import wake_command

RUN_ID = re.compile(r"[0-9a-f]{32}(-[1-9][0-9]{0,8})?", re.ASCII)

logger = Logger(service="decide")
_ledger: list[Ledger] = []


def opened() -> Ledger:
    """The ledger that the environment names."""
    if not _ledger:
        _ledger.append(open_ledger())
    return _ledger[0]


def policy(ledger: Ledger) -> Policy:
    """The policy in force; without one nobody may decide."""
    try:
        document = ledger.policy.current().document
    except NoDocument:
        return Policy()
    ledger.approvals.retention = timedelta(days=document.retention_days)
    return document


def find(ledger: Ledger, id: str) -> Run | None:
    """The run with this id; None also for what cannot be one."""
    return ledger.runs.get(id) if RUN_ID.fullmatch(id) else None


def stack() -> str:
    """The name of the stack, under which its secrets lie."""
    return os.environ["PAYDOWN_STACK"]


def nudge(run: Run) -> None:
    """Let the run go on at once. If that is lost it goes on within a minute, since the decision made it due."""
    try:
        send_commands(run.toil, [wake_command(run.id)])
    except PaydownError as error:
        logger.warning("not nudged", extra={"toil": run.toil, "run_id": run.id, "error": str(error)})
