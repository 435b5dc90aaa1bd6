"""Amazon ECR's own envelopes on the default event bus, and Amazon Inspector's of ECR: a push of a tag, a scan.

The shapes are those of the ECR user's guide ("Amazon ECR events and EventBridge"); they are sent on a best effort
basis. A push is one envelope for each tag, with one `image-tag`, which is missing or empty for a push by digest: the
children of an index. A deletion moves no tag to an image, and is no event. A basic scan is one envelope for each image,
with all of its `image-tags`, of which there may be none.

An enhanced scan is told by Amazon Inspector (its user's guide, "Amazon EventBridge event schema"): once, when the first
one has ended. There `repository-name` is the repository's ARN, and the counts have their sum among them, as `TOTAL`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.events import Digest, ImagePushed, ImageScanned, Name, severities_of

_ARN = re.compile(
    r"arn:[a-z0-9-]{1,32}:ecr:(?P<region>[a-z0-9-]{1,64}):(?P<account>[0-9]{12}):repository/(?P<name>[a-z0-9._/-]{1,256})"
)
TAGS = 100
"""Of the tags of a scanned image, the first so many are told; each has a run of its own."""


class _Detail(BaseModel):
    action: str = Field(alias="action-type")
    result: str
    repository: Name = Field(alias="repository-name")
    digest: Digest = Field(alias="image-digest")
    tag: str | None = Field(None, alias="image-tag", max_length=512)


class _ScanDetail(BaseModel):
    status: str = Field(alias="scan-status")
    repository: Name = Field(alias="repository-name")
    digest: Digest = Field(alias="image-digest")
    tags: list[Name] = Field(default_factory=list, alias="image-tags", max_length=1_000)
    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, alias="finding-severity-counts", max_length=50
    )


class _FirstScanDetail(BaseModel):
    status: str = Field(alias="scan-status")
    repository: str | None = Field(None, alias="repository-name", max_length=512)
    digest: Digest | None = Field(None, alias="image-digest")
    tags: list[Name] = Field(default_factory=list, alias="image-tags", max_length=1_000)
    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, alias="finding-severity-counts", max_length=50
    )


class _Envelope(BaseModel):
    id: str = Field(min_length=1, max_length=255)
    time: AwareDatetime
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]

    @property
    def registry(self) -> str:
        """As in the names of its images."""
        return _registry(self.account, self.region)


class ImageAction(_Envelope):
    """ECR's `ECR Image Action`."""

    detail: _Detail


class ImageScan(_Envelope):
    """ECR's `ECR Image Scan`: the end of a basic scan."""

    detail: _ScanDetail


class InspectorScan(_Envelope):
    """Amazon Inspector's `Inspector2 Scan`: the end of the first enhanced scan of an image, or of what is none."""

    detail: _FirstScanDetail


def image_pushed(action: ImageAction) -> ImagePushed | None:
    """The push of a tag; None for anything else. The registry is called as in the names of its images."""
    detail = action.detail
    if (detail.action, detail.result) != ("PUSH", "SUCCESS") or not detail.tag:
        return None
    return ImagePushed(
        key=f"ecr:{action.id}",
        at=action.time,
        registry=action.registry,
        repository=detail.repository,
        digest=detail.digest,
        tag=detail.tag,
    )


def image_scanned(scan: ImageScan) -> ImageScanned | None:
    """A scan that came to its end; None for one that failed, which says nothing of the image."""
    detail = scan.detail
    if detail.status != "COMPLETE":
        return None
    return ImageScanned(
        key=f"ecr:{scan.id}",
        at=scan.time,
        registry=scan.registry,
        repository=detail.repository,
        digest=detail.digest,
        tags=tuple(detail.tags[:TAGS]),
        findings=severities_of(detail.counts),
    )


def first_scanned(scan: InspectorScan) -> ImageScanned | None:
    """The first enhanced scan of an image; None for what else Inspector scans, and for what came to no end."""
    detail = scan.detail
    place = _ARN.fullmatch(detail.repository or "")
    if detail.status != "INITIAL_SCAN_COMPLETE" or place is None or detail.digest is None:
        return None
    return ImageScanned(
        key=f"inspector:{scan.id}",
        at=scan.time,
        # That of the repository: who administers Inspector for others gets the events of their accounts as well.
        registry=_registry(place["account"], place["region"]),
        repository=place["name"],
        digest=detail.digest,
        tags=tuple(detail.tags[:TAGS]),
        findings=severities_of({word: count for word, count in detail.counts.items() if word.upper() != "TOTAL"}),
    )


def _registry(account: str, region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}"
