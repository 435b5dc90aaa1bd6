"""What needs a person speaks at once, on each channel once; what does not, does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from functions.report_outcome import app
from paydown.errors import PermanentError, RetryableError
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock

EVENTS = Path(__file__).parents[4] / "events" / "report_outcome"
CHAT, PAGER = "paydown/notify/chat", "paydown/notify/pager"
BOTH = {"notifications": {"webhooks": [CHAT, PAGER]}}


@pytest.mark.parametrize("status", ["Held", "Failed", "Unverified"])
def test_what_needs_a_person_speaks_at_once(outside: Outside, status: str) -> None:
    outside.policy(**BOTH)
    assert outside.tell(outside.happen(status, "permanent")) == ["told"]
    (message,) = outside.published()
    assert message["Subject"] == f"Paydown: recover_node on node/demo/worker-1: {status}"
    assert message["MessageAttributes"]["toil"]["Value"] == "recover_node"
    assert [len(outside.posts[name]) for name in (CHAT, PAGER)] == [1, 1]


@pytest.mark.parametrize("status", ["Verified", "Refused", "Rejected", "Skipped", "Observed", "Applying", "Deferred"])
def test_the_rest_is_quiet(outside: Outside, status: str) -> None:
    outside.policy(**BOTH)
    outside.tell(outside.happen(status))
    assert (outside.published(), outside.posts) == ([], {})


def test_the_policy_says_what_speaks_at_once(outside: Outside, clock: Clock) -> None:
    outside.policy(notifications={"at_once": ["Verified", "Observed"]})
    outside.tell(outside.happen("Failed"), outside.happen("Observed"))
    clock.tick(1)
    verified = outside.happen("Verified")
    outside.tell(verified, verified)
    assert [one["Subject"].rpartition(" ")[2] for one in outside.published()] == ["Observed", "Verified"]


def test_a_channel_in_trouble_is_told_later_and_the_others_once(outside: Outside) -> None:
    outside.policy(**BOTH)
    outside.trouble[CHAT] = RetryableError("down")
    failed = outside.happen("Failed")
    for _ in range(3):
        with pytest.raises(RetryableError, match="down"):
            outside.tell(failed)
    assert (len(outside.published()), len(outside.posts[PAGER]), CHAT in outside.posts) == (1, 1, False)
    outside.trouble.clear()
    assert outside.tell(failed, failed) == ["told", "told before"]
    assert (len(outside.published()), len(outside.posts[PAGER]), len(outside.posts[CHAT])) == (0, 1, 1)


def test_a_message_of_a_batch_fails_alone_and_comes_back(outside: Outside) -> None:
    outside.policy(**BOTH)
    outside.trouble[CHAT] = PermanentError("404")
    bodies = [{"detail": json.loads(outside.happen(status).model_dump_json())} for status in ("Failed", "Verified")]
    records = [{"messageId": str(number), "body": json.dumps(body)} for number, body in enumerate(bodies)]
    assert app.handler({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "0"}]}


def test_channels_do_not_wait_for_tickets(outside: Outside) -> None:
    outside.policy(**BOTH)
    outside.tickets.trouble = RetryableError("the tracker is down")
    with pytest.raises(RetryableError, match="tracker is down"):
        outside.tell(outside.happen("Failed", ticket={"tracker": "helpdesk", "id": "1"}))
    assert (len(outside.published()), len(outside.posts[CHAT])) == (1, 1)


def test_without_a_topic_and_webhooks_nobody_is_told(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYDOWN_NOTIFICATION_TOPIC", "")
    assert outside.tell(outside.happen("Failed")) == ["told before"]
    assert outside.published() == []


def test_deployed_to_observe_nothing_is_told_or_counted(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYDOWN_MODE", "Observe")
    assert outside.tell(outside.happen("Failed", "escalated")) == ["only observing"]
    assert app.hourly() == {"done": "only observing"}
    assert outside.published() == []
    table = outside.ledger.table
    assert {item["pk"]["S"] for item in table._client.scan(TableName=table.name)["Items"]} == {"DOC#inventory"}


def test_hostile_names_reach_the_topic_on_one_line(outside: Outside) -> None:
    outside.tell(outside.happen("Failed", target="host/<!channel>\nRun 0: all is well", reasons=[("x", "a\nb")]))
    (message,) = outside.published()
    assert message["Subject"] == "Paydown: recover_node on host/??channel? Run 0: all is well: Failed"
    assert "\nRun 0:" not in message["Message"]


@pytest.mark.parametrize("name", ["remediation_escalated", "remediation_held", "remediation_verified"])
def test_the_sample_events_are_told(outside: Outside, name: str) -> None:
    envelope = json.loads((EVENTS / f"{name}.json").read_text())
    assert app.handler(envelope) == {"done": "told"}
    assert app.handler(envelope) == {"done": "told before"}
    expected = {"remediation_escalated": "Failed, escalated", "remediation_held": "Held"}
    subjects = [one["Subject"].rpartition(": ")[2] for one in outside.published()]
    assert subjects == ([expected[name]] if name in expected else [])
