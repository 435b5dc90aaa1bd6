"""Whatever comes in, deciding never fails, never blames itself, and takes nobody's word for an approver's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.decide import app
from paydown.approving import Refused, arn_matches, command_in, is_command, named_by
from paydown.ledger import Run
from tests.fixtures.decide import Desk, got, link_query, posted
from tests.unit.ledgers import Clock, ledger_in_moto
from tests.unit.people import ACCOUNT, ANN_ARN, EVE_ARN, asked, publish
from tests.unit.toil import lamps

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
any_text = st.text(st.characters(codec=None), max_size=60)
APPROVERS = (ANN_ARN, f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/x")
strangers = (
    st.none()
    | anything
    | st.sampled_from([EVE_ARN, ANN_ARN.upper(), f"{ANN_ARN} ", f"{ANN_ARN}/x", ANN_ARN.replace(ACCOUNT, "9" * 12)])
    | st.from_regex(rf"arn:aws:sts::{ACCOUNT}:assumed-role/[\w.@-]{{1,20}}/(ann|ops|[\w.@-]{{2,20}})", fullmatch=True)
    .filter(lambda arn: "/ops/" not in arn)
    | st.from_regex(rf"arn:aws:sts::{ACCOUNT}:federated-user/(ann|ops|bob)", fullmatch=True)
)  # fmt: skip


@pytest.fixture(scope="module")
def room() -> Iterator[tuple[Desk, Run, Run]]:
    """A desk, a run whose plan waits, and one that is over."""
    world = lamps.World(burning={"hall", "desk"})
    with pytest.MonkeyPatch.context() as patch, ledger_in_moto() as ledger:
        patch.setattr(lamps, "WORLD", world)
        plant = lamps.Plant(ledger, Clock())
        publish(plant)
        tracker = {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example/", "secret": "s"}
        ledger.inventory.publish(lamps.ROOMS | {"trackers": [tracker]}, "test", plant.clock())
        held, over = plant.look(asked("carl")), plant.look(asked("carl", key="ticket-2"), "host/room-2")
        ledger.approvals.decide(over, over.fingerprint, approved=False, by="ann", why="", now=plant.clock())
        yield Desk(ledger, plant.clock).install(patch), held, plant.wake(over)


def untouched(desk: Desk, held: Run) -> bool:
    return desk.ledger.approvals.latest(held) is None and desk.ledger.runs.get(held.id) == held and not desk.nudged


bodies = st.one_of(
    any_text,
    anything.map(json.dumps),
    st.fixed_dictionaries(
        {},
        optional={
            "decision": st.sampled_from(["approve", "reject", "Approve", ""]) | anything,
            "fingerprint": st.sampled_from(["right", "beginning", "0" * 64, "0" * 11]) | anything,
            "why": anything,
            "by": anything,
            "userArn": st.just(ANN_ARN),
        },
    ),
)


def filled(body: Any, fingerprint: str) -> str:
    if isinstance(body, str):
        return body
    prints = {"right": fingerprint, "beginning": fingerprint[:12]}
    if isinstance(given_print := body.get("fingerprint"), str) and given_print in prints:
        body = body | {"fingerprint": prints[given_print]}
    return json.dumps(body)


@settings(deadline=None)
@given(st.data())
def test_nobody_but_an_approver_decides(room, data):
    desk, held, _ = room
    body = filled(data.draw(bodies), held.fingerprint)
    arn = data.draw(strangers)
    claimed = data.draw(
        st.dictionaries(st.sampled_from(["userArn", "X-Amz-User-Arn", "Authorization"]), st.just(ANN_ARN))
    )
    event = posted(held.id, body, None, headers=claimed, queryStringParameters=claimed)
    event["requestContext"] = {"identity": {"userArn": arn}, "authorizer": claimed, **claimed}
    event["isBase64Encoded"] = data.draw(st.booleans())
    status, told = desk.handle(event)
    assert status in {400, 403}
    assert "error" in told
    assert untouched(desk, held)


@settings(deadline=None)
@given(st.sampled_from(APPROVERS), st.text(max_size=40) | st.sampled_from(["held", "over"]), bodies, st.booleans())
def test_what_an_approver_sends_is_answered_as_their_own_fault(room, arn, run, body, encoded):
    """Everything but a decision with the right fingerprint."""
    desk, held, over = room
    meant = {"held": held, "over": over}.get(run)
    text = filled(body, "f" * 64)
    event = posted(meant.id if meant else run, text, arn) | {"isBase64Encoded": encoded}
    status, _ = desk.handle(event)
    assert status in {400, 404, 409}
    assert untouched(desk, held)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["resource", "httpMethod", "pathParameters", "requestContext", "body", "headers", "queryStringParameters"]
        ),
        anything | st.sampled_from([app.PLANS, app.DECISIONS, "POST", "GET", "HEAD"]),
    ),
    st.booleans(),
)
def test_no_event_breaks_it(room, event, encoded):
    desk, held, _ = room
    answer = app.handler(event | {"isBase64Encoded": encoded})
    assert answer["statusCode"] in {400, 403, 404, 405}
    assert untouched(desk, held)


@settings(deadline=None)
@given(st.data())
def test_no_link_but_ours_shows_anything(room, data):
    desk, held, _ = room
    good = link_query(held.id, 1, desk.clock() + timedelta(hours=1))
    query = good | data.draw(
        st.dictionaries(st.sampled_from(["plan", "expires", "signature"]), any_text.filter(bool), min_size=1)
    )
    run = data.draw(st.sampled_from([held.id, "0" * 32]) | any_text)
    answer = app.handler(got(run, query, data.draw(st.sampled_from(["GET", "HEAD"]))))
    assert answer["statusCode"] == (403 if (run, query) != (held.id, good) else 200)
    assert held.fingerprint not in answer["body"]
    assert untouched(desk, held)


authors = st.sampled_from(["eve", "stranger", "Bob", "bob ", "", "ann/bob", "carl"]) | any_text.filter(
    lambda name: name not in ("ann", "bob")
)


@settings(deadline=None)
@given(st.data())
def test_no_comment_but_an_approvers_decides(room, data):
    desk, held, _ = room
    by_approver = data.draw(st.booleans())
    right = f"/{data.draw(st.sampled_from(['approve', 'reject']))} {held.fingerprint[: data.draw(st.integers(12, 64))]}"
    text = data.draw(any_text | st.sampled_from([" ", "> ", "/approve\n"]).map(lambda before: before + right))
    if not by_approver:
        text = data.draw(st.sampled_from([text, right, f"{text}\n{right}"]))
    author = data.draw(st.sampled_from(["ann", "bob"])) if by_approver else data.draw(authors)
    desk.tickets.comments.clear()
    desk.tickets.written.clear()
    desk.tickets.say("31", text, author)
    assert desk.message("31") == {"batchItemFailures": []}
    assert len(desk.tickets.answers()) <= 1
    assert untouched(desk, held)


@settings(deadline=None)
@given(anything)
def test_any_message_is_done_or_comes_back(room, message):
    desk, held, _ = room
    assert desk.raw(message)["batchItemFailures"] == [{"itemIdentifier": "m"}]
    assert untouched(desk, held)


@given(any_text, any_text)
def test_commands_and_fingerprints_never_break(text, fingerprint):
    try:
        command = command_in(text)
    except Refused:
        pass
    else:
        assert is_command(text)
        assert 12 <= len(command.fingerprint) <= 64
    assert not named_by(fingerprint, text) or fingerprint.startswith(text.lower())


names = st.from_regex(r"[\w+=,.@-]{1,12}", fullmatch=True)
patterns = st.from_regex(
    rf"arn:aws:(iam|sts)::{ACCOUNT}:(user|role|assumed-role|federated-user)/[a-c*?/]{{1,6}}", fullmatch=True
)


@settings(max_examples=500)
@given(patterns, st.from_regex("[abc]{1,3}", fullmatch=True), st.from_regex("[abc]{2,3}", fullmatch=True), names)
def test_the_name_of_a_session_never_makes_a_difference(pattern, role, session, other):
    """Whoever may assume a role is one and the same to the policy, whatever they call their session."""
    first, second = (f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}" for name in (session, other))
    assert arn_matches(pattern, first) == arn_matches(pattern, second)
