"""POST /webhooks/{sender}: make sure who sends, read what they say, and put it on the bus.

The answer is 202 only after the bus has every event. What is the sender's fault is a 4xx that names it; what is ours is
a 5xx, so that the sender repeats: an exception that nobody expected ends the invocation, which the gateway answers 502.
That the sender was heard of is noted in the ledger at the end, and costs no event if it fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from functions.ingress.proxy import Answer, answer, named, refusal, request_of, sender_of
from paydown.clients import aws, bus
from paydown.errors import InvalidEvent, PaydownError
from paydown.sources import sender
from paydown.sources.webhook import Batch, TooLarge, Unauthorized, secrets_of

if TYPE_CHECKING:
    from paydown.ledger.sources_seen import Sources

logger = Logger(service="ingress")
_sources: list[Sources] = []


def handler(event: dict[str, Any], _context: object = None) -> Answer:
    """A request of API Gateway's REST proxy in, its answer out."""
    name = sender_of(event)
    answered = _handle(name, event)
    known = name if sender(name) else "unknown"
    logger.info("webhook", extra={"sender": known, "status": answered["statusCode"]})
    return answered


def _handle(name: str, event: Mapping[str, Any]) -> Answer:
    from_whom = sender(name)
    if from_whom is None:
        return refusal(404, "unknown_sender", "nobody of this name sends webhooks here")
    if event.get("httpMethod") != "POST":
        return refusal(405, "method_not_allowed", "webhooks are sent by POST")
    try:
        request = request_of(event)
        from_whom.verify(request, secrets_of(aws.secret(f"{os.environ['PAYDOWN_STACK']}/webhooks/{name}")))
        batch = from_whom.read(request)
        bus.publish(batch.events)
    except TooLarge:
        return refusal(413, "too_large", "the body is too large, or holds too many events")
    except Unauthorized:
        return refusal(401, "unauthorized", "the request is not from the sender")
    except InvalidEvent as error:
        _log_faults(name, error.faults)
        return refusal(400, "invalid", "the request cannot be understood", error.faults)
    except PaydownError as error:
        logger.exception("unavailable", extra={"sender": name, "reason": str(error)})
        return refusal(503, "unavailable", "send it again")
    _note(name, batch)
    return _accepted(name, batch)


def _note(name: str, batch: Batch) -> None:
    """Leave word in the ledger that the sender was heard of, and what it told. The bus has the events by now."""
    try:
        if not _sources:
            from paydown.ledger.sources_seen import open_sources

            _sources.append(open_sources(hurried=True))
        _sources[0].note(name, batch.events, datetime.now(UTC))
    except Exception:  # whatever it is, the sender must not repeat what the bus has
        logger.exception("not noted", extra={"sender": name})


def _accepted(name: str, batch: Batch) -> Answer:
    keys = [event.key for event in batch.events]
    logger.info("events", extra={"sender": name, "event_keys": keys, "ignored": batch.ignored})
    said = {"events": keys, "ignored": batch.ignored}
    if batch.faults:
        _log_faults(name, batch.faults)
        message = "the bus has the events named here; the fields named here spoil the others"
        return refusal(400, "invalid", message, batch.faults, **said)
    return answer(202, said)


def _log_faults(name: str, faults: Sequence[tuple[str, str]]) -> None:
    logger.warning("invalid", extra={"sender": name, "fields": [fault["field"] for fault in named(faults)]})
