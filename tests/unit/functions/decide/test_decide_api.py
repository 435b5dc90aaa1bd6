"""Decisions through the API: who IAM says it is, what they may, and what they are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from functions.decide import app
from paydown.ledger import Outcome, Status
from tests.fixtures.decide import posted
from tests.unit.people import ANN_ARN, EVE_ARN

OPS = "arn:aws:sts::111122223333:assumed-role/ops/whoever"


def approval(run, **changes):
    return {"decision": "approve", "fingerprint": run.fingerprint, "why": "it is night", **changes}


def test_an_approver_approves_and_the_run_goes_on(desk, held, plant, world):
    status, told = desk.decide(held.id, approval(held), ANN_ARN)
    assert status == 200
    assert told == {
        "run": held.id,
        "decision": "approve",
        "plan_number": 1,
        "fingerprint": held.fingerprint,
        "by": "ann",
        "authenticated": f"iam:{ANN_ARN}",
        "at": "2026-11-22T03:00:00+00:00",
        "why": "it is night",
    }
    assert desk.nudged == [("switch_off_lamps", held.id)]
    assert plant.wake(held).status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_role_approves_with_the_beginning_of_the_fingerprint_in_base64(desk, held):
    body = approval(held, fingerprint=held.fingerprint[:12].upper())
    assert desk.decide(held.id, body, OPS, encoded=True)[0] == 200


def test_a_rejection_ends_the_run(desk, held, plant):
    assert desk.decide(held.id, approval(held, decision="reject", why="not now"), ANN_ARN)[0] == 200
    ended = plant.wake(held)
    assert (ended.status, ended.reasons[0].text) == (Outcome.REJECTED, "by ann: not now")


@pytest.mark.parametrize(
    "arn", [EVE_ARN, "arn:aws:iam::111122223333:user/x", "arn:aws:iam::999999999999:user/ann", "x"]
)
def test_others_may_not(desk, held, plant, world, arn):
    status, told = desk.decide(held.id, approval(held), arn)
    assert (status, told["error"]["code"]) == (403, "not_an_approver")
    assert plant.wake(held).status is Status.HELD
    assert (world.switched, desk.nudged) == ([], [])


@pytest.mark.parametrize(
    "identity", [None, {}, {"userArn": None}, {"userArn": 7}, {"user": ANN_ARN, "caller": ANN_ARN}]
)
def test_nobody_is_believed_who_says_who_they_are(desk, held, identity):
    claims = {"x-amz-user-arn": ANN_ARN, "userArn": ANN_ARN, "Authorization": ANN_ARN}
    event = posted(held.id, approval(held), None, headers=claims, requestContext={"identity": identity})
    assert desk.handle(event)[0] == 403
    event["queryStringParameters"] = {"userArn": ANN_ARN}
    assert desk.handle(event)[1]["error"]["code"] == "unauthenticated"
    assert desk.handle(posted(held.id, approval(held, userArn=ANN_ARN), None))[0] == 403


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("", ["body"]),
        ("[]", ["body"]),
        ("{", ["body"]),
        ("\ud800", ["body"]),
        ("{}", ["decision", "fingerprint"]),
        ({"decision": "Approve", "fingerprint": "0" * 64}, ["decision"]),
        ({"decision": "approve", "fingerprint": "0" * 11}, ["fingerprint"]),
        ({"decision": "approve", "fingerprint": "0" * 12 + "\n"}, ["fingerprint"]),
        ({"decision": "approve", "fingerprint": "g" * 64}, ["fingerprint"]),
        ({"decision": "approve", "fingerprint": 10**63}, ["fingerprint"]),
        ({"decision": "approve", "fingerprint": "0" * 64, "why": "x" * 2_001}, ["why"]),
        ({"decision": "approve", "fingerprint": "0" * 64, "by": "ann"}, ["by"]),
        ("x" * 40_000, ["body"]),
        ("é" * 10_000, ["body"]),
    ],
)
def test_what_is_wrong_with_the_body_is_named(desk, held, body, fields):
    status, told = desk.decide(held.id, body, ANN_ARN)
    assert status == 400
    assert [field["field"] for field in told["error"]["fields"]] == fields


def test_a_body_that_is_no_base64(desk, held):
    assert desk.handle(posted(held.id, "???", ANN_ARN) | {"isBase64Encoded": True})[0] == 400


@pytest.mark.parametrize("run", ["0" * 32, "", "..", "0" * 32 + "-0", "x" * 5_000, "RUN", "é"])
def test_a_run_that_is_not_there(desk, held, run):
    status, told = desk.decide(run, approval(held), ANN_ARN)
    assert (status, told["error"]["code"]) == (404, "no_such_run")


def test_whom_the_policy_does_not_name_learns_nothing_of_runs(desk, held):
    for run in (held.id, "0" * 32):
        status, told = desk.decide(run, approval(held), "arn:aws:iam::111122223333:user/x")
        assert (status, told["error"]["code"]) == (403, "not_an_approver")


def test_conflicts(desk, held, plant, clock):
    def code(body, arn=ANN_ARN):
        status, told = desk.decide(held.id, body, arn)
        return status, told.get("error", {}).get("code", told.get("by"))

    assert code(approval(held, fingerprint="0" * 64)) == (409, "wrong_fingerprint")
    assert code(approval(held)) == (200, "ann")
    assert code(approval(held)) == (200, "ann")
    assert code(approval(held), OPS) == (409, "decided_already")
    assert code(approval(held, decision="reject")) == (409, "decided_already")
    plant.wake(held)
    assert code(approval(held), OPS) == (409, "not_held")


def test_after_its_time_nobody_decides(desk, held, clock):
    clock.tick(600)
    status, told = desk.decide(held.id, approval(held), ANN_ARN)
    assert (status, told["error"]["code"]) == (409, "expired")


@pytest.mark.parametrize(("name", "status"), [("decision", 403), ("plan", 403), ("ticket_commented", None)])
def test_the_sample_events_are_understood(desk, name, status):
    """They decide nothing here: this policy does not name their caller, nor the inventory their tracker."""
    event = json.loads((Path(__file__).parents[4] / f"events/decide/{name}.json").read_text())
    answer = app.handler(event)
    assert answer.get("statusCode") == status
    assert status or answer == {"batchItemFailures": []}


def test_a_lost_nudge_is_harmless(desk, held, plant):
    desk.queue_is_gone = True
    assert desk.decide(held.id, approval(held), ANN_ARN)[0] == 200
    assert [row["id"] for row in plant.ledger.runs.due(plant.clock())] == [held.id]


def test_without_a_policy_nobody_decides(desk, held, ledger):
    ledger.table.transact([ledger.table.delete(item["pk"], item["sk"]) for item in ledger.table.query("DOC#policy")])
    assert desk.decide(held.id, approval(held), ANN_ARN)[0] == 403


def test_a_ledger_that_does_not_answer_is_our_fault_and_says_nothing_more(desk, held, ledger, monkeypatch):
    from paydown.errors import RetryableError

    def broken(*_, **__):
        raise RetryableError("table secret-name does not answer")

    monkeypatch.setattr(ledger.runs, "get", broken)
    status, told = desk.decide(held.id, approval(held), ANN_ARN)
    assert status == 503
    assert "secret-name" not in json.dumps(told)


@pytest.mark.parametrize(
    ("resource", "method", "status"),
    [
        (app.DECISIONS, "GET", 405),
        (app.DECISIONS, "", 405),
        (app.PLANS, "POST", 405),
        ("/runs/{run}", "POST", 404),
        (None, "POST", 404),
    ],
)
def test_other_ways_lead_nowhere(desk, held, resource, method, status):
    event = posted(held.id, approval(held), ANN_ARN) | {"resource": resource, "httpMethod": method}
    assert desk.handle(event)[0] == status
    assert desk.ledger.approvals.latest(held) is None
