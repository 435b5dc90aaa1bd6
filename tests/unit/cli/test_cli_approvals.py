"""What waits for a person, and deciding through the API as oneself."""

from __future__ import annotations

import io
import sys

import pytest

from cli import api, approvals
from cli.api import Answer
from cli.connection import Connection
from functions.decide.app import handler
from paydown.ledger import Outcome, Status
from tests.fixtures.decide import Desk, posted
from tests.unit.people import ANN_ARN, EVE_ARN, asked, publish


@pytest.fixture
def caller(monkeypatch):
    """Whose credentials the command has."""
    who = {"arn": ANN_ARN}
    monkeypatch.setattr(Connection, "person_arn", property(lambda self: who["arn"]))
    return who


@pytest.fixture
def held(paydown, plant, clock, caller, monkeypatch):
    """A held run, and the real function behind the API; IAM is played by this fixture."""
    publish(plant)
    Desk(plant.ledger, clock).install(monkeypatch)

    def post(connection, path, body):
        run = path.split("/")[2]
        answer = handler(posted(run, body, caller["arn"]))
        import json

        return Answer(answer["statusCode"], json.loads(answer["body"]))

    monkeypatch.setattr(approvals, "post", post)
    return plant.look(asked("carl"))


@pytest.fixture
def typed(monkeypatch):
    """Lets somebody sit at a terminal and type this."""

    def type_in(text):
        terminal = io.StringIO(text)
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", terminal)

    return type_in


def test_what_waits_is_listed(paydown, held, clock):
    clock.tick(60)
    answer = paydown("held", "--json")
    (one,) = answer.data["held"]
    assert (one["id"], one["fingerprint"], one["approvers"]) == (held.id, held.fingerprint, ["ann", "bob"])
    assert (one["decided"], one["ticket"]) == (False, {"tracker": "helpdesk", "id": "7"})
    assert one["expires"] == "2026-11-22T03:10:00+00:00"
    text = paydown("held").out
    assert held.fingerprint[:12] in text
    assert "ann, bob" in text
    assert "in 9 min" in text


def test_nothing_waits(paydown, plant):
    assert paydown("held").out.splitlines()[-1] == "nothing waits for a person"
    assert paydown("held", "--json").data == {"held": []}


def test_a_fingerprint_approves_without_a_terminal(paydown, held, plant, world):
    answer = paydown("approve", held.id, "--fingerprint", held.fingerprint[:12], "--why", "night", "--json")
    assert (answer.code, answer.data["by"], answer.data["authenticated"]) == (0, "ann", f"iam:{ANN_ARN}")
    assert plant.ledger.approvals.latest(held).why == "night"
    assert plant.wake(held).status is Outcome.VERIFIED


def test_without_a_terminal_the_fingerprint_must_be_named(paydown, held, plant):
    answer = paydown("approve", held.id)
    assert answer.code == 2
    assert "--fingerprint" in answer.err
    assert plant.ledger.approvals.latest(held) is None


def test_on_a_terminal_the_plan_is_shown_and_yes_is_asked_for(paydown, held, typed, plant):
    typed("yes\n")
    answer = paydown("approve", held.id[:8])
    assert answer.code == 0
    for shown in ("lamp/desk", "lamp/hall", "burning hall", "disruptive", held.fingerprint):
        assert shown in answer.out
    assert f"as ann ({ANN_ARN})? Type yes:" in answer.err
    assert plant.ledger.approvals.latest(held).approved


@pytest.mark.parametrize("text", ["", "y\n", "no\n"])
def test_anything_but_yes_decides_nothing(paydown, held, typed, plant, text):
    typed(text)
    assert paydown("approve", held.id).code == 2
    assert plant.ledger.approvals.latest(held) is None


