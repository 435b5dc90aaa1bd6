"""The Lambda handler: batches, bare events, and what is said to whom."""

import io
import itertools
import json
import os

import pytest
from aws_lambda_powertools import Logger
from botocore.stub import Stubber

from paydown.clients import aws
from paydown.errors import PermanentError
from paydown.toil import handler as room
from paydown.toil import handler_for
from tests.unit.toil.lamps import SwitchOffLamps, pushed

NUMBERS = itertools.count()


class Context:
    function_name = "switch_off_lamps"

    @staticmethod
    def get_remaining_time_in_millis():
        return 60_000


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def handle(plant, monkeypatch, log):
    monkeypatch.setattr(room, "open_ledger", lambda: plant.ledger)
    monkeypatch.setattr(room, "utc_now", plant.clock)
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    # Loggers outlive tests: each test has one of its own.
    monkeypatch.setattr(room, "Logger", lambda service: Logger(service=f"{service}-{next(NUMBERS)}", stream=log))
    handler = handler_for(SwitchOffLamps)
    return lambda event: handler(event, Context())


def envelope(event):
    return {"source": "paydown", "detail-type": event.detail_type(), "detail": event.model_dump(mode="json")}


def look(event, target="host/room-1"):
    return {
        "paydown": 1,
        "command": "look",
        "detail_type": event.detail_type(),
        "detail": event.model_dump(mode="json"),
        "target": target,
    }


def batch(*bodies):
    return {"Records": [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]}


def test_a_message_that_became_a_run_is_done_with(handle, world):
    assert handle(batch(json.dumps(look(pushed())))) == {"batchItemFailures": []}
    assert sorted(world.switched) == ["desk", "hall"]


@pytest.mark.parametrize("body", ["{", "[]", "null", '{"source": "aws.ec2", "detail-type": "x", "detail": {}}', "{}"])
def test_a_message_that_cannot_become_a_run_comes_back_without_a_stack_trace(handle, log, body):
    assert handle(batch(body, json.dumps(look(pushed())))) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    said = log.getvalue()
    assert "Traceback" not in said
    assert "WARNING" in said


def test_a_bare_event_is_done_for_all_its_targets_and_tells_what_became_of_it(handle, world):
    answer = handle(envelope(pushed()))
    assert [(run["target"], run["status"]) for run in answer["runs"]] == [
        ("host/room-1", "Verified"),
        ("host/room-2", "Skipped"),
    ]


def test_a_faulty_bare_event_is_told_which_field_is_wrong(handle):
    answer = handle({"source": "paydown", "detail-type": "ImagePushed", "detail": {"key": "k", "digest": "secret!"}})
    fields = [fault[0] for fault in answer["error"]["faults"]]
    assert {"at", "registry", "repository", "digest"} <= set(fields)
    assert "secret!" not in json.dumps(answer)


def test_anything_but_the_word_enforce_observes(handle, world, monkeypatch):
    for number, mode in enumerate(["Observe", "enforce", "", "Off"]):
        monkeypatch.setenv("PAYDOWN_MODE", mode)
        answer = handle(envelope(pushed(f"push-{number}")))
        assert answer["runs"][0]["status"] == "Observed"
    monkeypatch.delenv("PAYDOWN_MODE")
    assert handle(envelope(pushed("push-9")))["runs"][0]["status"] == "Observed"
    assert world.switched == []


def test_logs_carry_what_finds_a_run_again(handle, log):
    handle(envelope(pushed()))
    entries = [json.loads(line) for line in log.getvalue().splitlines()]
    (entry,) = [entry for entry in entries if entry.get("outcome") == "Verified"]
    assert (entry["toil"], entry["event_key"], entry["target"]) == ("switch_off_lamps", "push-1", "room-1")
    assert len(entry["run_id"]) == 32


def test_a_command_to_a_queue_that_is_not_there_is_a_permanent_error(monkeypatch):
    monkeypatch.setitem(os.environ, "PAYDOWN_QUEUE_PREFIX", "stack")
    aws.forget()
    with Stubber(aws.client("sqs")) as stub:
        stub.add_client_error("get_queue_url", "QueueDoesNotExist", http_status_code=400)
        with pytest.raises(PermanentError, match="queue of clean"):
            room.send_commands("clean", ["{}"])
    aws.forget()
