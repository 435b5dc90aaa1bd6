"""Whatever comes in, ingress answers, blames the right one, lets nobody in without proof, and repeats no value."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.webhooks import gateway_event, proof
from paydown.errors import InvalidEvent
from paydown.events import Event
from paydown.sources import SENDERS
from paydown.sources.aws import from_envelope
from tests.fixtures import PAYLOADS, payload
from tests.fixtures.ingress import SECRET, Ingress

CANARY = "c4nary"
ANSWERS = {202, 400, 401, 404, 405, 413}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
any_text = st.text(st.characters(codec=None), max_size=60)
header_names = st.sampled_from(
    ["Authorization", "authorization", "X-Hub-Signature-256", "X-GitHub-Event", "X-GitHub-Delivery", "X-Paydown-Token"]
)
headers = st.dictionaries(
    header_names | any_text, any_text | st.sampled_from(["issues", "ping", "Bearer x"]), max_size=5
)
senders = st.sampled_from(SENDERS)
REAL = [
    (next(sender for sender in SENDERS if path.stem.startswith(sender)), path.stem)
    for path in sorted(PAYLOADS.glob("*.json"))
    if path.stem.startswith(SENDERS)
]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def ingress(patch) -> Ingress:
    return Ingress().install(patch)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree of JSON."""
    if path:
        yield path
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from places(value, (*path, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from places(value, (*path, index))


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, Any]:
    """A real sender's body in which up to three values were taken out or replaced."""
    sender, name = draw(st.sampled_from(REAL))
    body = payload(name)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(body), key=repr)))
        parent = body
        for step in path[:-1]:
            parent = parent[step]
        if draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(anything)
        if not body:
            break
    return sender, body


gateway_events = st.fixed_dictionaries(
    {
        "httpMethod": st.sampled_from(["POST", "POST", "POST", "GET", ""]),
        "pathParameters": st.none() | st.fixed_dictionaries({"sender": senders | any_text}),
        "headers": st.none() | headers,
        "multiValueHeaders": st.none()
        | st.dictionaries(header_names | any_text, st.lists(any_text, max_size=3), max_size=3),
        "queryStringParameters": st.none() | st.dictionaries(st.sampled_from(["registry", "cluster", "x"]), any_text),
        "body": st.none() | any_text,
        "isBase64Encoded": st.booleans(),
    }
)


@settings(deadline=None)
@given(gateway_events)
def test_no_request_without_proof_gets_in_or_breaks_it(ingress, event):
    put = len(ingress.bus.requests)
    status, _ = ingress.handle(event)
    assert status in ANSWERS - {202}
    assert len(ingress.bus.requests) == put


@settings(deadline=None)
@given(senders, st.binary(max_size=200), headers, st.dictionaries(st.sampled_from(["registry", "cluster"]), any_text))
def test_any_body_with_proof_is_answered_as_the_senders_own_fault_or_success(ingress, sender, body, more, query):
    event = gateway_event(sender, body, more | proof(sender, body, SECRET), query)
    assert ingress.handle(event)[0] in ANSWERS - {404, 405}


@settings(deadline=None)
@given(senders, anything)
def test_any_json_with_proof_is_answered(ingress, sender, body):
    assert ingress.send(sender, json.dumps(body).encode("utf-8", "surrogatepass"))[0] in {202, 400}


@settings(deadline=None, max_examples=300)
@given(spoiled(), st.none() | any_text)
def test_a_spoiled_body_loses_none_of_its_good_events_and_repeats_no_value(ingress, case, given_name):
    sender, body = case
    query = {} if given_name is None else {"registry": given_name, "cluster": given_name}
    put = len(ingress.bus.events)
    status, document = ingress.send(sender, json.dumps(body).encode("utf-8", "surrogatepass"), query=query)
    assert status in {202, 400}
    assert (status == 400) == ("error" in document)
    assert [event.key for event in ingress.bus.events[put:]] == document.get("events", [])
    assert CANARY not in json.dumps([field["message"] for field in document.get("error", {}).get("fields", [])])


@settings(deadline=None)
@given(spoiled())
def test_the_same_body_has_the_same_keys_each_time(ingress, case):
    assert ingress.send(*case) == ingress.send(case[0], copy.deepcopy(case[1]))


@settings(deadline=None)
@given(senders, st.binary(max_size=80), st.binary(max_size=80), any_text)
def test_a_proof_is_good_for_its_own_body_and_its_own_secret_only(ingress, sender, body, other, secret):
    if sender in ("github", "roundup") and body != other:
        assert ingress.handle(gateway_event(sender, other, proof(sender, body, SECRET)))[0] == 401
    if secret != SECRET:
        stolen = "Bearer " + secret if sender in ("alertmanager", "registry") else "sha256=" + secret
        forged = {"Authorization": stolen, "X-Hub-Signature-256": stolen, "X-Paydown-Token": secret}
        assert ingress.handle(gateway_event(sender, body, forged))[0] == (401 if secret.strip() != SECRET else 400)


@st.composite
def spoiled_envelopes(draw: st.DrawFn) -> Any:
    """An envelope of AWS's own, or of ours, in which up to two values were taken out or replaced."""
    envelope: Any = copy.deepcopy(draw(st.sampled_from([ALARM, SCHEDULED, OURS])))
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(sorted(places(envelope), key=repr)))
        parent = envelope
        for step in path[:-1]:
            parent = parent[step]
        if draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(anything)
    return envelope


STAMP = "2026-11-22T14:46:57.985+0000"
METRIC = {"namespace": "CWAgent", "name": "disk_used_percent", "dimensions": {"InstanceId": "i-1", "path": "/"}}
ALARM = {
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "account": "123456789012",
    "region": "eu-central-1",
    "detail": {
        "alarmName": "disk",
        "state": {"value": "ALARM", "timestamp": STAMP},
        "configuration": {"metrics": [{"id": "m1", "metricStat": {"metric": METRIC}}]},
    },
}
SCHEDULED = {
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "id": "1",
    "time": "2026-11-22T14:47:00Z",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/nightly"],
    "detail": {},
}
OURS = {
    "source": "paydown",
    "detail-type": "TicketCreated",
    "detail": {"key": "k", "at": STAMP, "ticket": {"tracker": "t", "id": "1"}, "title": "x"},
}


@pytest.mark.parametrize("envelope", [ALARM, SCHEDULED, OURS])
def test_the_envelopes_that_are_spoiled_here_are_good(envelope):
    assert isinstance(from_envelope(envelope), Event)


@settings(deadline=None, max_examples=300)
@given(spoiled_envelopes() | st.dictionaries(st.text(max_size=8), anything, max_size=3))
def test_any_envelope_is_an_event_nothing_or_refused(envelope):
    with contextlib.suppress(InvalidEvent):
        event = from_envelope(envelope)
        assert event is None or isinstance(event, Event)
