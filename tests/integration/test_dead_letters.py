"""Dead letters on the emulator: a message that no toil type can handle is listed, read, and sent again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.deploy import Stack
from tests.stacks import wait_for

TOIL = "clean_dangling_images"


def test_a_dead_letter_says_where_it_came_from_and_goes_back_there(stack: Stack, paydown: Callable[..., Any]) -> None:
    """A queue of the test's own, with the stack's dead-letter queue: its messages are dead after one try."""
    sqs, toil = stack.emulator.client("sqs"), f"test_{uuid.uuid4().hex[:8]}"
    policy = {"deadLetterTargetArn": stack.outputs["DeadLetters"], "maxReceiveCount": 1}
    url = sqs.create_queue(
        QueueName=f"{stack.name}-toil-{toil}",
        Attributes={"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "0"},
    )["QueueUrl"]
    body = json.dumps({"paydown": 1, "command": "wake", "run_id": toil})
    sqs.send_message(QueueUrl=url, MessageBody=body)

    def listed() -> list[dict[str, Any]]:
        sqs.receive_message(QueueUrl=url)  # until it was tried too often
        code, answer = paydown("dead-letters", "list", "--toil", toil)
        assert code == 0
        found: list[dict[str, Any]] = answer["dead_letters"]
        return found

    (letter,) = wait_for(listed, "the dead letter", 30)
    assert (letter["kind"], letter["about"]) == ("message", f"wake run {toil}")
    assert letter["redrive_to"] == f"{stack.name}-toil-{toil}"
    code, shown = paydown("dead-letters", "show", letter["id"])
    assert (code, shown["body"]) == (0, body)
    code, answer = paydown("redrive", letter["id"][:13])
    assert (code, answer["redriven"], answer["kept"]) == (0, 1, 0)
    (message,) = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "the message")
    assert message["Body"] == body
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert paydown("dead-letters", "list", "--toil", toil)[1]["dead_letters"] == []
    sqs.delete_queue(QueueUrl=url)


def test_transitions_that_could_not_be_published_are_told_again(
    stack: Stack, paydown: Callable[..., Any], tmp_path: Path
) -> None:
    """The record that Lambda leaves when the stream's function failed; the ledger's own log is what is told."""
    for kind, document in (("policy", {"toils": {TOIL: {"mode": "observe"}}}), ("inventory", {"hosts": []})):
        (tmp_path / f"{kind}.json").write_text(json.dumps(document))
        assert paydown(kind, "publish", f"{kind}.json")[0] == 0
    detail = {"key": f"dead-{uuid.uuid4()}", "at": "2026-11-22T03:00:00Z", "rule": "daily"}
    event = {"source": "paydown", "detail-type": "Sweep", "detail": detail}
    (tmp_path / "event.json").write_text(json.dumps(event))
    assert paydown("send", "event.json", "--toil", TOIL)[0] == 0

    def ended() -> list[dict[str, Any]]:
        _, answer = paydown("runs", "--status", "skipped", "--since", "1h")
        return [run for run in answer["runs"] if run["event"]["key"] == detail["key"]]

    (run,) = wait_for(ended, "the run", 180)
    sqs, events = stack.emulator.client("sqs"), stack.emulator.client("events")
    heard = sqs.create_queue(QueueName=f"heard-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=heard, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["paydown"], "detail": {"run_id": [run["id"]]}}
    events.put_rule(Name="heard", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="heard", Targets=[{"Id": "heard", "Arn": arn}])
    batch = {
        "approximateArrivalOfFirstRecord": run["updated"],
        "approximateArrivalOfLastRecord": run["updated"],
        "batchSize": 1,
    }
    dead = stack.outputs["DeadLetters"].rsplit(":", 1)[-1]
    pointer = {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": batch}
    sent = sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=dead)["QueueUrl"], MessageBody=json.dumps(pointer))
    try:
        code, answer = paydown("redrive", sent["MessageId"])
        assert (code, answer["redriven"]) == (0, 1)
        (message,) = wait_for(lambda: sqs.receive_message(QueueUrl=heard).get("Messages"), "the event")
        told = json.loads(message["Body"])
        assert (told["detail-type"], told["detail"]["key"]) == ("Remediation Skipped", f"{run['id']}:LOG#000001")
    finally:
        events.remove_targets(Rule="heard", Ids=["heard"])
        events.delete_rule(Name="heard")
        sqs.delete_queue(QueueUrl=heard)
