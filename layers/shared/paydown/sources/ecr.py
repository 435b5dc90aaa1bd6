"""Amazon ECR's own envelopes on the default event bus: a tag that was pushed, an image that was scanned.

The shapes are those of the ECR user's guide ("Amazon ECR events and EventBridge"); they are sent on a best effort
basis. A push is one envelope for each tag, with one `image-tag`, which is missing or empty for a push by digest: the
children of an index. A deletion moves no tag to an image, and is no event. A basic scan is one envelope for each image,
with all of its `image-tags`, of which there may be none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.events import Digest, ImagePushed, ImageScanned, Name, severities_of

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


class _Envelope(BaseModel):
    id: str = Field(min_length=1, max_length=255)
    time: AwareDatetime
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]

    @property
    def registry(self) -> str:
        """As in the names of its images."""
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"{self.account}.dkr.ecr.{self.region}.{domain}"


class ImageAction(_Envelope):
    """ECR's `ECR Image Action`."""

    detail: _Detail


class ImageScan(_Envelope):
    """ECR's `ECR Image Scan`: the end of a basic scan."""

    detail: _ScanDetail


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
