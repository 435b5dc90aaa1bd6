from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.errors import InvalidEvent
from paydown.events import ImagePushed, ImageScanned
from paydown.sources.aws import from_envelope

DIGEST = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234"


def action(region: str = "us-west-2", **detail: Any) -> dict[str, Any]:
    """The push of the ECR user's guide."""
    said = {
        "result": "SUCCESS",
        "repository-name": "my-repository-name",
        "image-digest": DIGEST,
        "action-type": "PUSH",
        "image-tag": "latest",
    } | detail
    return {
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "123456789012",
        "time": "2019-11-16T01:54:34Z",
        "region": region,
        "resources": [],
        "detail": {name: value for name, value in said.items() if value is not None},
    }


def test_a_pushed_tag_is_an_event() -> None:
    assert from_envelope(action()) == ImagePushed(
        key="ecr:13cde686-328b-6117-af20-0e5566167482",
        at=datetime(2019, 11, 16, 1, 54, 34, tzinfo=UTC),
        registry="123456789012.dkr.ecr.us-west-2.amazonaws.com",
        repository="my-repository-name",
        digest=DIGEST,
        tag="latest",
    )


def test_china_has_a_domain_of_its_own() -> None:
    event = from_envelope(action(region="cn-north-1"))
    assert isinstance(event, ImagePushed)
    assert event.registry == "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    "detail", [{"action-type": "DELETE"}, {"result": "FAILURE"}, {"image-tag": ""}, {"image-tag": None}]
)
def test_what_moves_no_tag_to_an_image_is_no_event(detail: dict[str, Any]) -> None:
    assert from_envelope(action(**detail)) is None


@pytest.mark.parametrize("detail", [{"image-digest": "latest"}, {"repository-name": ""}, {"action-type": None}])
def test_an_action_that_is_not_understood(detail: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="ECR Image Action"):
        from_envelope(action(**detail))


def test_an_account_that_would_change_an_address() -> None:
    with pytest.raises(InvalidEvent):
        from_envelope(action() | {"account": "evil.example/"})


def scan(**detail: Any) -> dict[str, Any]:
    """The scan of the ECR user's guide, with a digest of full length."""
    said = {
        "scan-status": "COMPLETE",
        "repository-name": "my-repository-name",
        "finding-severity-counts": {"CRITICAL": 10, "MEDIUM": 9, "INFORMATIONAL": 2, "UNDEFINED": 1},
        "image-digest": DIGEST,
        "image-tags": ["latest", "1.0"],
    } | detail
    return {**action(), "detail-type": "ECR Image Scan", "detail": said}


def test_a_scan_that_ended_is_an_event() -> None:
    assert from_envelope(scan()) == ImageScanned(
        key="ecr:13cde686-328b-6117-af20-0e5566167482",
        at=datetime(2019, 11, 16, 1, 54, 34, tzinfo=UTC),
        registry="123456789012.dkr.ecr.us-west-2.amazonaws.com",
        repository="my-repository-name",
        digest=DIGEST,
        tags=("latest", "1.0"),
        findings={"critical": 10, "medium": 9, "negligible": 2, "unknown": 1},
    )


def test_a_scan_of_an_image_without_tags_and_without_findings() -> None:
    event = from_envelope(scan(**{"image-tags": [], "finding-severity-counts": {}}))
    assert isinstance(event, ImageScanned)
    assert (event.tags, event.findings) == ((), {})


def test_a_scan_that_failed_is_no_event() -> None:
    assert from_envelope(scan(**{"scan-status": "FAILED"})) is None


@pytest.mark.parametrize(
    "detail", [{"scan-status": None}, {"finding-severity-counts": {"HIGH": -1}}, {"image-tags": "latest"}]
)
def test_a_scan_that_is_not_understood(detail: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="ECR Image Scan"):
        from_envelope(scan(**detail))


def test_of_many_tags_the_first_hundred_are_told() -> None:
    event = from_envelope(scan(**{"image-tags": [f"t{n}" for n in range(300)]}))
    assert isinstance(event, ImageScanned)
    assert len(event.tags) == 100
