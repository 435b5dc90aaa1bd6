"""Tell everybody what became of runs: the ledger's stream becomes `Remediation …` events and metrics.

A run's transition and its log entry are one transaction, and the table's stream brings each log entry here at least
once, in order for each run: no transition goes untold, and no function that acts needs the right to put events.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from paydown.clients import bus
from paydown.errors import PaydownError
from paydown.events import RemediationChanged
from paydown.ledger.outbox import transition
from paydown.ledger.run import Outcome
from paydown.ledger.table import plain
from paydown.toil.worker import NO_TARGET

logger = Logger(service="publish_transitions")


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Publish the transitions of a batch of stream records. Those from the first that failed on come back."""
    for record in event["Records"]:
        try:
            _publish(record)
        except PaydownError as error:
            logger.warning("not published", error=str(error), sequence=record["dynamodb"]["SequenceNumber"])
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def _publish(record: dict[str, Any]) -> None:
    image = record["dynamodb"].get("NewImage")
    if record["eventName"] != "INSERT" or image is None or not image["sk"]["S"].startswith("LOG#"):
        return
    change = transition(plain(image))
    bus.put([(RemediationChanged.detail_type_for(change.status), change.model_dump_json())])
    if change.status in set(Outcome) and change.target != NO_TARGET:
        dimensions = {"toil": change.toil}
        with single_metric(
            name=change.status, unit=MetricUnit.Count, value=1, namespace="Paydown", default_dimensions=dimensions
        ):
            logger.info(
                change.status, toil=change.toil, run_id=change.run_id, target=change.target, event_key=change.cause
            )
