"""GitHub's webhooks for issues: an issue is opened, somebody labels it, or comments on it with a decision.

Shapes from GitHub's documentation of webhook events and payloads. The key is the delivery id, which a redelivery keeps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from paydown.approving import is_command
from paydown.errors import InvalidEvent
from paydown.events import Event, Name, TicketCommented, TicketCreated, TicketRef
from paydown.sources.webhook import Batch, Request, parse, verify_signature

WHAT = "GitHub webhook"
TITLE_LIMIT = 2_000
UNDERSTOOD = ("issues", "issue_comment")
"""What `X-GitHub-Event` says of a webhook that is read; the others are ignored."""


class _Head(BaseModel):
    action: str


class _User(BaseModel):
    login: Name


class _Label(BaseModel):
    name: Name


class _Repository(BaseModel):
    full_name: Name


class _Issue(BaseModel):
    number: int = Field(ge=1, lt=2**53)
    title: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    user: _User | None = None


class _Opened(BaseModel):
    issue: _Issue
    repository: _Repository


class _Labeled(_Opened):
    label: _Label
    sender: _User | None = None


class _Numbered(BaseModel):
    number: int = Field(ge=1, lt=2**53)


class _Comment(BaseModel):
    id: int = Field(ge=1, lt=2**53)
    body: str | None = None
    created_at: AwareDatetime


class _Commented(BaseModel):
    issue: _Numbered
    comment: _Comment
    repository: _Repository


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `X-Hub-Signature-256` over the body. Raises Unauthorized."""
    verify_signature(request, secrets)


def read(request: Request) -> Batch:
    """One TicketCreated for an issue that was opened or labelled, one TicketCommented for a new comment that decides.

    The tracker is the repository's full name (`owner/name`). Of a labelled issue the label is the `queue`: which label
    hands an issue to automation stands in the inventory, so whoever reads the event compares.
    """
    what = request.header("x-github-event")
    if what is None:
        raise InvalidEvent(WHAT, [("header X-GitHub-Event", "Field required")])
    document = request.document()
    if what not in UNDERSTOOD:
        return Batch(ignored=1)
    event: Event | None = None
    match what, parse(_Head, document, WHAT).action:
        case "issues", "opened":
            opened = parse(_Opened, document, WHAT)
            event = _ticket(request, opened, opened.issue.created_at, None)
        case "issues", "labeled":
            labeled = parse(_Labeled, document, WHAT)
            actor = labeled.sender.login if labeled.sender else None
            event = _ticket(request, labeled, labeled.issue.updated_at, labeled.label.name, actor)
        case "issue_comment", "created":
            event = _comment(request, parse(_Commented, document, WHAT))
    return Batch((event,)) if event else Batch(ignored=1)


def _comment(request: Request, about: _Commented) -> TicketCommented | None:
    """None for a comment that decides nothing, as nearly all do."""
    if not is_command(about.comment.body or ""):
        return None
    return TicketCommented(
        key=_key(request),
        at=about.comment.created_at,
        ticket=TicketRef(tracker=about.repository.full_name, id=str(about.issue.number)),
        comment=str(about.comment.id),
    )


def _key(request: Request) -> str:
    delivery = request.header("x-github-delivery")
    if delivery is None or not re.fullmatch(r"[0-9A-Za-z-]{1,128}", delivery):
        raise InvalidEvent(WHAT, [("header X-GitHub-Delivery", "Field required: the id of the delivery")])
    return f"github:{delivery}"


def _ticket(request: Request, about: _Opened, at: Any, queue: str | None, actor: str | None = None) -> TicketCreated:
    return TicketCreated(
        key=_key(request),
        at=at,
        ticket=TicketRef(tracker=about.repository.full_name, id=str(about.issue.number)),
        title=about.issue.title[:TITLE_LIMIT],
        queue=queue,
        creator=about.issue.user.login if about.issue.user else None,
        actor=actor,
    )
