"""Harbor's webhooks, in both of its formats: a tag that was pushed.

The shapes are those of Harbor's documentation ("Configure Webhook Notifications", 2.8 and later): `Default`, and
`CloudEvents`, whose `data` is what the other calls `event_data`. Harbor signs nothing: it sends the value of its field
`Auth Header` as `Authorization`. Of an artifact without a tag, `tag` holds the digest: that moves no tag.

A CloudEvents id stays the same when a delivery is repeated. The default format has none, so its key is made from what
was pushed, and the second in which it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.errors import InvalidEvent
from paydown.events import Digest, ImagePushed, Name
from paydown.sources.webhook import Batch, Request, parse, read_each, verify_bearer

WHAT = "Harbor webhook"
PUSHES = ("PUSH_ARTIFACT", "harbor.artifact.pushed")


class _Head(BaseModel):
    type: str


class _Repository(BaseModel):
    full_name: Name = Field(alias="repo_full_name")


class _Data(BaseModel):
    resources: list[Any]
    repository: _Repository


class _Default(BaseModel):
    at: int = Field(alias="occur_at", ge=0, le=253_402_300_799)  # seconds, to the end of the year 9999
    data: _Data = Field(alias="event_data")

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


class _CloudEvent(BaseModel):
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    at: AwareDatetime = Field(alias="time")
    data: _Data

    @property
    def moment(self) -> datetime:
        return self.at


class _Resource(BaseModel):
    digest: Digest
    tag: Name
    address: Name = Field(alias="resource_url")


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `Authorization: Bearer SECRET`, as Harbor's field `Auth Header` says it. Raises Unauthorized."""
    verify_bearer(request, secrets)


def read(request: Request) -> Batch:
    """One ImagePushed for each tag that was pushed.

    The registry is called as in the image's address (`resource_url`); `?registry=NAME` in the endpoint overrides it.
    """
    document = request.document()
    if parse(_Head, document, WHAT).type not in PUSHES:
        return Batch(ignored=1)
    cloud = "specversion" in document
    push = parse(_CloudEvent, document, WHAT) if cloud else parse(_Default, document, WHAT)
    configured = request.query.get("registry")
    path = "data.resources" if cloud else "event_data.resources"
    return read_each(push.data.resources, path, lambda resource: _read(resource, push, configured))


def _read(resource: Any, push: _Default | _CloudEvent, configured: str | None) -> ImagePushed | None:
    pushed = parse(_Resource, resource, WHAT)
    if pushed.tag == pushed.digest:
        return None
    repository = push.data.repository.full_name
    registry, slash, rest = pushed.address.partition("/")
    if configured is None and not (slash and registry and rest.startswith(repository)):
        fault = "must be the registry, a slash and the repository; or name the registry by ?registry= in the endpoint"
        raise InvalidEvent(WHAT, [("resource_url", fault)])
    said = f"{repository}@{pushed.digest}:{pushed.tag}"
    event = push.id if isinstance(push, _CloudEvent) else str(push.at)
    return ImagePushed(
        key=f"harbor:{event}:{hashlib.sha256(said.encode()).hexdigest()[:32]}",
        at=push.moment,
        registry=configured or registry,
        repository=repository,
        digest=pushed.digest,
        tag=pushed.tag,
    )
