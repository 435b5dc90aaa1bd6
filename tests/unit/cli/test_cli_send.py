"""`paydown send EVENT.json`."""

import json
from pathlib import Path

import boto3
import pytest

from cli.connection import Connection
from paydown.approving import Caller, requesters
from paydown.sources.aws import from_envelope
from tests.envelopes import SCHEDULED
from tests.unit.toil.lamps import pushed

PROJECT = Path(__file__).resolve().parents[3]
PUSHED = {"source": "paydown", "detail-type": "ImagePushed", "detail": pushed().model_dump(mode="json")}
ALARM = {
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "account": "123456789012",
    "region": "eu-central-1",
    "detail": {
        "alarmName": "disk",
        "state": {"value": "ALARM", "timestamp": "2026-11-22T02:00:00.000+0000"},
        "configuration": {
            "metrics": [{"metricStat": {"metric": {"name": "disk_used_percent", "dimensions": {"host": "build-1"}}}}]
        },
    },
}


ANN = "arn:aws:iam::123456789012:user/ann"


@pytest.fixture(autouse=True)
def ann(monkeypatch):
    """Who sends."""
    monkeypatch.setattr(Connection, "person_arn", property(lambda self: ANN))


def ours(envelope):
    """What is sent of an envelope: an event of ours, with who sends it."""
    event = from_envelope(envelope)
    detail = {**event.model_dump(mode="json"), "by": ANN}
    return {"source": "paydown", "detail-type": event.detail_type(), "detail": detail}


@pytest.fixture
def bus(paydown, monkeypatch):
    """What was put on the bus."""
    put = []

    class Bus:
        def put_events(self, Entries):  # noqa: N803 -- the client's name
            put.extend(Entries)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    real = Connection.client
    monkeypatch.setattr(Connection, "client", lambda self, name: Bus() if name == "events" else real(self, name))
    return put


def queued(house):
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{house}-toil-switch_off_lamps")["QueueUrl"]
    return [json.loads(message["Body"]) for message in sqs.receive_message(QueueUrl=url).get("Messages", [])]


def test_an_event_of_ours_goes_on_the_bus(paydown, bus, written):
    answer = paydown("send", written(PUSHED), "--json")
    assert answer.data == {"sent_to": "bus", "toil": None, "type": "ImagePushed", "key": "push-1"}
    (entry,) = bus
    assert (entry["Source"], entry["DetailType"]) == ("paydown", "ImagePushed")
    assert json.loads(entry["Detail"]) == {**PUSHED["detail"], "by": ANN}


def test_nobody_sends_in_the_name_of_another(paydown, house, bus, written):
    forged = {**PUSHED, "detail": {**PUSHED["detail"], "by": "arn:aws:iam::123456789012:user/bob"}}
    paydown("send", written(forged))
    paydown("send", written(forged), "--stack", house, "--toil", "switch_off_lamps")
    assert [json.loads(entry["Detail"])["by"] for entry in bus] == [ANN]
    assert [message["detail"]["by"] for message in queued(house)] == [ANN]


def test_who_sends_a_sweep_cannot_approve_what_it_asks_for(paydown, house, written):
    paydown("send", written(SCHEDULED), "--stack", house, "--toil", "switch_off_lamps")
    (sent,) = queued(house)
    assert requesters(from_envelope(sent).model_dump(mode="json")) == (Caller(arn=ANN),)


def test_the_same_file_is_the_same_event_unless_it_is_to_be_a_fresh_one(paydown, bus, written, clock):
    path = written(PUSHED)
    for argv in (["send", path], ["send", path], ["send", path, "--fresh"], ["send", path, "--fresh"]):
        assert paydown(*argv).code == 0
    details = [json.loads(entry["Detail"]) for entry in bus]
    assert [detail["key"] for detail in details[:2]] == ["push-1"] * 2
    assert len({detail["key"] for detail in details}) == 3
    assert details[2]["at"].startswith("2026-11-22T03:00:00")
    assert details[2]["repository"] == "rooms/one"


