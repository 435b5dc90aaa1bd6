"""AWS's own events leave word that their source was heard of, as ingress does for a webhook.

So an ECR rule, an alarm's rule or a schedule that went silent is noticed like a sender of webhooks that did
(`paydown.ledger.sources_seen`). An event is worked on whether that can be noted or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from aws_lambda_powertools import Logger

from paydown.errors import PaydownError
from paydown.ledger import Ledger
from paydown.sources import BUS_SOURCES, SCHEDULE

logger = Logger(service="hearing")
_noted: WeakKeyDictionary[Ledger, dict[str, datetime]] = WeakKeyDictionary()
"""When this process last noted each source: a storm of alarms must not become one of writes to one item."""


def source_of(envelope: Mapping[str, Any], toil: str) -> str | None:
    """What the policy calls the source of an EventBridge envelope; None for events of ours.

    Each toil type has a schedule of its own: one that fires would else hide another that does not.
    """
    source = envelope.get("source")
    if source == "aws.events":
        return f"{SCHEDULE}{toil}"
    return BUS_SOURCES.get(str(source))


def hear(ledger: Ledger, toil: str, envelope: Mapping[str, Any], now: datetime) -> None:
    """Note that the source of an envelope was heard of, at most once a minute and process."""
    source = source_of(envelope, toil)
    if source is None:
        return
    # An event of AWS alone needs these; most invocations see none.
    from paydown.clients import aws
    from paydown.ledger.sources_seen import EVERY, Sources

    noted = _noted.setdefault(ledger, {})
    if source in noted and now - noted[source] < EVERY:
        return
    noted[source] = now
    try:
        Sources(ledger.table, aws.client("dynamodb")).hear(source, now)
    except PaydownError as error:
        logger.warning("not noted", source=source, error=str(error))
