"""The Lambda handler of a toil type: the same for an SQS batch, a bare event, and a local invocation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from paydown.errors import InvalidInput, PaydownError
from paydown.ledger import Ledger, Run, open_ledger
from paydown.toil.contract import Toil
from paydown.toil.worker import Worker

MARGIN = timedelta(seconds=2)
"""Kept free at the end of an invocation, for the last writes."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def handler_for(toil: type[Toil[Any]]) -> Handler:
    """The handler of a toil type.

    An SQS batch returns the ids of the messages that failed, so that they come back, and end in the dead-letter queue
    when they cannot become a run. A bare event (a rule without a queue, `sam local invoke`) returns what became of it.
    """
    logger = Logger(service=toil.name)
    ledger: list[Ledger] = []

    def report(run_id: str, error: Exception) -> None:
        # The trace is for the log alone; the ledger gets the name of the exception, which holds nothing secret.
        logger.error("unexpected error", exc_info=error, run_id=run_id, toil=toil.name)

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if not ledger:
            ledger.append(open_ledger())
        records = event.get("Records")
        worker = Worker(
            toil=toil,
            ledger=ledger[0],
            observing=os.environ.get("PAYDOWN_MODE") != "Enforce",
            send=send_commands,
            report=report,
            now=utc_now,
            deadline=utc_now() + timedelta(milliseconds=context.get_remaining_time_in_millis()) - MARGIN,
            fan_out=records is not None,
        )
        if records is None:
            return _bare(worker, event, logger)
        failed = [record["messageId"] for record in records if not _message(worker, record, logger)]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    return handler


def utc_now() -> datetime:
    """The clock of everything that runs in a function."""
    return datetime.now(UTC)


def send_commands(toil: str, bodies: Sequence[str]) -> None:
    """Put commands into the queue of a toil type.

    Raises RetryableError if not all of them got there, PermanentError if there is no such queue, or no right to use it.
    """
    from paydown.clients.aws import client, translated

    sqs = client("sqs")
    with translated(f"the queue of {toil}"), ThreadPoolExecutor(max_workers=min(8, len(bodies))) as pool:
        url = sqs.get_queue_url(QueueName=f"{os.environ['PAYDOWN_QUEUE_PREFIX']}-toil-{toil}")["QueueUrl"]
        # One by one: a batch can fail in parts, and the emulator wants a permission for it that IAM does not know.
        list(pool.map(lambda body: sqs.send_message(QueueUrl=url, MessageBody=body), bodies))


def _message(worker: Worker, record: dict[str, Any], logger: Logger) -> bool:
    """Handle one SQS message; False if it must come back."""
    try:
        runs = worker.handle(json.loads(record["body"]))
    except json.JSONDecodeError as error:
        logger.warning("message refused", error=f"not JSON: {error.msg}", toil=worker.toil.name)
        return False
    except PaydownError as error:
        logger.warning("message comes back", error=str(error), toil=worker.toil.name)
        return False
    for run in runs:
        _tell(run, logger)
    return True


def _bare(worker: Worker, event: dict[str, Any], logger: Logger) -> dict[str, Any]:
    try:
        runs = worker.handle(event)
    except InvalidInput as error:
        logger.warning("event refused", error=str(error), toil=worker.toil.name)
        return {"error": {"what": error.what, "faults": [list(fault) for fault in error.faults]}}
    except PaydownError as error:
        logger.warning("event not handled", error=str(error), toil=worker.toil.name)
        return {"error": {"what": str(error), "faults": []}}
    for run in runs:
        _tell(run, logger)
    return {"runs": [_summary(run) for run in runs]}


def _summary(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "toil": run.toil,
        "target": run.ref,
        "status": run.status.value,
        "reasons": [[reason.code, reason.text] for reason in run.reasons],
    }


def _tell(run: Run, logger: Logger) -> None:
    """Log where the run stands."""
    logger.info(
        run.status.value,
        toil=run.toil,
        run_id=run.id,
        event_key=run.key,
        target=run.target,
        outcome=run.status.value if run.ended else None,
        reasons=[reason.code for reason in run.reasons],
    )
