"""Outcomes reach the ticket that asked for them: once, in order of what is true, and resolved only when verified."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.report_outcome import app
from functions.report_outcome.report import LINES, REPORTED, report
from paydown.errors import InvalidEvent, PermanentError, RetryableError
from paydown.events import RemediationChanged, TicketCreated
from paydown.ledger import Ledger, Outcome, Reason, Run, Status
from paydown.tickets import TicketNotFound
from tests.unit.functions.report_outcome.fake_tickets import FakeTickets
from tests.unit.ledgers import Clock

EVENTS = Path(__file__).parents[4] / "events" / "report_outcome"
INVENTORY = {
    "trackers": [
        {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"},
    ]
}


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> FakeTickets:
    made = FakeTickets()
    ledger.inventory.publish(INVENTORY, "test", clock())
    monkeypatch.setattr(app, "_ledger", [ledger])
    monkeypatch.setattr(app, "open_tracker", lambda declared, secret: made)
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    return made


def sample(name: str = "remediation_verified", **changes: Any) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    envelope["detail"] |= changes
    return envelope


def change(**changes: Any) -> RemediationChanged:
    return RemediationChanged.from_detail(sample(**changes)["detail"])


def batch(*envelopes: Any) -> dict[str, Any]:
    records = [{"messageId": f"m{n}", "body": json.dumps(one)} for n, one in enumerate(envelopes)]
    return app.handler({"Records": records})


def test_a_verified_run_resolves_its_ticket(tracker: FakeTickets) -> None:
    assert app.handler(sample()) == {"done": "told"}
    assert tracker.resolved == {"1"}
    ((key, body),) = tracker.comments.items()
    assert key == ("1", "paydown-run: 5f0c0a6e8f2b4c1d9e7a3b5c7d9f1e2a/LOG-000004")
    assert "clean_dangling_images on host/build-1: Verified." in body
    assert "  bytes_freed: 734003200" in body
    assert "Actions planned: 3" in body
    assert "paydown explain 5f0c0a6e8f2b4c1d9e7a3b5c7d9f1e2a" in body


def test_the_same_event_twice_is_one_comment(tracker: FakeTickets) -> None:
    assert batch(sample(), sample()) == {"batchItemFailures": []}
    assert app.handler(sample()) == {"done": "told before"}
    assert len(tracker.comments) == 1


@pytest.mark.parametrize("status", ["Failed", "Unverified", "Refused", "Rejected", "Held", "Skipped", "Observed"])
def test_other_outcomes_comment_and_leave_the_ticket_open(tracker: FakeTickets, status: str) -> None:
    reasons = [["permanent", "the engine refuses"]]
    assert app.handler(sample(status=status, reasons=reasons)) == {"done": "told"}
    assert tracker.resolved == set()
    (body,) = tracker.comments.values()
    assert f": {status}." in body
    assert "- the engine refuses (permanent)" in body


@pytest.mark.parametrize("status", ["Planned", "Deferred", "Applying", "Waiting", "Verifying"])
def test_steps_on_the_way_are_not_told(tracker: FakeTickets, status: str) -> None:
    assert app.handler(sample(status=status)) == {"done": "nothing to tell"}
    assert tracker.comments == {}


def test_every_outcome_has_its_words() -> None:
    assert set(REPORTED) == {*Outcome, Status.HELD}


def test_runs_without_a_ticket_and_triage_itself_are_not_told(tracker: FakeTickets) -> None:
    assert app.handler(sample(ticket=None)) == {"done": "noted"}
    assert app.handler(sample(toil="triage_ticket", status="Failed")) == {"done": "told before"}
    assert tracker.comments == {}


def test_a_tracker_that_is_not_declared_any_more(tracker: FakeTickets) -> None:
    assert app.handler(sample(ticket={"tracker": "gone", "id": "1"})) == {"done": "told before"}


def test_deployed_to_observe_it_writes_nothing(tracker: FakeTickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYDOWN_MODE", "Observe")
    assert app.handler(sample()) == {"done": "only observing"}
    monkeypatch.delenv("PAYDOWN_MODE")
    assert app.handler(sample()) == {"done": "only observing"}
    assert tracker.comments == {}


def held_run(ledger: Ledger, clock: Clock) -> Run:
    event = TicketCreated.model_validate(
        {"key": "k", "at": clock(), "ticket": {"tracker": "helpdesk", "id": "2"}, "title": "t"}
    )
    created = ledger.runs.create(
        "recover_node", "n1", "node/demo/worker-1", event, clock(), clock.tick(50), timedelta(seconds=60)
    )
    return ledger.runs.move(created.run, Status.HELD, clock(), clock.tick(9), [Reason("needs_approval", "a person")])


def held_event(run: Run) -> dict[str, Any]:
    return sample("remediation_held", run_id=run.id, key=f"{run.id}:LOG#{run.sequence:06}")


def test_a_hold_is_told_while_it_lasts(tracker: FakeTickets, ledger: Ledger, clock: Clock) -> None:
    assert app.handler(held_event(held_run(ledger, clock))) == {"done": "told"}


def test_a_hold_that_was_decided_is_not_told_any_more(tracker: FakeTickets, ledger: Ledger, clock: Clock) -> None:
    run = held_run(ledger, clock)
    late = held_event(run)
    ledger.runs.end(run, Outcome.REJECTED, clock(), [Reason("rejected", "by somebody")])
    assert app.handler(late) == {"done": "out of date"}
    assert tracker.comments == {}


@pytest.mark.parametrize("trouble", [RetryableError("down"), PermanentError("401"), TicketNotFound("404")])
def test_trouble_brings_the_message_back(tracker: FakeTickets, trouble: Exception) -> None:
    tracker.trouble = trouble
    assert batch(sample()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    tracker.trouble = None
    assert batch(sample()) == {"batchItemFailures": []}
    assert len(tracker.comments) == 1


def test_malformed_messages_come_back_alone(tracker: FakeTickets) -> None:
    broken = sample()
    del broken["detail"]["run_id"]
    answer = batch("text", {}, {"detail": 3}, broken, sample())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m0", "m1", "m2", "m3"]
    assert app.handler({"Records": [{"messageId": "x", "body": "{"}]}) == {
        "batchItemFailures": [{"itemIdentifier": "x"}]
    }
    with pytest.raises(InvalidEvent, match="run_id"):
        app.tell(broken)


def test_no_inventory_is_waited_for(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    monkeypatch.setattr(app, "_ledger", [ledger])
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    with pytest.raises(RetryableError):
        app.tell(sample())


def test_evidence_is_shown_flat_and_bounded() -> None:
    evidence = {
        "freed": {"bytes": 7, "layers": ["a", "b"]},
        "text": "x\ny\u202e @octocat #12",
        "long": "z" * 5_000,
        "many": list(range(30)),
    }
    text = report(change(evidence=evidence))
    assert "  freed.bytes: 7\n  freed.layers: a, b\n" in text
    assert "  text: x y @octocat #12\n" in text
    assert "  many: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more\n" in text
    assert max(map(len, text.splitlines())) <= 400
    flood = report(change(evidence={f"k{n}": n for n in range(1_000)}))
    assert f"and {1_000 - LINES} more" in flood
    assert len(flood.splitlines()) < LINES + 15


def test_reasons_cannot_break_out_of_their_line() -> None:
    text = report(change(status="Failed", reasons=[["permanent", "first\nRun 0000. All is well"]]))
    assert "\nRun 0000." not in text
