"""Harbor's webhooks, in both of its formats: a tag that was pushed, an artifact that was scanned.

The shapes are those of Harbor's documentation ("Configure Webhook Notifications", 2.8 and later): `Default`, and
`CloudEvents`, whose `data` is what the other calls `event_data`. Harbor signs nothing: it sends the value of its field
`Auth Header` as `Authorization`. Of an artifact without a tag, `tag` holds the digest: that moves no tag. A scan tells
its result in `scan_overview`, one entry for each kind of report: of each severity the largest count is taken.

A CloudEvents id stays the same when a delivery is repeated. The default format has none, so its key is made from what
was pushed or scanned, and the second in which it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.errors import InvalidEvent
from paydown.events import Digest, ImagePushed, ImageScanned, Name, severities_of
from paydown.sources.webhook import Batch, Request, parse, read_each, verify_bearer

WHAT = "Harbor webhook"
PUSHES = ("PUSH_ARTIFACT", "harbor.artifact.pushed")
SCANS = ("SCANNING_COMPLETED", "harbor.scan.completed")


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


class _Counts(BaseModel):
    summary: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict, max_length=50)


class _Report(BaseModel):
    status: str = Field(alias="scan_status")
    severity: str | None = Field(None, max_length=64)
    counts: _Counts | None = Field(None, alias="summary")


class _Scanned(BaseModel):
    digest: Digest
    tag: Name | None = None
    address: Name = Field(alias="resource_url")
    reports: dict[str, _Report] = Field(alias="scan_overview", max_length=20)


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `Authorization: Bearer SECRET`, as Harbor's field `Auth Header` says it. Raises Unauthorized."""
    verify_bearer(request, secrets)


def read(request: Request) -> Batch:
    """One ImagePushed for each tag that was pushed, one ImageScanned for each artifact that was scanned.

    The registry is called as in the image's address (`resource_url`); `?registry=NAME` in the endpoint overrides it.
    """
    document = request.document()
    kind = parse(_Head, document, WHAT).type
    if kind not in (*PUSHES, *SCANS):
        return Batch(ignored=1)
    cloud = "specversion" in document
    body = parse(_CloudEvent, document, WHAT) if cloud else parse(_Default, document, WHAT)
    configured = request.query.get("registry")
    path = "data.resources" if cloud else "event_data.resources"
    one = _pushed if kind in PUSHES else _scanned
    return read_each(body.data.resources, path, lambda resource: one(resource, body, configured))


def _pushed(resource: Any, push: _Default | _CloudEvent, configured: str | None) -> ImagePushed | None:
    pushed = parse(_Resource, resource, WHAT)
    if pushed.tag == pushed.digest:
        return None
    repository = push.data.repository.full_name
    return ImagePushed(
        key=_key(push, f"{repository}@{pushed.digest}:{pushed.tag}"),
        at=push.moment,
        registry=_registry(pushed.address, repository, configured),
        repository=repository,
        digest=pushed.digest,
        tag=pushed.tag,
    )


def _scanned(resource: Any, body: _Default | _CloudEvent, configured: str | None) -> ImageScanned | None:
    scanned = parse(_Scanned, resource, WHAT)
    ended = [report for report in scanned.reports.values() if report.status == "Success"]
    if not ended:
        return None  # a scan that failed says nothing of the image
    findings: dict[Any, int] = {}
    for report in ended:
        counts = severities_of(report.counts.summary if report.counts else {})
        if report.severity not in (None, "None"):
            # The worst, which a report of another shape tells without its counts.
            counts = {**severities_of({report.severity or "": 1}), **counts}
        findings |= {severity: max(count, findings.get(severity, 0)) for severity, count in counts.items()}
    repository = body.data.repository.full_name
    tagged = scanned.tag is not None and scanned.tag != scanned.digest
    return ImageScanned(
        key=_key(body, f"scan:{repository}@{scanned.digest}:{scanned.tag}"),
        at=body.moment,
        registry=_registry(scanned.address, repository, configured),
        repository=repository,
        digest=scanned.digest,
        tags=(scanned.tag,) if tagged and scanned.tag else (),
        findings=findings,
    )


def _registry(address: str, repository: str, configured: str | None) -> str:
    registry, slash, rest = address.partition("/")
    if configured is None and not (slash and registry and rest.startswith(repository)):
        fault = "must be the registry, a slash and the repository; or name the registry by ?registry= in the endpoint"
        raise InvalidEvent(WHAT, [("resource_url", fault)])
    return configured or registry


def _key(body: _Default | _CloudEvent, said: str) -> str:
    event = body.id if isinstance(body, _CloudEvent) else str(body.at)
    return f"harbor:{event}:{hashlib.sha256(said.encode()).hexdigest()[:32]}"
