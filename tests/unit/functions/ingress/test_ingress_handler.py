from __future__ import annotations

import base64
import io
import json

import pytest

from functions.ingress import app
from functions.ingress.proxy import MAX_BODY
from local.webhooks import gateway_event, main, proof
from paydown.clients import aws
from paydown.errors import PermanentError, RetryableError
from tests.fixtures import payload
from tests.fixtures.ingress import EVENTS, SECRET, Ingress, sample

SAMPLES = {
    "registry_push": ["registry:4ec46292-daf2-4ed7-9504-7b4d9dd09855"],
    "alertmanager_node_not_ready": [
        "alertmanager:f1a835c2aa220be4:2026-11-22T14:51:23.177+00:00",
        "alertmanager:55ff77385fb35e2a:2026-11-22T14:51:23.177+00:00",
    ],
    "github_issue_opened": ["github:72d3162e-cc78-11e3-81ab-4c9367dc0958"],
    "harbor_push": ["harbor:4b2f89a6-548d-4c12-9993-a1f5790b97d2:ce8c753bd10d014546023b42cf39b0f4"],
    "roundup_issue_created": ["roundup:helpdesk:0b7e3a4c5d6f708192a3b4c5d6e7f809"],
}
PUSH = payload("registry-push-tag-latest-first")


@pytest.fixture
def ingress(monkeypatch) -> Ingress:
    return Ingress().install(monkeypatch)


