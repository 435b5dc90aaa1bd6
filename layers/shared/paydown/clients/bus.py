"""The event bus: the account's default one, on which AWS's own events arrive too.

PutEvents may accept some entries and refuse others, and an emulator accepts entries of any size, so both are checked
here: when `publish` returns, the bus has every event.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from paydown.clients.aws import client, translated
from paydown.errors import PermanentError, RetryableError
from paydown.events import SOURCE, Event

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024
"""EventBridge's limits for one request: its entries, and their sizes together."""

PAUSES = (0.1, 0.4)
"""Seconds to wait before entries that were refused are put again."""


def publish(events: Sequence[Event], bus: EventBridgeClient | None = None) -> None:
    """Put the events on the bus, in requests as large as it takes; it is safe to repeat, since their keys stay.

    Raises RetryableError or PermanentError when the bus does not have them all; one that is too large is permanent.
    """
    put([(event.detail_type(), event.model_dump_json()) for event in events], bus)


def put(details: Iterable[tuple[str, str]], bus: EventBridgeClient | None = None) -> None:
    """Like `publish`, for pairs of a detail-type and a detail in JSON."""
    bus = bus or client("events")
    for request in _requests(details):
        _put(bus, request)


def _requests(details: Iterable[tuple[str, str]]) -> Iterator[list[PutEventsRequestEntryTypeDef]]:
    request: list[PutEventsRequestEntryTypeDef] = []
    size = 0
    for detail_type, detail in details:
        added = len(SOURCE) + len(detail_type.encode()) + len(detail.encode())
        if added > MAX_BYTES:
            raise PermanentError(f"an event {detail_type} of {added} bytes is too large for the bus")
        if request and (len(request) == MAX_ENTRIES or size + added > MAX_BYTES):
            yield request
            request, size = [], 0
        request.append({"Source": SOURCE, "DetailType": detail_type, "Detail": detail})
        size += added
    if request:
        yield request


def _put(bus: EventBridgeClient, entries: list[PutEventsRequestEntryTypeDef]) -> None:
    for pause in (*PAUSES, None):
        with translated("the event bus"):
            answer = bus.put_events(Entries=entries)
        if not answer["FailedEntryCount"]:
            return
        refused = answer["Entries"]
        entries = [entry for entry, result in zip(entries, refused, strict=True) if "ErrorCode" in result]
        if pause is not None:
            time.sleep(pause)
    codes = sorted({result["ErrorCode"] for result in refused if "ErrorCode" in result})
    raise RetryableError(f"the event bus refused {len(entries)} event(s): {', '.join(codes)}")
