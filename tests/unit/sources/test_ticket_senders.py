from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from paydown.errors import InvalidEvent
from paydown.events import TicketCommented, TicketCreated, TicketRef
from paydown.sources import github, roundup
from paydown.sources.webhook import Request, Unauthorized
from tests.fixtures import payload

DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def from_github(body, event="issues", delivery=DELIVERY):
    given = {"x-github-event": event, "x-github-delivery": delivery}
    return github.read(Request(json.dumps(body).encode(), {name: [value] for name, value in given.items() if value}))


def from_roundup(body):
    return roundup.read(Request(json.dumps(body).encode()))


def faults_of(read, *arguments, **more):
    with pytest.raises(InvalidEvent) as caught:
        read(*arguments, **more)
    return [field for field, _ in caught.value.faults]


def test_an_opened_issue_is_a_ticket():
    assert from_github(payload("github-issue-opened")).events == (
        TicketCreated(
            key=f"github:{DELIVERY}",
            at=datetime(2026, 11, 22, 15, 20, 18, tzinfo=UTC),
            ticket=TicketRef(tracker="acme/shop", id="7"),
            title="Disk of build-1 is full",
            creator="octocat",
        ),
    )


def test_a_labelled_issue_has_the_label_as_its_queue_and_the_time_of_the_change():
    (event,) = from_github(payload("github-issue-labeled")).events
    assert (event.queue, event.creator, event.actor) == ("automation", "octocat", "hubot")
    assert event.at == datetime(2026, 11, 22, 16, 1, 44, tzinfo=UTC)


def test_a_redelivery_has_the_same_key_and_another_delivery_another():
    issue = payload("github-issue-opened")
    assert from_github(issue) == from_github(issue)
    assert from_github(issue).events[0].key != from_github(issue, delivery="x").events[0].key


@pytest.mark.parametrize("action", ["closed", "edited", "unlabeled", "assigned", "deleted"])
def test_other_changes_of_an_issue_are_ignored(action):
    batch = from_github(payload("github-issue-opened") | {"action": action})
    assert (batch.events, batch.ignored) == ((), 1)


@pytest.mark.parametrize("event", ["ping", "push", "pull_request_review_comment"])
def test_other_events_of_github_are_ignored(event):
    batch = from_github(payload("github-ping"), event=event)
    assert (batch.events, batch.ignored) == ((), 1)


def test_githubs_headers_are_named_when_they_are_missing():
    assert faults_of(from_github, payload("github-issue-opened"), event="") == ["header X-GitHub-Event"]
    assert faults_of(from_github, payload("github-issue-opened"), delivery="") == ["header X-GitHub-Delivery"]
    assert faults_of(from_github, payload("github-issue-opened"), delivery="a b") == ["header X-GitHub-Delivery"]


@pytest.mark.parametrize("path", ["issue", "issue.number", "issue.title", "issue.created_at", "repository.full_name"])
def test_what_is_missing_in_an_issue_is_named(path):
    body = payload("github-issue-opened")
    *parents, last = path.split(".")
    place = body
    for parent in parents:
        place = place[parent]
    del place[last]
    assert faults_of(from_github, body) == [path]


def test_a_labelled_issue_without_its_label_names_it():
    body = payload("github-issue-labeled")
    del body["label"]
    assert faults_of(from_github, body) == ["label"]


def test_an_issue_of_a_deleted_user_has_no_creator():
    body = payload("github-issue-opened")
    body["issue"]["user"] = None
    assert from_github(body).events[0].creator is None


def test_a_new_issue_in_roundup_is_a_ticket():
    assert from_roundup(payload("roundup-issue-created")).events == (
        TicketCreated(
            key="roundup:helpdesk:0b7e3a4c5d6f708192a3b4c5d6e7f809",
            at=datetime(2026, 11, 22, 14, 56, 17, tzinfo=UTC),
            ticket=TicketRef(tracker="helpdesk", id="1"),
            title="Node worker-1 NotReady",
            creator="admin",
        ),
    )


def test_an_issue_that_was_moved_names_the_queue():
    moved = payload("roundup-issue-created") | {"event": "issue.moved", "queue": "automation", "delivery": "2"}
    (event,) = from_roundup(moved | {"actor": "ann"}).events
    assert (event.queue, event.creator, event.actor) == ("automation", "admin", "ann")