@pytest.fixture
def log(monkeypatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(app.logger.handlers[0], "stream", stream)
    return stream


def test_every_sample_is_tried_here():
    assert {path.stem for path in EVENTS.glob("*.json")} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_reaches_the_bus_as_events(ingress, name):
    status, document = ingress.handle(sample(name))
    assert (status, document) == (202, {"events": SAMPLES[name], "ignored": 0})
    assert [event.key for event in ingress.bus.events] == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_redelivery_is_accepted_with_the_same_keys(ingress, name):
    assert ingress.handle(sample(name)) == ingress.handle(sample(name))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("secret", [None, "wrong", SECRET + "x"])
def test_without_proof_nothing_is_read_and_nothing_is_put(ingress, name, secret):
    status, document = ingress.handle(sample(name, secret))
    assert (status, document["error"]["code"]) == (401, "unauthorized")
    assert "fields" not in document["error"]
    assert not ingress.bus.requests


@pytest.mark.parametrize("name", SAMPLES)
def test_a_stranger_does_not_learn_that_his_body_is_no_json(ingress, name):
    assert ingress.handle(sample(name, secret=None) | {"body": "{"})[0] == 401


def test_a_body_that_was_changed_on_the_way_is_refused(ingress):
    request = sample("github_issue_opened")
    request["body"] = request["body"].replace("octocat", "mallory")
    assert ingress.handle(request)[0] == 401


def test_header_names_in_any_case_will_do(ingress):
    request = sample("github_issue_opened")
    for kind in ("headers", "multiValueHeaders"):
        request[kind] = {name.upper(): value for name, value in request[kind].items()}
    assert ingress.handle(request)[0] == 202


def test_a_gateway_that_sends_only_one_kind_of_headers_will_do(ingress):
    assert ingress.handle(sample("github_issue_opened") | {"multiValueHeaders": None})[0] == 202
    assert ingress.handle(sample("github_issue_opened") | {"headers": None})[0] == 202
    assert ingress.handle(sample("github_issue_opened") | {"headers": None, "multiValueHeaders": None})[0] == 401


@pytest.mark.parametrize("first", [True, False])
def test_a_signature_beside_another_one_is_refused(ingress, first):
    request = sample("github_issue_opened")
    right, wrong = request["multiValueHeaders"]["X-Hub-Signature-256"][0], "sha256=" + "0" * 64
    request["multiValueHeaders"]["X-Hub-Signature-256"] = [right, wrong] if first else [wrong, right]
    assert ingress.handle(request)[0] == 401


@pytest.mark.parametrize("sender", ["nobody", "", "webhook", "aws", "..", "registry/"])
def test_an_unknown_sender_is_not_found(ingress, sender):
    status, document = ingress.handle(sample("registry_push") | {"pathParameters": {"sender": sender}})
    assert (status, document["error"]["code"]) == (404, "unknown_sender")


def test_a_path_without_a_sender_is_not_found(ingress):
    assert ingress.handle(sample("registry_push") | {"pathParameters": None})[0] == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", None])
def test_only_post_is_allowed(ingress, method):
    assert ingress.handle(sample("registry_push") | {"httpMethod": method})[0] == 405


def test_old_and_new_secret_are_both_good_while_it_is_changed(ingress):
    ingress.secrets["test/webhooks/github"] = {"current": "new", "previous": "old"}
    statuses = [ingress.handle(sample("github_issue_opened", secret))[0] for secret in ("new", "old", SECRET)]
    assert statuses == [202, 202, 401]


@pytest.mark.parametrize("secret", [SECRET, SECRET + "\n", {"current": SECRET}, {"current": SECRET, "previous": ""}])
def test_the_forms_of_a_secret(ingress, secret):
    ingress.secrets["test/webhooks/registry"] = secret
    assert ingress.handle(sample("registry_push"))[0] == 202


@pytest.mark.parametrize("secret", ["", " \n", {}, {"current": ""}, {"current": None}, 5, None, []])
def test_a_sender_without_a_secret_is_told_to_come_back(ingress, secret):
    ingress.secrets["test/webhooks/registry"] = secret
    for given in ("", SECRET, "None"):
        assert ingress.handle(sample("registry_push", given))[0] == 503
    assert not ingress.bus.requests


@pytest.mark.parametrize("error", [RetryableError("down"), PermanentError("no such secret")])
def test_without_secrets_manager_the_sender_repeats(ingress, monkeypatch, error):
    def fails(name):
        raise error

    monkeypatch.setattr(aws, "secret", fails)
    status, document = ingress.handle(sample("registry_push"))
    assert (status, document["error"]["code"]) == (503, "unavailable")
    assert "no such" not in json.dumps(document)


def test_what_the_bus_refuses_for_a_moment_is_put_again(ingress):
    ingress.bus.refusals = [1, 1]
    assert ingress.handle(sample("alertmanager_node_not_ready"))[0] == 202
    assert ingress.bus.requests == [2, 1, 1]
    assert {event.node for event in ingress.bus.events} == {"worker-1", "worker-2"}


def test_what_the_bus_keeps_refusing_makes_the_sender_repeat(ingress):
    ingress.bus.refusals = [1] * 3
    status, document = ingress.handle(sample("registry_push"))
    assert (status, document["error"]["code"]) == (503, "unavailable")
    assert "events" not in document


def test_a_bug_of_ours_is_not_answered_as_if_the_sender_were_wrong(ingress, monkeypatch):
    def bug(events):
        raise KeyError("bug")

    monkeypatch.setattr(app.bus, "publish", bug)
    with pytest.raises(KeyError):
        ingress.handle(sample("registry_push"))


def test_a_body_over_a_mebibyte_is_refused_and_one_of_a_mebibyte_is_read(ingress):
    head = json.dumps(PUSH).encode()
    status, document = ingress.send("registry", head.ljust(MAX_BODY + 1))
    assert (status, document["error"]["code"]) == (413, "too_large")
    assert ingress.send("registry", head.ljust(MAX_BODY))[0] == 202


def test_the_size_is_that_of_the_bytes(ingress):
    euros = json.dumps(PUSH | {"extra": "€" * (MAX_BODY // 3)}, ensure_ascii=False).encode()
    assert len(euros.decode()) < MAX_BODY < len(euros)
    assert ingress.send("registry", euros)[0] == 413
    encoded = gateway_event("registry", b"", proof("registry", b"", SECRET))
    encoded |= {"isBase64Encoded": True, "body": base64.b64encode(b" " * (MAX_BODY + 1)).decode()}
    assert ingress.handle(encoded)[0] == 413


def test_a_body_in_base64_is_verified_as_it_was_sent(ingress):
    request = sample("github_issue_opened")
    request |= {"body": base64.b64encode(request["body"].encode()).decode(), "isBase64Encoded": True}
    assert ingress.handle(request)[0] == 202
    assert ingress.handle(request | {"isBase64Encoded": False})[0] == 401


@pytest.mark.parametrize("body", ["*", "a", "{}", "\u20ac"])
def test_a_body_that_is_not_the_base64_it_says_is_refused(ingress, body):
    status, document = ingress.handle(sample("registry_push") | {"body": body, "isBase64Encoded": True})
    assert (status, document["error"]["fields"][0]["field"]) == (400, "body")


@pytest.mark.parametrize("body", [None, "", "{", "[]", "[" * 50_000, '{"events": NaN}', '{"events": "\ud800"}'])
def test_a_body_that_cannot_be_read_is_the_senders_fault(ingress, body):
    status, document = ingress.handle(sample("registry_push") | {"body": body})
    assert (status, document["error"]["code"]) == (400, "invalid")


def test_bytes_that_are_no_utf_8_are_the_senders_fault(ingress):
    status, document = ingress.send("roundup", b'{"event": "\xff"}')
    assert (status, document["error"]["fields"]) == (400, [{"field": "body", "message": "is not UTF-8"}])


def test_a_missing_field_is_named(ingress):
    body = payload("roundup-issue-created")
    del body["tracker"]
    status, document = ingress.send("roundup", body)
    assert (status, document["error"]["fields"]) == (400, [{"field": "tracker", "message": "Field required"}])


def test_good_alerts_beside_a_bad_one_are_on_the_bus_and_the_bad_one_is_named(ingress):
    body = payload("alertmanager-kubenodenotready-firing")
    del body["alerts"][0]["labels"]["node"]
    status, document = ingress.send("alertmanager", body)
    assert status == 400
    assert document["error"]["fields"] == [{"field": "alerts.0.labels.node", "message": "Field required"}]
    assert document["events"] == [event.key for event in ingress.bus.events]
    assert [event.node for event in ingress.bus.events] == ["worker-2"]


def test_a_body_with_thousands_of_faults_names_some_and_counts_all(ingress):
    status, document = ingress.send("registry", {"events": [5] * 900})
    assert (status, len(document["error"]["fields"]), document["error"]["field_count"]) == (400, 20, 900)


def test_too_many_events_in_one_body_are_refused(ingress):
    assert ingress.send("registry", {"events": [5] * 1_001})[0] == 413


def test_many_events_travel_in_requests_of_ten(ingress):
    push = PUSH["events"][0]
    status, document = ingress.send("registry", {"events": [push | {"id": str(number)} for number in range(25)]})
    assert (status, len(document["events"])) == (202, 25)
    assert ingress.bus.requests == [10, 10, 5]


def test_nothing_to_do_is_accepted_without_asking_the_bus(ingress):
    assert ingress.send("registry", payload("registry-pull-manifest")) == (202, {"events": [], "ignored": 1})
    assert ingress.send("registry", {"events": []}) == (202, {"events": [], "ignored": 0})
    assert not ingress.bus.requests


def test_the_address_gives_a_registry_its_name(ingress):
    ingress.send("registry", PUSH, query={"registry": "images.example"})
    assert ingress.bus.events[0].registry == "images.example"


def test_logs_have_sender_status_and_keys_and_neither_bodies_nor_secrets(ingress, log):
    body = payload("github-issue-opened")
    body["issue"] |= {"title": "t1tle", "body": "b0dy"}
    ingress.send("github", body)
    ingress.send("github", body | {"issue": {"number": "numb3r"}})
    ingress.send("github", body, secret="wr0ng")
    ingress.secrets["test/webhooks/github"] = None
    ingress.send("github", body)
    ingress.handle(sample("registry_push") | {"pathParameters": {"sender": "stranger"}})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["sender"], line["status"]) for line in lines if line["message"] == "webhook"] == [
        ("github", 202),
        ("github", 400),
        ("github", 401),
        ("github", 503),
        ("unknown", 404),
    ]
    assert [line["event_keys"] for line in lines if line["message"] == "events"] == [["github:d1"]]
    assert "issue.title" in next(line for line in lines if line["message"] == "invalid")["fields"]
    assert [word for word in ("t1tle", "b0dy", "numb3r", "wr0ng", SECRET, "stranger") if word in log.getvalue()] == []


@pytest.mark.parametrize("name", SAMPLES)
def test_who_was_heard_of_and_what_they_told_is_noted_after_the_bus_has_it(ingress, name):
    ingress.handle(sample(name))
    assert ingress.notes.taken == [(name.partition("_")[0], SAMPLES[name])]


def test_the_watchdog_is_no_event_and_shows_that_alertmanager_is_alive(ingress):
    body = payload("alertmanager-kubenodenotready-firing")
    body["alerts"] = [body["alerts"][0] | {"labels": {"alertname": "Watchdog", "severity": "none"}}]
    assert ingress.send("alertmanager", body) == (202, {"events": [], "ignored": 1})
    assert ingress.notes.taken == [("alertmanager", [])]


def test_good_alerts_beside_a_bad_one_are_noted(ingress):
    body = payload("alertmanager-kubenodenotready-firing")
    del body["alerts"][0]["labels"]["node"]
    _, document = ingress.send("alertmanager", body)
    assert ingress.notes.taken == [("alertmanager", document["events"])]


def test_who_cannot_prove_who_they_are_or_be_understood_is_not_heard(ingress):
    ingress.handle(sample("registry_push", "wrong"))
    ingress.send("alertmanager", {"version": "5"})
    ingress.bus.refusals = [1] * 3
    ingress.handle(sample("registry_push"))
    assert ingress.notes.taken == []


@pytest.mark.parametrize("error", [RetryableError("down"), PermanentError("no right"), KeyError("a defect")])
def test_what_cannot_be_noted_costs_no_webhook(ingress, log, monkeypatch, error):
    def fails(sender, events, now):
        raise error

    monkeypatch.setattr(ingress.notes, "note", fails)
    status, document = ingress.handle(sample("registry_push"))
    assert (status, document["events"]) == (202, SAMPLES["registry_push"])
    assert "not noted" in [json.loads(line)["message"] for line in log.getvalue().splitlines()]


def test_without_a_ledger_webhooks_are_taken(ingress, monkeypatch):
    monkeypatch.setattr(app, "_sources", [])
    monkeypatch.delenv("PAYDOWN_LEDGER_TABLE", raising=False)
    assert ingress.handle(sample("registry_push"))[0] == 202


def test_a_sample_can_be_given_its_proof_on_the_command_line(ingress, capsys):
    assert main([str(EVENTS / "github_issue_opened.json"), "--secret", SECRET]) == 0
    assert ingress.handle(json.loads(capsys.readouterr().out))[0] == 202
