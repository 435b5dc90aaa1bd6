"""Roundup, by the detector of ours: an issue is new, a person moved it to the automation queue, or commented on it.

Roundup has no webhooks of its own: the body is what our detector writes, one event each, signed as GitHub signs. The
key is the detector's delivery id (made from the tracker, the issue, the event and its time) under the tracker's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, StringConstraints

from paydown.events import Event, Name, TicketCommented, TicketCreated, TicketRef
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
    actor: Name | None = None


class _Comment(BaseModel):
    delivery: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,128}$")]
    tracker: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    id: Name
    at: AwareDatetime
    comment: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `X-Hub-Signature-256` over the body. Raises Unauthorized."""
    verify_signature(request, secrets)


def read(request: Request) -> Batch:
    """One TicketCreated for `issue.created` and `issue.moved`, one TicketCommented for `issue.commented`.

    The detector sends the second only for its queue, and the last only for a comment that looks like a decision.
    """
    document = request.document()
    match parse(_Head, document, WHAT).event:
        case "issue.created" | "issue.moved" as what:
            body = parse(_Body, document, WHAT)
            return Batch((_ticket(body, handed_over=what == "issue.moved" or body.queue is not None),))
        case "issue.commented":
            return Batch((_comment(parse(_Comment, document, WHAT)),))
    return Batch(ignored=1)


def _comment(body: _Comment) -> Event:
    return TicketCommented(
        key=f"roundup:{body.tracker}:{body.delivery}",
        at=body.at,
        ticket=TicketRef(tracker=body.tracker, id=body.id),
        comment=body.comment,
    )


def _ticket(body: _Body, *, handed_over: bool) -> Event:
    return TicketCreated(
        key=f"roundup:{body.tracker}:{body.delivery}",
        at=body.at,
        ticket=TicketRef(tracker=body.tracker, id=body.id),
        title=body.title[:TITLE_LIMIT],
        queue=body.queue,
        creator=body.creator,
        actor=body.actor if handed_over else None,
    )