def test_an_issue_that_was_born_in_the_queue_was_put_there_by_who_made_it():
    born = payload("roundup-issue-created") | {"queue": "automation", "actor": "admin"}
    (event,) = from_roundup(born).events
    assert (event.queue, event.actor) == ("automation", "admin")
    (elsewhere,) = from_roundup(born | {"queue": None}).events
    assert (elsewhere.queue, elsewhere.actor) == (None, None)


def test_two_trackers_may_use_the_same_delivery_ids():
    one = payload("roundup-issue-created")
    assert from_roundup(one).events[0].key != from_roundup(one | {"tracker": "other"}).events[0].key


DECISION = "/approve 0123456789ab"


def test_a_comment_that_decides_is_announced_without_its_text():
    (event,) = from_github(payload("github-issue-comment-created"), event="issue_comment").events
    assert event == TicketCommented(
        key=f"github:{DELIVERY}",
        at=datetime(2026, 11, 22, 16, 31, 2, tzinfo=UTC),
        ticket=TicketRef(tracker="acme/shop", id="7"),
        comment="1918273645",
    )
    assert "octocat" not in event.model_dump_json()


@pytest.mark.parametrize("body", ["Thanks!", f"> {DECISION}", None, "", f"Say {DECISION}"])
def test_a_comment_that_decides_nothing_is_ignored(body):
    commented = payload("github-issue-comment-created")
    commented["comment"]["body"] = body
    batch = from_github(commented, event="issue_comment")
    assert (batch.events, batch.ignored) == ((), 1)


@pytest.mark.parametrize("action", ["edited", "deleted"])
def test_a_comment_that_was_changed_is_no_event(action):
    commented = payload("github-issue-comment-created") | {"action": action}
    assert from_github(commented, event="issue_comment").events == ()


@pytest.mark.parametrize("path", ["issue", "issue.number", "comment", "comment.id", "comment.created_at", "repository"])
def test_what_is_missing_in_a_comment_is_named(path):
    body = payload("github-issue-comment-created")
    *parents, last = path.split(".")
    place = body
    for parent in parents:
        place = place[parent]
    del place[last]
    assert faults_of(from_github, body, event="issue_comment") == [path]


def test_a_comment_in_roundup_that_decides():
    commented = payload("roundup-issue-created") | {"event": "issue.commented", "comment": "31"}
    assert from_roundup(commented).events == (
        TicketCommented(
            key="roundup:helpdesk:0b7e3a4c5d6f708192a3b4c5d6e7f809",
            at=datetime(2026, 11, 22, 14, 56, 17, tzinfo=UTC),
            ticket=TicketRef(tracker="helpdesk", id="1"),
            comment="31",
        ),
    )
    for wrong in (None, "../1", "0", 31):
        assert faults_of(from_roundup, commented | {"comment": wrong}) == ["comment"]


def test_another_event_of_the_detector_is_ignored():
    assert from_roundup({"event": "issue.closed"}).ignored == 1


@pytest.mark.parametrize("path", ["event", "delivery", "tracker", "id", "at", "title"])
def test_what_is_missing_in_a_roundup_event_is_named(path):
    body = payload("roundup-issue-created")
    del body[path]
    assert faults_of(from_roundup, body) == [path]


@pytest.mark.parametrize("read", [from_github, from_roundup])
def test_a_long_title_is_cut(read):
    body = payload("github-issue-opened") | payload("roundup-issue-created") | {"title": "x" * 5_000}
    body["issue"]["title"] = "x" * 5_000
    assert read(body).events[0].title == "x" * 2_000


@pytest.mark.parametrize("sender", [github, roundup])
def test_ticket_systems_sign_the_body(sender):
    signature = "sha256=" + hmac.new(b"s", b"{}", hashlib.sha256).hexdigest()
    sender.verify(Request(b"{}", {"x-hub-signature-256": [signature]}), ["s"])
    with pytest.raises(Unauthorized):
        sender.verify(Request(b"{ }", {"x-hub-signature-256": [signature]}), ["s"])
