from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from paydown.errors import InvalidEvent
from paydown.events import ImagePushed
from paydown.sources.registry import read, verify
from paydown.sources.webhook import Request, Unauthorized
from tests.fixtures import payload

PUSHES = ["registry-push-tag-latest-first", "registry-push-tag-latest-overwritten", "registry-push-same-digest-again"]
OTHERS = [
    "registry-push-blob",
    "registry-mount-blob",
    "registry-pull-manifest",
    "registry-delete-manifest",
    "registry-push-oci-child-manifest-untagged",
]


def said(body, **query):
    return read(Request(json.dumps(body).encode(), query=query))


def without(path: str):
    body = payload("registry-push-tag-latest-overwritten")
    *parents, last = path.split(".")
    place = body["events"][0]
    for parent in parents:
        place = place[parent]
    del place[last]
    return body


def test_a_pushed_tag_is_an_event():
    (event,) = said(payload("registry-push-tag-latest-overwritten")).events
    assert event == ImagePushed(
        key="registry:4ec46292-daf2-4ed7-9504-7b4d9dd09855",
        at=datetime(2026, 11, 22, 14, 46, 57, 43_764, tzinfo=UTC),
        registry="registry.example:5000",
        repository="feas/app",
        digest="sha256:9a42c71a4f902d741a8168738705c508dc18c347c4c11815679b956210e6a710",
        tag="latest",
    )


def test_an_index_is_an_event_by_its_tag():
    (event,) = said(payload("registry-push-oci-index")).events
    assert (event.repository, event.tag) == ("feas/multi", "2.0")


@pytest.mark.parametrize("name", OTHERS)
def test_what_moves_no_tag_is_ignored(name):
    batch = said(payload(name))
    assert (batch.events, batch.ignored, batch.faults) == ((), 1, ())


def test_a_tag_that_moves_there_and_back_is_three_facts():
    keys = {said(payload(name)).events[0].key for name in PUSHES}
    assert len(keys) == 3


def test_a_repeated_delivery_has_the_same_key():
    assert said(payload(PUSHES[0])) == said(payload(PUSHES[0]))


def test_the_address_may_name_the_registry():
    (event,) = said(payload(PUSHES[0]), registry="images.example").events
    assert event.registry == "images.example"


@pytest.mark.parametrize("path", ["id", "timestamp", "target.repository", "target.digest", "request.host", "action"])
def test_what_is_missing_is_named(path):
    assert [field for field, _ in said(without(path)).faults] == [f"events.0.{path}"]


@pytest.mark.parametrize(
    "path", ["actor", "source", "target.size", "target.mediaType", "target.references", "target.url"]
)
def test_what_is_not_needed_may_be_missing(path):
    assert len(said(without(path)).events) == 1


def test_a_registry_behind_a_proxy_needs_no_host():
    assert said(without("request"), registry="images.example").events[0].registry == "images.example"


def test_unknown_fields_are_tolerated():
    body = payload(PUSHES[0]) | {"extra": 1}
    body["events"][0] |= {"extra": {"deep": []}}
    assert said(body) == said(payload(PUSHES[0]))


def test_one_bad_notification_spoils_none_beside_it():
    body = payload(PUSHES[0])
    body["events"] += [{"action": "push", "target": {"tag": "x"}}, payload("registry-pull-manifest")["events"][0], 5]
    batch = said(body)
    assert (len(batch.events), batch.ignored) == (1, 1)
    assert {field for field, _ in batch.faults} == {
        "events.1.id",
        "events.1.timestamp",
        "events.1.target.repository",
        "events.1.target.digest",
        "events.3",
    }


def test_a_configured_name_that_is_too_long_is_a_fault():
    assert [field for field, _ in said(payload(PUSHES[0]), registry="x" * 600).faults] == ["events.0.registry"]


@pytest.mark.parametrize("body", [{}, {"events": None}, {"events": {}}])
def test_a_body_without_its_events_names_them(body):
    with pytest.raises(InvalidEvent) as caught:
        said(body)
    assert [field for field, _ in caught.value.faults] == ["events"]


def test_the_values_of_a_faulty_body_are_not_repeated():
    body = payload(PUSHES[0])
    body["events"][0]["target"] |= {"digest": "s3cret", "repository": {"s3cret": 1}}
    body["events"][0]["timestamp"] = "s3cret"
    batch = said(body)
    assert len(batch.faults) == 3
    assert "s3cret" not in str(batch)


def test_the_registry_proves_itself_by_a_token():
    verify(Request(b"", {"authorization": ["Bearer s"]}), ["s"])
    verify(Request(b"", {"x-paydown-token": ["s"]}), ["s"])
    with pytest.raises(Unauthorized):
        verify(Request(b"", {"x-paydown-token": ["t"]}), ["s"])
