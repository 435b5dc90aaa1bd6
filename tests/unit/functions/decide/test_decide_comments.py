"""Decisions by comments: what the ticket system vouches for counts, and each comment is answered once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paydown.ledger import Outcome, Status
from paydown.plan import Hazard
from tests.unit.people import asked

DONE = {"batchItemFailures": []}
AGAIN = {"batchItemFailures": [{"itemIdentifier": "m"}]}


def test_an_approver_approves_by_a_comment(desk, held, plant, world):
    desk.tickets.say("31", f"Fine by me.\n/approve {held.fingerprint[:12]} it is night", "bob")
    assert desk.message("31") == DONE
    decision = desk.ledger.approvals.latest(held)
    assert (decision.by, decision.proof, decision.why) == ("bob", "ticket:helpdesk/bob", "it is night")
    assert desk.nudged == [("switch_off_lamps", held.id)]
    assert plant.wake(held).status is Outcome.VERIFIED
    (answer,) = desk.tickets.answers()
    assert f"bob approved plan {held.fingerprint[:12]} of run {held.id}: it is night" in answer


def test_a_rejection_with_its_reason(desk, held, plant):
    desk.tickets.say("31", f"/reject {held.fingerprint} the desk is in use", "bob")
    assert desk.message("31") == DONE
    assert plant.wake(held).reasons[0].text == "by bob: the desk is in use"
    assert "bob rejected plan" in desk.tickets.answers()[0]


def test_a_message_that_comes_again_says_the_same_even_when_the_run_is_over(desk, held, plant):
    desk.tickets.say("31", f"/approve {held.fingerprint}", "bob")
    desk.tickets.down = True
    assert desk.message("31") == AGAIN
    plant.wake(held)
    desk.tickets.down = False
    assert desk.message("31") == DONE
    assert desk.message("31") == DONE
    (answer,) = desk.tickets.answers()
    assert "bob approved plan" in answer


@pytest.mark.parametrize(
    ("text", "author", "more", "code"),
    [
        ("/approve {print}", "eve", {}, "not_an_approver"),
        ("/approve {print}", "stranger", {}, "not_an_approver"),
        ("/approve {print}", "", {}, "not_an_approver"),
        ("/approve {print}", "Bob", {}, "not_an_approver"),
        ("/approve {print}", "bob", {"edited": True}, "edited"),
        ("/approve {print}", "bob", {"at": None}, "older_than_plan"),
        ("/approve {print}", "bob", {"at": datetime(2026, 11, 22, 2, 57, 59, tzinfo=UTC)}, "older_than_plan"),
        ("/approve 000000000000", "bob", {}, "not_held"),
        ("/approve {print}\n/approve {print}", "bob", {}, "malformed"),
        ("/approve", "bob", {}, "malformed"),
    ],
)
def test_what_does_not_count_is_answered_with_why(desk, held, plant, text, author, more, code):
    desk.tickets.say("31", text.format(print=held.fingerprint), author, **more)
    assert desk.message("31") == DONE
    assert desk.message("31") == DONE
    (answer,) = desk.tickets.answers()
    assert f"({code})" in answer
    assert not any(line.startswith("/") for line in answer.splitlines())
    assert desk.ledger.approvals.latest(held) is None
    assert plant.wake(held).status is Status.HELD


def test_whom_the_policy_does_not_name_learns_nothing(desk, held):
    desk.tickets.say("31", "/approve 000000000000", "stranger")
    desk.tickets.say("32", f"/approve {held.fingerprint}", "stranger")
    for comment in ("31", "32"):
        desk.message(comment)
    assert len(set(desk.tickets.answers())) == 1


def test_who_asked_for_a_destructive_plan_is_refused(desk, plant, world):
    world.hazards["desk"] = Hazard.DESTRUCTIVE
    run = plant.look(asked("bob"))
    desk.tickets.say("31", f"/approve {run.fingerprint}", "bob")
    desk.message("31")
    assert "(requester)" in desk.tickets.answers()[0]


@pytest.mark.parametrize("text", ["hello", "> /approve {print}", " /approve {print}"])
def test_what_is_no_decision_by_now_is_left_alone(desk, held, text):
    desk.tickets.say("31", text.format(print=held.fingerprint), "bob")
    assert desk.message("31") == DONE
    assert desk.tickets.answers() == []


def test_our_own_comments_are_not_answered(desk, held):
    desk.tickets.say("31", f"/approve {held.fingerprint}", "paydown", ours=True)
    assert desk.message("31") == DONE
    assert desk.tickets.answers() == []


def test_a_comment_that_is_gone_and_a_tracker_that_nobody_declared(desk, held):
    assert desk.message("99") == DONE
    desk.tickets.say("31", f"/approve {held.fingerprint}", "bob")
    assert desk.message("31", tracker="other") == DONE
    assert desk.ledger.approvals.latest(held) is None


def test_two_runs_of_one_plan_the_one_of_the_ticket_is_meant(desk, held, plant):
    twin = plant.look(asked("carl", ticket="8", key="ticket-2"), room="host/room-2")
    assert twin.fingerprint == held.fingerprint
    desk.tickets.say("31", f"/approve {held.fingerprint}", "bob", ticket="9")
    desk.message("31", "9")
    assert "(ambiguous)" in desk.tickets.answers("9")[0]
    desk.tickets.say("32", f"/approve {held.fingerprint}", "bob", ticket="8")
    desk.message("32", "8")
    assert desk.ledger.approvals.latest(held) is None
    assert desk.ledger.approvals.latest(twin).by == "bob"


@pytest.mark.parametrize(
    "envelope",
    [
        "{",
        "[]",
        "{}",
        {"source": "paydown", "detail-type": "TicketCommented", "detail": {}},
        {
            "source": "paydown",
            "detail-type": "Sweep",
            "detail": {"key": "k", "at": "2026-11-22T03:00:00Z", "rule": "r"},
        },
        {"source": "evil", "detail-type": "TicketCommented", "detail": {}},
    ],
)
def test_a_message_that_is_none_comes_back_and_ends_as_a_dead_letter(desk, envelope):
    assert desk.raw(envelope) == AGAIN
