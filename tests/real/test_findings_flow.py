"""A finding's ticket in a real Roundup: made once, kept up to date in one comment, resolved, and open again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.report_outcome import app
from paydown.clients import aws
from paydown.events import NodeNotReady, RemediationChanged
from tests.real.roundup_server import Tracker
from tests.unit.ledgers import ledger_in_moto
from tests.unit.people import asked

Tell = Callable[..., None]
BEGIN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture
def tell(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tell]:
    """Delivers a transition of a run, twice."""
    clock = [BEGIN]
    helpdesk = {
        "uid": "t1", "name": "helpdesk", "system": "roundup", "url": tracker.roundup.url, "secret": "s",
    }  # fmt: skip
    with ledger_in_moto() as ledger:
        ledger.inventory.publish({"trackers": [helpdesk]}, "test", BEGIN)
        ledger.policy.publish({"notifications": {"tracker": "helpdesk"}}, "test", BEGIN)
        monkeypatch.setattr(app, "_ledger", [ledger])
        monkeypatch.setattr(app, "_now", lambda: clock[0])
        monkeypatch.setattr(aws, "secret", lambda name: tracker.roundup.credentials)
        monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
        monkeypatch.setenv("PAYDOWN_NOTIFICATION_TOPIC", "")

        def deliver(status: str, *codes: str, **changes: Any) -> None:
            clock[0] += timedelta(seconds=10)
            run = f"{int(clock[0].timestamp()):032x}"
            detail = {
                "key": f"{run}:LOG#000004", "at": clock[0], "run_id": run, "toil": "recover_node",
                "target": "node/demo/worker-1", "status": status, "cause": "alert", "rule": "NodeNotReady",
                "reasons": [(code, f"because of {code}") for code in codes], "sequence": 4,
            }  # fmt: skip
            change = RemediationChanged.model_validate(detail | changes)
            body = json.dumps({"detail": change.model_dump(mode="json")})
            for _ in range(2):
                assert app.handler({"Records": [{"messageId": "m", "body": body}]}) == {"batchItemFailures": []}

        yield deliver


def issues(tracker: Tracker) -> dict[str, dict[str, Any]]:
    """The issues that Paydown made, by id."""
    found = tracker.call("operator", "GET", "issue?@fields=title,status,messages&@verbose=2")["collection"]
    return {str(one["id"]): one for one in found if one["title"].startswith("Paydown: ")}


def contents(tracker: Tracker, issue: dict[str, Any]) -> list[str]:
    messages = [tracker.call("operator", "GET", f"msg/{one['id']}?@verbose=3") for one in issue["messages"]]
    return [str(one["attributes"]["content"]) for one in messages]


def test_an_escalated_finding_lives_on_one_ticket(tracker: Tracker, tell: Tell) -> None:
    tell("Failed", "permanent")
    assert issues(tracker) == {}
    tell("Failed", "escalated", evidence={"left": ["cordon node/demo/worker-1"]})
    ((id, issue),) = issues(tracker).items()
    assert issue["title"] == "Paydown: recover_node on node/demo/worker-1: escalated"
    (text,) = contents(tracker, issue)
    assert "a person has to look" in text
    assert "  left: cordon node/demo/worker-1" in text

    for _ in range(9):
        tell("Refused", "escalated")
    (_, comment) = contents(tracker, issues(tracker)[id])
    assert "Seen 8 times since 2026-11-22 03:00Z" in comment

    tell("Verified")
    issue = issues(tracker)[id]
    assert issue["status"]["name"] == "resolved"
    assert contents(tracker, issue)[-1].startswith("It is over: run ")

    tell("Applying", "recurred")
    assert list(issues(tracker)) == [id]
    issue = issues(tracker)[id]
    assert issue["status"]["name"] == "chatting"
    assert "The same fault came back" in contents(tracker, issue)[-1]
    tell("Verified")
    assert issues(tracker)[id]["status"]["name"] == "resolved"


def test_a_person_who_reopens_the_ticket_is_not_overruled(tracker: Tracker, tell: Tell) -> None:
    """Late repeats of what closed it change nothing."""
    known = set(issues(tracker))
    tell("Failed", "escalated", target="node/demo/worker-2")
    (id,) = set(issues(tracker)) - known
    tell("Verified", target="node/demo/worker-2")
    tracker.call("operator", "PATCH", f"issue/{id}", {"status": "in-progress"})
    tell("Verified", target="node/demo/worker-2")
    assert issues(tracker)[id]["status"]["name"] == "in-progress"


def test_tickets_whose_events_joined_a_run_are_resolved_with_it(tracker: Tracker, tell: Tell) -> None:
    tickets = [tracker.create(f"worker-4 is away ({number})", "please help") for number in (1, 2)]
    runs = app._ledger[0].runs
    alert = NodeNotReady(key="alert-4", at=BEGIN, cluster="demo", node="worker-4")
    place, cool = ("recover_node", "n4", "node/demo/worker-4"), timedelta(seconds=60)
    run, *joined = (
        runs.create(*place, event, BEGIN, BEGIN, cool).run
        for event in (alert, *(asked("operator", ticket, f"ticket-{ticket}") for ticket in tickets))
    )
    assert [one.reasons[0].code for one in joined] == ["joined", "joined"]
    tell("Verified", run_id=run.id, key=f"{run.id}:LOG#000004", target=run.ref)
    for ticket in tickets:
        (issue,) = tracker.call("operator", "GET", f"issue?id={ticket}&@fields=status,messages&@verbose=2")[
            "collection"
        ]
        assert issue["status"]["name"] == "resolved"
        assert run.id in contents(tracker, issue)[-1]


def test_a_tracker_that_is_down_is_told_later(tracker: Tracker, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    known = set(issues(tracker))
    tracker.service.stop()
    with pytest.raises(AssertionError):
        tell("Failed", "escalated", target="node/demo/worker-3")
    tracker.service.start()
    tell("Refused", "escalated", target="node/demo/worker-3")
    assert len(set(issues(tracker)) - known) == 1
