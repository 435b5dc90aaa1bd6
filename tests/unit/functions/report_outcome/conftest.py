"""An application that tells people: its ledger, its tickets and channels in memory, and a clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from functions.report_outcome import app
from paydown.clients import aws, notices
from paydown.events import RemediationChanged
from paydown.ledger import Ledger
from paydown.ledger.findings import Finding, Findings, Identity
from tests.unit.functions.report_outcome.fake_tickets import FakeTickets
from tests.unit.ledgers import Clock

RUN = "5f0c0a6e8f2b4c1d9e7a3b5c7d9f1e2a"
INVENTORY = {
    "trackers": [
        {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"},
    ]
}


@dataclass
class Outside:
    """What people see: tickets, the SNS topic's messages, and webhooks by the name of their secret."""

    ledger: Ledger
    clock: Clock
    tickets: FakeTickets = field(default_factory=FakeTickets)
    posts: dict[str, list[tuple[str, str, Any]]] = field(default_factory=dict)
    trouble: dict[str, Exception] = field(default_factory=dict)
    queue: str = ""
    runs: int = 0

    def happen(self, status: str, *codes: str, **changes: Any) -> RemediationChanged:
        """A transition of a run of its own, now."""
        self.runs += 1
        run = changes.pop("run_id", f"{self.runs:032x}")
        sequence = changes.pop("sequence", 4)
        detail = {
            "key": f"{run}:LOG#{sequence:06}",
            "at": changes.pop("at", self.clock()),
            "run_id": run,
            "toil": "recover_node",
            "target": "node/demo/worker-1",
            "status": status,
            "reasons": [(code, f"because of {code}") for code in codes],
            "cause": "alert-1",
            "rule": "NodeNotReady",
            "sequence": sequence,
        }
        return RemediationChanged.model_validate(detail | changes)

    def tell(self, *changes: RemediationChanged) -> list[str]:
        return [app.tell({"detail": json.loads(change.model_dump_json())}) for change in changes]

    def policy(self, **document: Any) -> None:
        self.ledger.policy.publish(document, "test", self.clock())

    def published(self) -> list[dict[str, Any]]:
        """What the topic's subscribers got since the last look."""
        found = boto3.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        for one in found:
            boto3.client("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=one["ReceiptHandle"])
        return [json.loads(one["Body"]) for one in found]

    def finding(self, target: str = "node/demo/worker-1", rule: str = "NodeNotReady") -> Finding:
        found = Findings(self.ledger.table).get(Identity("recover_node", target, rule))
        assert found is not None
        return found


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> Iterator[Outside]:
    made = Outside(ledger, clock)
    ledger.inventory.publish(INVENTORY, "test", clock())
    monkeypatch.setattr(app, "_ledger", [ledger])
    monkeypatch.setattr(app, "open_tracker", lambda declared, secret: made.tickets)
    monkeypatch.setattr(app, "_now", clock)
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    monkeypatch.setenv("PAYDOWN_STACK", "paydown")
    aws.forget()
    topic = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    made.queue = boto3.client("sqs").create_queue(QueueName="people")["QueueUrl"]
    arn = made.queue.replace("https://sqs.", "arn:aws:sqs:").replace(".amazonaws.com/", ":").replace("/", ":")
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("PAYDOWN_NOTIFICATION_TOPIC", topic)

    def post(secret: Any, headline: str, text: str, link: Any = None) -> None:
        if trouble := made.trouble.get(secret["url"]):
            raise trouble
        made.posts.setdefault(secret["url"], []).append((headline, text, link))

    monkeypatch.setattr(notices, "post", post)
    monkeypatch.setattr(aws, "secret", lambda name: {"url": name} if "/notify/" in name else {"current": "hush"})
    yield made
    aws.forget()
