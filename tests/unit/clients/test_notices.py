"""Messages to people: nobody is mentioned by what they quote, and nothing in it becomes mark-up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from paydown.clients import aws, notices
from paydown.errors import PermanentError

HOSTILE = [
    "<!channel> <!here> <@U123> <https://evil.example|your bank>",
    "@channel @here @all @everyone",
    "```\n<!channel>\n```",
    "&lt;!channel&gt;",
    "[click](https://evil.example) ![x](https://evil.example/pixel)",
    "\u202egnp.exe\x07\x1b[31m",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    said = notices.slack_message(text, text)["text"]
    headline, fence, *inside, end = said.split("\n")
    assert (fence, end) == ("```", "```")
    assert "`" not in "".join(inside) + headline
    assert not set("<>") & set(said)
    assert not set("[]@&!\u202e\x07\x1b") & set(headline)
    for mention in ("@channel", "@here", "@all", "@everyone"):
        assert mention not in said
    assert not set("\u202e\x07\x1b") & set(said)


def test_a_message_reads_as_it_was_meant() -> None:
    link = ("https://api.example.org/v1/plans/1?plan=1&expires=2", "Show the plan")
    body = notices.slack_message("Paydown: recover_node on node/demo/worker-1: Held", "a & b < c", link)
    assert body["text"] == (
        "*Paydown: recover_node on node/demo/worker-1: Held*\n```\na &amp; b &lt; c\n```\n"
        "<https://api.example.org/v1/plans/1?plan=1&amp;expires=2|Show the plan>"
    )
    assert (body["parse"], body["link_names"], body["unfurl_links"]) == ("none", False, False)
    assert len(notices.slack_message("x", "y" * 50_000)["text"]) < 16_383


@pytest.mark.parametrize("secret", [None, "https://hooks.example.org/x", {}, {"url": 7}, ["url"]])
def test_a_secret_of_another_shape_is_permanent(secret: Any) -> None:
    with pytest.raises(PermanentError, match="must be a JSON object"):
        notices.post(secret, "x", "y")


@pytest.mark.parametrize("url", ["http://hooks.example.org/T/B/hush", "ftp://hooks.example.org/hush", "hush"])
def test_only_tls_leaves_the_machine(url: str) -> None:
    with pytest.raises(PermanentError) as caught:
        notices.post({"url": url}, "x", "y")
    assert "hush" not in str(caught.value)


@pytest.fixture
def subscribed() -> Iterator[tuple[str, Any]]:
    """A topic, and what its subscriber got."""
    aws.forget()
    with mock_aws():
        topic = boto3.client("sns").create_topic(Name="people")["TopicArn"]
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="people")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        yield topic, lambda: json.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
    aws.forget()


def test_a_topic_gets_subject_text_and_attributes(subscribed: tuple[str, Any]) -> None:
    topic, got = subscribed
    notices.publish(topic, "Paydown: ünïcode\n" + "x" * 200, "text\x07", {"kind": "Held", "toil": ""}, "m1")
    message = got()
    assert message["Subject"] == ("Paydown: ?n?code " + "x" * 200)[:100]
    assert message["Message"] == "text"
    assert message["MessageAttributes"] == {"kind": {"Type": "String", "Value": "Held"}}


def test_a_topic_that_is_gone_is_permanent(subscribed: tuple[str, Any]) -> None:
    with pytest.raises(PermanentError, match="notification topic"):
        notices.publish(subscribed[0] + "-gone", "x", "y", {}, "m1")
