"""The page of a plan: what it shows, to whom, and that it can do nothing."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from functions.decide import app
from tests.fixtures.decide import got, link_query
from tests.unit.people import ANN_ARN, asked

HOUR = timedelta(hours=1)


def view(desk, run, number=1, method="GET", **changes):
    query = link_query(run.id, number, desk.clock() + HOUR) | changes
    answer = app.handler(got(run.id, query, method))
    return answer["statusCode"], answer


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_plan_is_shown_as_it_will_be_executed(desk, held):
    status, answer = view(desk, held)
    assert status == 200
    body = answer["body"]
    for shown in (
        "lamp/desk",
        "lamp/hall",
        "switch_off",
        "disruptive",
        "burning hall",
        held.id,
        held.fingerprint,
        "ann, bob",
        "needs_approval",
        "2026-11-22 03:10:00 UTC",
        f"paydown approve {held.id} --fingerprint {held.fingerprint[:12]}",
        f"/approve {held.fingerprint[:12]}",
        "helpdesk/7",
    ):
        assert shown in body, shown


def test_there_is_no_script_and_no_form_and_the_browser_is_told_so(desk, held):
    _, answer = view(desk, held)
    tags = Tags(answer["body"])
    assert not tags.tags & {"script", "form", "input", "button", "a", "img", "iframe", "link", "object", "base"}
    assert tags.attributes <= {"lang", "charset", "class"}
    headers = answer["headers"]
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_style_is_the_one_that_the_policy_of_the_page_allows(desk, held):
    import base64
    import hashlib

    _, answer = view(desk, held)
    style = re.search(r"<style>(.*)</style>", answer["body"], re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer["headers"]["Content-Security-Policy"]


def test_hostile_names_are_escaped(desk, plant, world):
    world.burning = {"<script>alert(1)</script>", 'x" onload="y', "a\u202eb"}
    run = plant.look(asked("carl", ticket="<b>8</b>"))
    _, answer = view(desk, run)
    assert "&lt;script&gt;" in answer["body"]
    assert "&lt;b&gt;8" in answer["body"]
    assert "\u202e" not in answer["body"]
    assert not Tags(answer["body"]).tags & {"script", "b"}
    assert "onload" not in Tags(answer["body"]).attributes


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_changes_nothing(desk, held, ledger, method):
    before = ledger.runs.get(held.id)
    assert view(desk, held, method=method, decision="approve", fingerprint=held.fingerprint)[0] == 200
    assert (ledger.runs.get(held.id), ledger.approvals.latest(held), desk.nudged) == (before, None, [])


@pytest.mark.parametrize(
    "changes", [{"signature": "0" * 64}, {"plan": "2"}, {"expires": "9999999999"}, {"signature": ""}, {"plan": "x"}]
)
def test_a_bad_link_is_answered_the_same_whether_the_run_exists_or_not(desk, held, changes, monkeypatch):
    monkeypatch.setattr(desk.ledger.runs, "get", lambda _: pytest.fail("it was read"))
    query = link_query(held.id, 1, desk.clock() + HOUR) | changes
    answers = [app.handler(got(run, query)) for run in (held.id, "0" * 32, "..", "")]
    assert [answer["statusCode"] for answer in answers] == [403] * 4
    assert len({answer["body"] for answer in answers}) == 1


@pytest.mark.parametrize("query", [None, {}])
def test_no_parameters_at_all(desk, held, query):
    assert app.handler(got(held.id, query))["statusCode"] == 403


def test_an_expired_link_does_not_tell_either(desk, held, clock, monkeypatch):
    monkeypatch.setattr(desk.ledger.runs, "get", lambda _: pytest.fail("it was read"))
    for run in (held.id, "0" * 32):
        query = link_query(run, 1, clock())
        assert app.handler(got(run, query))["statusCode"] == 410


def test_a_link_of_a_secret_that_nobody_has(desk, held):
    query = link_query(held.id, 1, desk.clock() + HOUR, secret="guessed")
    assert app.handler(got(held.id, query))["statusCode"] == 403


def test_a_run_that_the_ledger_forgot(desk):
    assert app.handler(got("0" * 32, link_query("0" * 32, 1, desk.clock() + HOUR)))["statusCode"] == 404


def test_the_difference_to_what_was_approved_is_marked(desk, held, plant, world):
    world.burning = {"desk", "stairs"}
    desk.decide(held.id, {"decision": "approve", "fingerprint": held.fingerprint}, ANN_ARN)
    rest = plant.wake(held)
    _, answer = view(desk, rest, rest.plan_number)
    rows = re.findall(r"<tr class.*?</tr>", answer["body"])
    by_object = {re.search("lamp/([a-z]+)", row)[1]: row for row in rows}
    assert by_object.keys() == {"stairs", "hall"}
    assert "not approved yet" in by_object["stairs"]
    assert "no longer applies" in by_object["hall"]
    _, old = view(desk, rest, 1)
    assert "held with a newer plan" in old["body"]
    assert "Approved by ann" in old["body"]
    assert "How to decide" not in old["body"]


def test_after_the_decision_the_page_says_so(desk, held, plant):
    desk.decide(held.id, {"decision": "reject", "fingerprint": held.fingerprint, "why": "<i>no</i>"}, ANN_ARN)
    plant.wake(held)
    _, answer = view(desk, held)
    assert "Rejected by ann" in answer["body"]
    assert "&lt;i&gt;no" in answer["body"]
    assert "does not wait for a decision any more" in answer["body"]
    assert "How to decide" not in answer["body"]


def test_a_secret_that_cannot_be_read_is_our_fault(desk, held, monkeypatch):
    from paydown.clients import aws
    from paydown.errors import PermanentError

    def refused(name):
        raise PermanentError("secret test/links: AccessDenied")

    monkeypatch.setattr(aws, "secret", refused)
    answer = app.handler(got(held.id, link_query(held.id, 1, desk.clock() + HOUR)))
    assert answer["statusCode"] == 503
    assert "AccessDenied" not in json.dumps(answer)
