"""Tell the ticket that asked for a run what became of it, and resolve it when the run is verified.

It consumes "Remediation …" events and changes no run. Events come at least once and in any order: each has a marker by
which its comment is found again, and what a run has left behind since (a hold that was decided) is not told any more.
Deployed to observe, it only logs what it would write.
"""

from __future__ import annotations

import json
import os
from typing import Any

from aws_lambda_powertools import Logger

from functions.report_outcome.report import REPORTED, report
from paydown.clients import aws
from paydown.errors import InvalidEvent, PaydownError, RetryableError
from paydown.events import RemediationChanged
from paydown.ledger import Ledger, NoDocument, Outcome, Status, open_ledger
from paydown.tickets import open_tracker

TRIAGE = "triage_ticket"
"""Its runs are about the ticket itself; the run that it asked for is what the ticket is told about."""

logger = Logger(service="report_outcome")
_ledger: list[Ledger] = []


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Tell the tickets of an SQS batch, or of a bare event.

    A batch returns the messages that failed: they come back, and end in the dead-letter queue. A bare event returns
    what was done.
    """
    if "Records" not in event:
        return {"done": tell(event)}
    failed = []
    for record in event["Records"]:
        try:
            tell(json.loads(record["body"]))
        except (PaydownError, json.JSONDecodeError) as error:
            logger.warning("not told", error=str(error), message_id=record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def tell(envelope: Any) -> str:
    """Tell the ticket of one event. Returns what was done in a word or two.

    Raises InvalidEvent, TicketNotFound, PermanentError, RetryableError.
    """
    if not isinstance(envelope, dict) or not isinstance(envelope.get("detail"), dict):
        raise InvalidEvent("message", [("detail", "must be a JSON object")])
    change = RemediationChanged.from_detail(envelope["detail"])
    if change.ticket is None or change.toil == TRIAGE or change.status not in REPORTED:
        return "not for a ticket"
    ledger = _opened()
    if change.status == Status.HELD and _is_past(ledger, change):
        return "out of date"
    try:
        tracker = ledger.inventory.current().document.tracker(change.ticket.tracker)
    except NoDocument as error:
        raise RetryableError(str(error)) from None
    if tracker is None:
        return "tracker not in the inventory"
    if os.environ.get("PAYDOWN_MODE") != "Enforce":
        logger.info("would tell", status=change.status, run_id=change.run_id, target=change.target)
        return "only observing"
    tickets = open_tracker(tracker, aws.secret)
    write = tickets.comment_and_resolve if change.status == Outcome.VERIFIED else tickets.comment
    told = write(change.ticket.id, report(change), marker(change))
    logger.info("told" if told else "told before", status=change.status, run_id=change.run_id, target=change.target)
    return "told" if told else "told before"


def marker(change: RemediationChanged) -> str:
    """What makes the comment on this transition of this run unique; the event's key is `<run id>:LOG#<number>`."""
    return f"paydown-run: {change.key.replace(':', '/').replace('#', '-')}"


def _is_past(ledger: Ledger, change: RemediationChanged) -> bool:
    run = ledger.runs.get(change.run_id)
    return run is not None and not change.key.endswith(f"LOG#{run.sequence:06}")


def _opened() -> Ledger:
    if not _ledger:
        _ledger.append(open_ledger())
    return _ledger[0]
