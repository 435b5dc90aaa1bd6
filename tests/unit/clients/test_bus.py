from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from paydown.clients import bus
from paydown.errors import PaydownError, PermanentError, RetryableError
from paydown.events import Sweep
from tests.fixtures.ingress import Bus

AT = datetime(2026, 11, 22, tzinfo=UTC)


def sweeps(count: int) -> list[Sweep]:
    return [Sweep(key=f"schedule:{number}", at=AT, rule="nightly") for number in range(count)]


@pytest.fixture
def recorder(monkeypatch) -> Bus:
    monkeypatch.setattr(bus, "PAUSES", (0, 0))
    return Bus()


def test_an_event_is_put_with_its_source_type_and_detail(recorder):
    (event,) = sweeps(1)
    bus.publish([event], recorder)
    assert recorder.entries == [{"Source": "paydown", "DetailType": "Sweep", "Detail": event.model_dump_json()}]


def test_no_events_are_no_request(recorder):
    bus.publish([], recorder)
    assert recorder.requests == []


def test_a_request_has_ten_entries_at_most_and_keeps_their_order(recorder):
    bus.publish(sweeps(21), recorder)
    assert recorder.requests == [10, 10, 1]
    assert [event.key for event in recorder.events] == [f"schedule:{number}" for number in range(21)]


def test_a_request_has_a_quarter_of_a_mebibyte_at_most(recorder):
    bus.put([("Large", json.dumps("x" * 100_000))] * 5, recorder)
    assert recorder.requests == [2, 2, 1]


def test_an_entry_counts_in_bytes_and_may_be_as_large_as_the_limit(recorder):
    room = bus.MAX_BYTES - len("paydown") - len("Large")
    bus.put([("Large", "x" * room)], recorder)
    with pytest.raises(PermanentError, match="too large"):
        bus.put([("Large", "x" * (room + 1))], recorder)
    with pytest.raises(PermanentError, match="too large"):
        bus.put([("Large", "€" * (room // 2))], recorder)


def test_only_what_was_refused_is_put_again(recorder):
    recorder.refusals = [3, 1]
    bus.publish(sweeps(5), recorder)
    assert recorder.requests == [5, 3, 1]
    assert sorted(event.key for event in recorder.events) == [f"schedule:{number}" for number in range(5)]


def test_what_is_refused_again_and_again_is_an_error_with_its_code(recorder):
    recorder.refusals = [1, 1, 1]
    with pytest.raises(RetryableError, match=r"1 event\(s\): InternalFailure"):
        bus.publish(sweeps(2), recorder)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://events.example"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutEvents"),
        ClientError({"Error": {"Code": "ThrottlingException"}}, "PutEvents"),
    ],
)
def test_errors_of_aws_become_ours(error):
    class Failing:
        def put_events(self, **_):
            raise error

    with pytest.raises(PaydownError, match="event bus"):
        bus.publish(sweeps(1), Failing())


def test_the_real_client_takes_the_request_and_its_answer_is_understood():
    (event,) = sweeps(1)
    client = boto3.client("events", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
    entry = {"Source": "paydown", "DetailType": "Sweep", "Detail": event.model_dump_json()}
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"}]}
    with Stubber(client) as stub:
        stub.add_response("put_events", refused, {"Entries": [entry]})
        stub.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
        bus.publish([event], client)
        stub.assert_no_pending_responses()
