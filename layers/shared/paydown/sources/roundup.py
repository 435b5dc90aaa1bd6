"""Roundup, by the detector of ours: an issue is new, or a person moved it to the automation queue.

Roundup has no webhooks of its own: the body is what our detector writes, one event each, signed as GitHub signs. The
key is the detector's delivery id (made from the tracker, the issue, the event and its time) under the tracker's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, StringConstraints

from paydown.events import Name, TicketCreated, TicketRef
from paydown.sources.webhook import Batch, Request, parse, verify_signature

WHAT = "Roundup event"
TITLE_LIMIT = 2_000


class _Head(BaseModel):
    event: str


class _Body(BaseModel):
    delivery: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,128}$")]
    tracker: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    id: Name
    at: AwareDatetime
    title: str
    queue: Name | None = None
    creator: Name | None = None


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `X-Hub-Signature-256` over the body. Raises Unauthorized."""
    verify_signature(request, secrets)


def read(request: Request) -> Batch:
    """One TicketCreated for `issue.created` and for `issue.moved`, which the detector sends only for its queue."""
    document = request.document()
    if parse(_Head, document, WHAT).event not in ("issue.created", "issue.moved"):
        return Batch(ignored=1)
    body = parse(_Body, document, WHAT)
    ticket = TicketCreated(
        key=f"roundup:{body.tracker}:{body.delivery}",
        at=body.at,
        ticket=TicketRef(tracker=body.tracker, id=body.id),
        title=body.title[:TITLE_LIMIT],
        queue=body.queue,
        creator=body.creator,
    )
    return Batch((ticket,))
