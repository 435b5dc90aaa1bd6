"""Outcomes reach people from the deployed function, with no more than its role allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from local.deploy import Stack
from paydown.ledger import Ledger, Table
from paydown.ledger.findings import Findings, Identity
from tests.integration.http_server import HttpServer, answered
from tests.stacks import running_stack, wait_for

TOPIC = "arn:aws:sns:eu-central-1:000000000000:people"
SUBSCRIBER = "arn:aws:sqs:eu-central-1:000000000000:subscriber"
DELIVERY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": SUBSCRIBER,
            "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
        }
    ],
}
RUN = "c" * 32


@pytest.fixture(scope="module")
def telling_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As `enforcing_stack`, with a topic for people."""
    folder = tmp_path_factory.mktemp("telling")
    with running_stack(folder, authorise=True, parameters={"NotificationTopicArn": TOPIC}) as running:
        yield running


def test_a_failed_run_reaches_the_topic_and_the_chat_and_is_remembered(telling_stack: Stack) -> None:
    stack = telling_stack
    said: list[str] = []

    def take(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        said.append(json.loads(body)["text"])
        answered(handler, 200, b"ok")

    chat = HttpServer(take)
    try:
        client = stack.emulator.client
        assert client("sns").create_topic(Name="people")["TopicArn"] == TOPIC
        url = client("sqs").create_queue(QueueName="subscriber", Attributes={"Policy": json.dumps(DELIVERY)})[
            "QueueUrl"
        ]
        client("sns").subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=SUBSCRIBER)
        name = f"{stack.name}/notify/chat"
        client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"url": f"{chat.url}/hook"}))
        ledger = Ledger(Table(stack.outputs["LedgerTable"], client("dynamodb")))
        ledger.policy.publish({"notifications": {"webhooks": [name]}}, "test", datetime.now(UTC))
        detail = {
            "key": f"{RUN}:LOG#000004", "at": datetime.now(UTC).isoformat(), "run_id": RUN, "toil": "recover_node",
            "target": "node/demo/worker-1", "status": "Failed", "reasons": [["permanent", "no way"]],
            "cause": "alert-1", "rule": "NodeNotReady", "sequence": 4,
        }  # fmt: skip
        for _ in range(3):
            stack.put_event("Remediation Failed", detail)

        def received() -> list[dict[str, Any]]:
            return client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])

        (message,) = wait_for(received, "the topic's message")
        client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])  # else it comes back
        assert json.loads(message["Body"])["Subject"] == "Paydown: recover_node on node/demo/worker-1: Failed"
        wait_for(lambda: said, "the chat's message")
        findings = Findings(ledger.table)
        identity = Identity("recover_node", "node/demo/worker-1", "NodeNotReady")
        finding = wait_for(lambda: findings.get(identity), "the row")
        assert (finding.open, finding.count) == (True, 1)
        assert stack.invoke("ReportOutcome", {"detail-type": "Scheduled Event", "source": "aws.events"})["late"] == 0
        assert len(said) == 1
        assert received() == []
    finally:
        chat.close()
