from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.errors import InvalidEvent
from paydown.events import ImagePushed, ImageScanned
from paydown.sources.harbor import read, verify
from paydown.sources.webhook import Batch, Request, TooLarge, Unauthorized
from tests.fixtures import payload

DEFAULT, CLOUD = "harbor-push-default", "harbor-push-cloudevents"
DIGEST = "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4"


def said(body: Any, **query: str) -> Batch:
    return read(Request(json.dumps(body).encode(), query=query))


@pytest.mark.parametrize(
    ("name", "at"),
    [
        (DEFAULT, datetime(2023, 4, 3, 6, 4, 53, tzinfo=UTC)),
        (CLOUD, datetime(2023, 4, 3, 6, 4, 53, tzinfo=UTC)),
    ],
)
def test_a_pushed_tag_is_an_event_in_both_formats(name: str, at: datetime) -> None:
    (event,) = said(payload(name)).events
    assert isinstance(event, ImagePushed)
    assert (event.registry, event.repository, event.tag) == ("harbor.example", "library/alpine", "3.17")
    assert (event.digest, event.at) == (DIGEST, at)


def test_the_id_of_a_cloud_event_is_the_key_and_otherwise_the_time_and_what_was_pushed() -> None:
    (cloud,), (default,) = said(payload(CLOUD)).events, said(payload(DEFAULT)).events
    assert cloud.key.startswith("harbor:4b2f89a6-548d-4c12-9993-a1f5790b97d2:")
    assert default.key.startswith("harbor:1680501893:")
    assert said(payload(DEFAULT)).events == (default,)
    later = payload(DEFAULT) | {"occur_at": 1680501894}
    assert said(later).events[0].key != default.key


def test_two_tags_of_one_push_have_two_keys() -> None:
    body = payload(CLOUD)
    [first] = body["data"]["resources"]
    body["data"]["resources"].append(first | {"tag": "latest"})
    assert len({event.key for event in said(body).events}) == 2


@pytest.mark.parametrize("name", ["harbor-push-default-untagged", "harbor-delete-default"])
def test_what_moves_no_tag_is_ignored(name: str) -> None:
    batch = said(payload(name))
    assert (batch.events, batch.ignored, batch.faults) == ((), 1, ())


def test_the_address_may_name_the_registry() -> None:
    (event,) = said(payload(DEFAULT), registry="images.example:8443").events
    assert isinstance(event, ImagePushed)
    assert event.registry == "images.example:8443"


@pytest.mark.parametrize("address", ["library/alpine:3.17", "harbor.example", "/library/alpine", "x/y/alpine:1"])
def test_an_address_that_names_no_registry(address: str) -> None:
    body = payload(DEFAULT)
    body["event_data"]["resources"][0]["resource_url"] = address
    batch = said(body)
    assert batch.events == ()
    assert [path for path, _ in batch.faults] == ["event_data.resources.0.resource_url"]
    assert said(body, registry="harbor.example").events != ()


@pytest.mark.parametrize("broken", [{}, {"type": 5}, {"type": "PUSH_ARTIFACT"}, {"type": "harbor.artifact.pushed"}])
def test_a_body_that_is_not_understood(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        said(broken)


SCANS = ("harbor-scanning-completed-default", "harbor-scanning-completed-cloudevents")


@pytest.mark.parametrize(
    ("name", "tags", "findings"),
    [
        (SCANS[0], (), {"critical": 1, "high": 3, "low": 5, "negligible": 2}),
        (SCANS[1], ("3.17",), {}),
    ],
)
def test_a_scan_is_an_event_in_both_formats(name: str, tags: tuple[str, ...], findings: dict[str, int]) -> None:
    (event,) = said(payload(name)).events
    assert isinstance(event, ImageScanned)
    assert (event.registry, event.repository, event.digest) == ("harbor.example", "library/alpine", DIGEST)
    assert (event.tags, event.findings) == (tags, findings)
    assert event.key.startswith("harbor:")


def overview(body: Any) -> Any:
    return body["data"]["resources"][0]["scan_overview"]


def test_a_scan_that_failed_says_nothing() -> None:
    body = payload(SCANS[1])
    next(iter(overview(body).values()))["scan_status"] = "Error"
    assert said(body).events == ()


def test_of_several_reports_the_worst_counts() -> None:
    body = payload(SCANS[1])
    overview(body)["application/vnd.other.report"] = {"scan_status": "Success", "severity": "Critical"}
    overview(body)["application/vnd.third"] = {"scan_status": "Success", "summary": {"summary": {"Odd": 2}}}
    (event,) = said(body).events
    assert isinstance(event, ImageScanned)
    assert event.findings == {"critical": 1, "unknown": 2}


def test_a_scan_without_a_result_is_not_understood() -> None:
    body = payload(SCANS[1])
    del body["data"]["resources"][0]["scan_overview"]
    batch = said(body)
    assert (batch.events, [path for path, _ in batch.faults]) == ((), ["data.resources.0.scan_overview"])


@pytest.mark.parametrize("moment", [-1, 1e30, "soon"])
def test_a_moment_that_is_none(moment: Any) -> None:
    with pytest.raises(InvalidEvent):
        said(payload(DEFAULT) | {"occur_at": moment})


def test_one_bad_resource_spoils_none_beside_it() -> None:
    body = payload(CLOUD)
    body["data"]["resources"].append({"digest": "<script>", "tag": "1"})
    batch = said(body)
    assert len(batch.events) == 1
    assert {path for path, _ in batch.faults} >= {"data.resources.1.digest", "data.resources.1.resource_url"}


def test_too_many_resources() -> None:
    body = payload(CLOUD)
    body["data"]["resources"] *= 1_001
    with pytest.raises(TooLarge):
        said(body)


def test_the_header_proves_the_sender() -> None:
    verify(Request(b"", {"authorization": ["Bearer s3cret"]}), ["old", "s3cret"])
    for header in ("Bearer wrong", "s3cret", ""):
        with pytest.raises(Unauthorized):
            verify(Request(b"", {"authorization": [header]}), ["s3cret"])