def test_an_event_of_aws_goes_to_the_queue_of_one_toil_type(paydown, house, bus, written):
    answer = paydown("send", written(SCHEDULED), "--stack", house, "--toil", "switch_off_lamps")
    assert answer.out == "sent to the queue of switch_off_lamps: Sweep schedule:53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa\n"
    assert (queued(house), bus) == ([ours(SCHEDULED)], [])


def test_an_event_of_ours_can_go_to_one_queue_too(paydown, house, bus, written):
    assert paydown("send", written(PUSHED), "--stack", house, "--toil", "switch_off_lamps").code == 0
    assert (queued(house), bus) == ([ours(PUSHED)], [])


def test_a_fresh_event_of_aws_has_another_key(paydown, house, written):
    for envelope in (SCHEDULED, ALARM):
        path = written(envelope)
        assert paydown("send", path, "--stack", house, "--toil", "switch_off_lamps", "--fresh").code == 0
        (sent,) = queued(house)
        assert from_envelope(sent).key != from_envelope(envelope).key


@pytest.mark.parametrize(
    ("content", "argv", "code", "words"),
    [
        (SCHEDULED, [], 2, "--toil NAME"),
        (PUSHED, ["--toil", "../x"], 2, "no name of a toil type"),
        (PUSHED, ["--toil", "recover_node"], 4, "is recover_node a toil type that is switched on?"),
        ([], [], 3, "must be a JSON object"),
        ({}, [], 3, "detail-type: Field required"),
        ({**PUSHED, "detail-type": "Snow"}, [], 3, "no event that Paydown acts on"),
        ({**PUSHED, "detail": {"key": "x"}}, [], 3, "registry: Field required"),
        ({**PUSHED, "detail": []}, ["--fresh"], 3, "detail: Input should be a valid dictionary"),
        (
            {**ALARM, "detail": {**ALARM["detail"], "state": {"value": "OK", "timestamp": "2026-11-22T02:00:00Z"}}},
            [],
            3,
            "an alarm that is over",
        ),
        ("{", [], 3, "line 1, column 2"),
    ],
)
def test_what_cannot_be_sent(content, argv, code, words, paydown, house, bus, written):
    answer = paydown("send", written(content), "--stack", house, *argv)
    assert (answer.code, words in answer.err, bus) == (code, True, [])


def test_a_bus_that_cannot_be_reached_is_6(paydown, bus, written, monkeypatch):
    from paydown.clients import bus as module

    monkeypatch.setattr(module, "PAUSES", ())

    class Down:
        def put_events(self, Entries):  # noqa: N803 -- the client's name
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}

    monkeypatch.setattr(Connection, "client", lambda self, name: Down())
    answer = paydown("send", written(PUSHED))
    assert (answer.code, "the event bus refused 1 event(s): InternalFailure" in answer.err) == (6, True)


def envelopes():
    """Those samples that are envelopes of a bus; the others are requests, batches of messages or of the stream."""
    return [
        path
        for path in sorted(PROJECT.glob("events/*/*.json"))
        if path.parent.name not in ("report_outcome", "wake") and "source" in json.loads(path.read_text())
    ]


@pytest.mark.parametrize("path", envelopes(), ids=lambda path: path.stem)
def test_the_sample_events_can_be_sent(path, paydown, house, bus):
    envelope = json.loads(path.read_text())
    if envelope["source"] == "paydown":
        assert paydown("send", str(path)).code == 0
        assert len(bus) == 1
    else:
        assert paydown("send", str(path), "--stack", house, "--toil", "switch_off_lamps").code == 0


def test_a_webhook_is_no_event(paydown, bus):
    answer = paydown("send", str(PROJECT / "events/ingress/registry_push.json"))
    assert (answer.code, "for functions/ingress" in answer.err) == (3, True)