def test_a_rejection_needs_a_reason(paydown, held, plant):
    assert paydown("reject", held.id, "--fingerprint", held.fingerprint).code == 2
    assert paydown("reject", held.id, "--fingerprint", held.fingerprint, "--why", "not now").code == 0
    assert plant.wake(held).status is Outcome.REJECTED


def test_the_rest_is_shown_with_the_difference(paydown, held, typed, plant, world):
    world.burning = {"desk", "stairs"}
    paydown("approve", held.id, "--fingerprint", held.fingerprint)
    rest = plant.wake(held)
    assert rest.status is Status.HELD
    typed("no\n")
    lines = paydown("approve", held.id).out.splitlines()
    assert any("lamp/stairs" in line and line.endswith("new") for line in lines)
    assert any("lamp/hall" in line and line.endswith("applies no more") for line in lines)


def test_who_may_not_is_told_before_anything_is_asked(paydown, held, caller, typed, plant):
    caller["arn"] = EVE_ARN
    typed("yes\n")
    answer = paydown("approve", held.id)
    assert answer.code == 6
    assert "(not_an_approver)" in answer.err
    assert "Type yes" not in answer.err


@pytest.mark.parametrize(("given", "code"), [("0" * 12, 5), ("0123", 5), ("zz", 5)])
def test_another_fingerprint(paydown, held, given, code):
    assert paydown("approve", held.id, "--fingerprint", given).code == code


def test_what_was_decided_or_is_over_is_a_conflict(paydown, held, caller, plant):
    assert paydown("approve", held.id, "--fingerprint", held.fingerprint).code == 0
    caller["arn"] = "arn:aws:sts::111122223333:assumed-role/ops/x"
    again = paydown("approve", held.id, "--fingerprint", held.fingerprint)
    assert (again.code, "(decided_already)" in again.err) == (5, True)
    plant.wake(held)
    over = paydown("approve", held.id, "--fingerprint", held.fingerprint)
    assert (over.code, "(not_held)" in over.err) == (5, True)


def test_the_policy_of_the_api_counts_not_that_of_the_command(paydown, held, caller, monkeypatch, plant):
    monkeypatch.setattr(approvals, "judge", lambda policy, *_: policy.people[0])
    caller["arn"] = EVE_ARN
    answer = paydown("approve", held.id, "--fingerprint", held.fingerprint)
    assert (answer.code, "(not_an_approver)" in answer.err) == (6, True)
    assert plant.ledger.approvals.latest(held) is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(403, {"message": "Missing Authentication Token"}), 6),
        (Answer(403, {"Message": "User is not authorized"}), 6),
        (Answer(503, {"error": {"code": "unavailable", "message": "try again"}}), 1),
        (Answer(404, {"error": {"code": "no_such_run", "message": "there is no such run"}}), 4),
        (Answer(502, {}), 6),
        (Answer(200, {}), 6),
    ],
)
def test_answers_that_decide_nothing(paydown, held, monkeypatch, answer, code):
    monkeypatch.setattr(approvals, "post", lambda *_: answer)
    assert paydown("approve", held.id, "--fingerprint", held.fingerprint).code == code


class Fake:
    """Stands for a connection: a client of CloudFormation at this address."""

    stack_name = "house"

    def __init__(self, endpoint, outputs):
        self.meta, self.endpoint_url, self.outputs = self, endpoint, outputs

    def client(self, service):
        return self


def test_the_address_of_the_api():
    outputs = {"ApiUrl": "https://a1.execute-api.eu-central-1.amazonaws.com/v1", "ApiId": "a1"}
    on_aws = Fake("https://cloudformation.eu-central-1.amazonaws.com", outputs)
    assert api.base_url(on_aws) == outputs["ApiUrl"]
    local = Fake("http://127.0.0.1:4566/", outputs)
    assert api.base_url(local) == "http://127.0.0.1:4566/_aws/execute-api/a1/v1"
    with pytest.raises(Exception, match="deploy this version"):
        api.base_url(Fake("http://127.0.0.1:4566/", {}))
