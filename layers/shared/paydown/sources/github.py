"""GitHub's webhooks for issues: an issue is opened, or somebody labels it.

Shapes from GitHub's documentation of webhook events and payloads. The key is the delivery id, which a redelivery keeps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from paydown.errors import InvalidEvent
from paydown.events import Name, TicketCreated, TicketRef
from paydown.sources.webhook import Batch, Request, parse, verify_signature

WHAT = "GitHub webhook"
TITLE_LIMIT = 2_000


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


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `X-Hub-Signature-256` over the body. Raises Unauthorized."""
    verify_signature(request, secrets)


def read(request: Request) -> Batch:
    """One TicketCreated for an issue that was opened, or for one that was labelled.

    The tracker is the repository's full name (`owner/name`). Of a labelled issue the label is the `queue`: which label
    hands an issue to automation stands in the inventory, so whoever reads the event compares.
    """
    what = request.header("x-github-event")
    if what is None:
        raise InvalidEvent(WHAT, [("header X-GitHub-Event", "Field required")])
    document = request.document()
    if what != "issues":
        return Batch(ignored=1)
    match parse(_Head, document, WHAT).action:
        case "opened":
            opened = parse(_Opened, document, WHAT)
            return Batch((_ticket(request, opened, opened.issue.created_at, None),))
        case "labeled":
            labeled = parse(_Labeled, document, WHAT)
            return Batch((_ticket(request, labeled, labeled.issue.updated_at, labeled.label.name),))
    return Batch(ignored=1)


def _ticket(request: Request, about: _Opened, at: Any, queue: str | None) -> TicketCreated:
    delivery = request.header("x-github-delivery")
    if delivery is None or not re.fullmatch(r"[0-9A-Za-z-]{1,128}", delivery):
        raise InvalidEvent(WHAT, [("header X-GitHub-Delivery", "Field required: the id of the delivery")])
    return TicketCreated(
        key=f"github:{delivery}",
        at=at,
        ticket=TicketRef(tracker=about.repository.full_name, id=str(about.issue.number)),
        title=about.issue.title[:TITLE_LIMIT],
        queue=queue,
        creator=about.issue.user.login if about.issue.user else None,
    )
