"""What is known of senders: when they were heard of, and what they told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paydown.clients import aws
from paydown.errors import PermanentError
from paydown.events import DiskPressure, ImagePushed, NodeNotReady, Sweep, TicketCreated, TicketRef
from paydown.ledger.sources_seen import BATCH, KEPT, Sources, Telling, open_sources, silences, telling_of

AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


class Counting:
    """A client of DynamoDB that counts the writes that came to pass."""

    def __init__(self, client) -> None:
        self._client = client
        self.exceptions = client.exceptions
        self.written = 0
        self.batches: list[int] = []

    def put_item(self, **request):
        answer = self._client.put_item(**request)
        self.written += 1
        return answer

    def batch_write_item(self, **request):
        self.batches.append(sum(map(len, request["RequestItems"].values())))
        return self._client.batch_write_item(**request)


@pytest.fixture
def client(ledger):
    return Counting(ledger.table._client)


@pytest.fixture
def sources(ledger, client):
    return Sources(ledger.table, client)


def pushed(number=0, tag="latest"):
    return ImagePushed(
        key=f"registry:{number}",
        at=AT + timedelta(seconds=number),
        registry="images.example",
        repository="team/app",
        digest=f"sha256:{number:064x}",
        tag=tag,
    )


def test_a_sender_is_noted_once_a_minute(sources, client, clock):
    assert sources.heard("registry") is None
    assert sources.hear("registry", clock())
    first = clock()
    for _ in range(5):
        assert not sources.hear("registry", clock.tick(10))
    assert (client.written, sources.heard("registry")) == (1, first)
    assert sources.hear("registry", clock.tick(11))
    assert (client.written, sources.heard("registry")) == (2, clock())


def test_each_sender_has_its_own_minute(sources, clock):
    assert sources.hear("registry", clock())
    assert sources.hear("alertmanager", clock())


def test_who_is_waited_for_is_noted_within_the_minute_and_once(sources, clock):
    sources.hear("github", clock())
    sources.expect("github")
    assert sources.heard("github") == clock()
    assert sources.hear("github", clock.tick(5))
    assert sources.heard("github") == clock()
    assert not sources.hear("github", clock.tick(5))


def test_who_was_never_heard_can_be_waited_for(sources, clock):
    sources.expect("github")
    assert sources.heard("github") is None
    assert sources.hear("github", clock())


@pytest.mark.parametrize(
    ("event", "subject", "value"),
    [
        (pushed(7), "images.example/team/app:latest", f"sha256:{7:064x}"),
        (pushed(7, None), None, None),
        (NodeNotReady(key="alertmanager:f:1", at=AT, cluster="demo", node="w"), "alertmanager:f:1", "firing"),
        (DiskPressure(key="alertmanager:f:2", at=AT, host="h"), "alertmanager:f:2", "firing"),
        (
            TicketCreated(key="k", at=AT, ticket=TicketRef(tracker="owner/repo", id="7"), queue="auto"),
            "owner/repo/7/auto",
            "queued",
        ),
        (TicketCreated(key="k", at=AT, ticket=TicketRef(tracker="helpdesk", id="7")), "helpdesk/7/", "queued"),
        (Sweep(key="k", at=AT, rule="nightly"), None, None),
    ],
)
def test_what_an_event_says_of_what(event, subject, value):
    telling = telling_of(event)
    assert telling == (None if subject is None else Telling(subject, value, event.at.isoformat()))


def test_what_was_told_last_is_known_until_it_is_forgotten(sources, clock):
    sources.note("registry", [pushed(1), pushed(2), pushed(3, "v1")], clock())
    known = sources.told("registry", ["images.example/team/app:latest", "images.example/team/app:v1", "other"])
    assert {subject: told.value[-1] for subject, told in known.items()} == {
        "images.example/team/app:latest": "2",
        "images.example/team/app:v1": "3",
    }
    assert {told.expires for told in known.values()} == {int((clock() + KEPT).timestamp())}
    assert sources.told("github", known) == {}
    assert sources.heard("registry") == clock()


def test_a_webhook_leaves_one_batch_however_many_events_it_has(sources, client, clock):
    sources.note("registry", [pushed(number, f"v{number}") for number in range(200)], clock())
    assert client.batches == [BATCH]


def test_a_reconcile_may_tell_of_many_and_ask_for_many(sources, client, clock):
    tellings = [Telling(f"alert-{number}", "firing", "") for number in range(130)]
    sources.tell("alertmanager", tellings, clock())
    assert len(sources.told("alertmanager", [one.subject for one in tellings])) == 130
    assert client.batches == [25] * 5 + [5]


def test_a_subject_that_is_too_long_for_a_key_is_known_all_the_same(sources, clock):
    long, other = "ü" * 900, "ü" * 901
    sources.tell("registry", [Telling(long, "a", "")], clock())
    assert set(sources.told("registry", [long, other])) == {long}


def test_a_cursor_is_as_it_was_left(sources):
    assert sources.cursor("registry", "uid") == {}
    sources.move_cursor("registry", "uid", {"after": "team/app", "learning": False})
    assert sources.cursor("registry", "uid") == {"after": "team/app", "learning": False}
    assert sources.cursor("registry", "other") == {}


def test_a_ledger_that_refuses_is_an_error_of_ours(ledger, client, clock):
    sources = Sources(type(ledger.table)("nowhere", client), client)
    for attempt in (
        lambda: sources.hear("registry", clock()),
        lambda: sources.tell("registry", [Telling("", "", "")], AT),
    ):
        with pytest.raises(PermanentError, match="ResourceNotFoundException"):
            attempt()


def test_ingress_waits_for_the_ledger_for_a_second_only(monkeypatch, ledger):
    aws.forget()
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", "ledger")
    config = open_sources(hurried=True)._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 1)
    assert config.retries["total_max_attempts"] == 1
    assert open_sources()._client.meta.config.read_timeout == 10
    aws.forget()


def test_a_sender_is_silent_after_its_time_and_one_minute_more(ledger, sources, clock):
    policy = {"sources": {"registry": {"expect_every_seconds": 600}, "github": {"expect_every_seconds": 3_600}}}
    version = ledger.policy.publish(policy, "test", clock())
    sources.hear("registry", clock.tick(100))
    heard = clock()
    clock.tick(660)
    assert [(one.source, one.silent) for one in silences(version, sources, clock())] == [
        ("github", False),
        ("registry", False),
    ]
    clock.tick(1)
    github, registry = silences(version, sources, clock())
    assert (registry.silent, registry.heard, registry.expected) == (True, heard, timedelta(seconds=600))
    assert (github.silent, github.heard) == (False, None)


def test_who_was_never_heard_is_silent_from_when_the_policy_asked_for_it(ledger, sources, clock):
    version = ledger.policy.publish({"sources": {"github": {"expect_every_seconds": 60}}}, "test", clock())
    assert not silences(version, sources, clock.tick(120))[0].silent
    (one,) = silences(version, sources, clock.tick(1))
    assert (one.silent, one.heard, one.since.isoformat()) == (True, None, version.at)
