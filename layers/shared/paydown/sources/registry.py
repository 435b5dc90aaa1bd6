"""Notifications of a CNCF Distribution registry (`docker-registry`): a tag that was pushed.

Captured from 2.8.2. The registry signs nothing: it sends the static headers of its endpoint's configuration. Only a
manifest or an index can carry a tag; the children of an index come before it, without one, and move no tag.

The key is the registry's event id, which a repeated delivery keeps. Repository, tag and digest would not do: a tag that
moves from A to B and back to A is three facts, and the third says that B dangles now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, StringConstraints

from paydown.errors import InvalidEvent
from paydown.events import Digest, ImagePushed, Name
from paydown.sources.webhook import Batch, Request, parse, read_each, verify_bearer

WHAT = "registry notification"


class _Body(BaseModel):
    events: list[Any]


class _Tagged(BaseModel):
    tag: Any = None


class _Head(BaseModel):
    action: str
    target: _Tagged = _Tagged()


class _Target(BaseModel):
    repository: Name
    digest: Digest
    tag: Name


class _Origin(BaseModel):
    host: Name | None = None


class _Push(BaseModel):
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    timestamp: AwareDatetime
    target: _Target
    request: _Origin = _Origin()


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `Authorization: Bearer SECRET`, or by `X-Paydown-Token: SECRET`. Raises Unauthorized."""
    verify_bearer(request, secrets, header="x-paydown-token")


def read(request: Request) -> Batch:
    """One ImagePushed for each tag that was pushed.

    The registry is called as in the request that pushed (`request.host`); `?registry=NAME` in the endpoint's address
    overrides it, for a registry behind a proxy that hides its name.
    """
    configured = request.query.get("registry")
    return read_each(
        parse(_Body, request.document(), WHAT).events, "events", lambda notification: _read(notification, configured)
    )


def _read(notification: Any, configured: str | None) -> ImagePushed | None:
    head = parse(_Head, notification, WHAT)
    if head.action != "push" or not head.target.tag:
        return None
    push = parse(_Push, notification, WHAT)
    registry = configured or push.request.host
    if registry is None:
        raise InvalidEvent(WHAT, [("request.host", "Field required, here or as ?registry= in the endpoint's address")])
    return ImagePushed(
        key=f"registry:{push.id}",
        at=push.timestamp,
        registry=registry,
        repository=push.target.repository,
        digest=push.target.digest,
        tag=push.target.tag,
    )
