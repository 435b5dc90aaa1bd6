"""Amazon ECR's own envelopes on the default event bus: a tag that was pushed.

The shapes are those of the ECR user's guide ("Amazon ECR events and EventBridge"); they are sent on a best effort
basis. A push is one envelope for each tag, with one `image-tag`, which is missing or empty for a push by digest: the
children of an index. A deletion moves no tag to an image, and a scan tells of an image whose push was told: neither is
an event.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.events import Digest, ImagePushed, Name


class _Detail(BaseModel):
    action: str = Field(alias="action-type")
    result: str
    repository: Name = Field(alias="repository-name")
    digest: Digest = Field(alias="image-digest")
    tag: str | None = Field(None, alias="image-tag", max_length=512)


class ImageAction(BaseModel):
    """ECR's `ECR Image Action`."""

    id: str = Field(min_length=1, max_length=255)
    time: AwareDatetime
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
    detail: _Detail


def image_pushed(action: ImageAction) -> ImagePushed | None:
    """The push of a tag; None for anything else. The registry is called as in the names of its images."""
    detail = action.detail
    if (detail.action, detail.result) != ("PUSH", "SUCCESS") or not detail.tag:
        return None
    domain = "amazonaws.com.cn" if action.region.startswith("cn-") else "amazonaws.com"
    return ImagePushed(
        key=f"ecr:{action.id}",
        at=action.time,
        registry=f"{action.account}.dkr.ecr.{action.region}.{domain}",
        repository=detail.repository,
        digest=detail.digest,
        tag=detail.tag,
    )
