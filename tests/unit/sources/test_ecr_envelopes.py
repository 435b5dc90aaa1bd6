from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.errors import InvalidEvent
from paydown.events import ImagePushed, ImageScanned
from paydown.sources.aws import from_envelope
from tests.fixtures import payload

DIGEST = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12345678"


def changed(name: str, region: str | None = None, **detail: Any) -> dict[str, Any]:
    """A payload with other details; those that are None are left out."""
    envelope: dict[str, Any] = payload(name)
    said = envelope["detail"] | detail
    place = {"region": region} if region else {}
    return envelope | place | {"detail": {key: value for key, value in said.items() if value is not None}}


def action(region: str | None = None, **detail: Any) -> dict[str, Any]:
    return changed("ecr-image-action-push", region, **detail)


def scan(**detail: Any) -> dict[str, Any]:
    return changed("ecr-image-scan-basic", **detail)


def enhanced(**detail: Any) -> dict[str, Any]:
    return changed("ecr-image-scan-enhanced", **detail)


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
    "envelope",
    [
        payload("ecr-image-action-delete"),
        action(result="FAILURE"),
        action(**{"image-tag": ""}),
        action(**{"image-tag": None}),
    ],
)
def test_what_moves_no_tag_to_an_image_is_no_event(envelope: dict[str, Any]) -> None:
    assert from_envelope(envelope) is None


@pytest.mark.parametrize("detail", [{"image-digest": "latest"}, {"repository-name": ""}, {"action-type": None}])
def test_an_action_that_is_not_understood(detail: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="ECR Image Action"):
        from_envelope(action(**detail))


def test_an_account_that_would_change_an_address() -> None:
    with pytest.raises(InvalidEvent):
        from_envelope(action() | {"account": "evil.example/"})


def test_a_scan_that_ended_is_an_event() -> None:
    assert from_envelope(scan()) == ImageScanned(
        key="ecr:85fc3613-e913-7fc4-a80c-a3753e4aa9ae",
        at=datetime(2019, 10, 29, 2, 36, 48, tzinfo=UTC),
        registry="123456789012.dkr.ecr.us-east-1.amazonaws.com",
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


def test_the_first_enhanced_scan_is_an_event_and_a_sum_is_no_severity() -> None:
    assert from_envelope(enhanced()) == ImageScanned(
        key="inspector:739c0d3c-4f02-85c7-5a88-94a9f1c3b0d2",
        at=datetime(2021, 12, 3, 18, 3, 16, tzinfo=UTC),
        registry="123456789012.dkr.ecr.us-east-2.amazonaws.com",
        repository="team/app",
        digest=DIGEST,
        tags=("latest",),
        findings={"critical": 7, "high": 61, "medium": 62},
    )


def test_an_enhanced_scan_is_of_the_account_that_the_repository_is_in() -> None:
    place = "arn:aws-cn:ecr:cn-north-1:210987654321:repository/team/app"
    event = from_envelope(enhanced(**{"repository-name": place}))
    assert isinstance(event, ImageScanned)
    assert event.registry == "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    "detail",
    [
        {"scan-status": "SCAN_ELIGIBILITY_EXPIRED"},
        {"repository-name": None},
        {"repository-name": "arn:aws:lambda:us-east-2:123456789012:function:f"},
        {"repository-name": "arn:aws:ecr:us-east-2:evil.example/:repository/a"},
        {"image-digest": None},
    ],
)
def test_what_else_inspector_scans_is_no_event(detail: dict[str, Any]) -> None:
    assert from_envelope(enhanced(**detail)) is None


@pytest.mark.parametrize("detail", [{"scan-status": None}, {"finding-severity-counts": {"HIGH": "many"}}])
def test_an_enhanced_scan_that_is_not_understood(detail: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="Inspector2 Scan"):
        from_envelope(enhanced(**detail))
