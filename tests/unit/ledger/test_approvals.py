"""Decisions in the ledger: whose they are, which counts, and what people are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from paydown.approving import Caller, Refused
from paydown.events import TicketRef
from paydown.ledger import NotHeld, Outcome, Status
from paydown.ledger.held import held_runs, held_with, shown_plan
from paydown.ledger.joined import joined_events
from paydown.plan import Hazard
from tests.unit.people import ANN, ANN_ARN, BOB, EVE, approve, asked, publish
from tests.unit.toil.lamps import pushed


@pytest.fixture
def held(plant):
    publish(plant)
    run = plant.look(asked("carl"))
    assert run.status is Status.HELD
    return run


@pytest.fixture
def decide(plant):
    def decide_as(caller, run, **changes):
        policy = plant.ledger.policy.current().document
        receipt = changes.pop("receipt", "")
        return plant.ledger.approvals.decide_as(caller, run, approve(run, **changes), policy, plant.clock(), receipt)

    return decide_as


def refusal(decide, *arguments, **changes):
    with pytest.raises(Refused) as caught:
        decide(*arguments, **changes)
    return caught.value.code


def test_who_approved_what_is_in_the_ledger(plant, held, decide, world):
    decision = decide(ANN, held, why="it is night")
    assert plant.ledger.approvals.latest(held) == decision
    assert (decision.by, decision.proof, decision.fingerprint) == ("ann", f"iam:{ANN_ARN}", held.fingerprint)
    assert (decision.approved, decision.plan_number, decision.why) == (True, 1, "it is night")
    assert plant.wake(held).status is Outcome.VERIFIED
    assert world.switched == ["desk", "hall"]


def test_a_comment_is_another_proof(held, decide):
    assert decide(BOB, held, fingerprint=held.fingerprint[:12]).proof == "ticket:helpdesk/bob"


def test_who_may_not_decide_changes_nothing(plant, held, decide, world):
    assert refusal(decide, EVE, held) == "not_an_approver"
    assert refusal(decide, Caller(arn="arn:aws:iam::111122223333:user/x"), held) == "not_an_approver"
    assert plant.ledger.approvals.latest(held) is None
    assert plant.wake(held).status is Status.HELD
    assert world.switched == []


def test_no_approvers_are_nobody(plant, decide):
    publish(plant, approvers=())
    assert refusal(decide, ANN, plant.look()) == "not_an_approver"


def test_each_refusal_has_its_code(plant, held, decide, clock):
    assert refusal(decide, ANN, held, fingerprint="f" * 64) == "wrong_fingerprint"
    decide(ANN, held, approved=False)
    assert refusal(decide, BOB, held) == "decided_already"
    assert refusal(decide, ANN, held) == "decided_already"
    ended = plant.wake(held)
    assert ended.status is Outcome.REJECTED
    assert refusal(decide, BOB, ended) == "not_held"
    late = plant.look(pushed("push-2"))
    clock.tick(600)
    assert refusal(decide, ANN, late) == "expired"


def test_the_same_decision_again_is_a_repeat(plant, held, decide, clock):
    first = decide(ANN, held)
    clock.tick(5)
    assert decide(ANN, held) == first
    plant.wake(held)
    assert decide(ANN, plant.ledger.runs.get(held.id)) == first


def test_what_was_read_before_somebody_else_decided_does_not_count(plant, held, decide):
    decide(BOB, held)
    with pytest.raises(NotHeld) as caught:
        plant.ledger.approvals.decide(held, held.fingerprint, approved=False, by="ann", why="", now=plant.clock())
    assert caught.value.code == "decided_already"
    plant.wake(held)
    moved = plant.ledger.runs.get(held.id)
    with pytest.raises(NotHeld) as caught:
        plant.ledger.approvals.decide(
            plant.ledger.runs.get(held.id), "0" * 64, approved=True, by="ann", why="", now=plant.clock()
        )
    assert caught.value.code == "decided_already"
    assert moved.status is Outcome.VERIFIED


def test_who_asked_for_a_destructive_plan_may_reject_it_only(plant, world, decide):
    publish(plant)
    world.hazards["desk"] = Hazard.DESTRUCTIVE
    run = plant.look(asked("ann"))
    assert refusal(decide, ANN, run) == "requester"
    assert refusal(decide, Caller(tracker="helpdesk", user="ann"), run) == "requester"
    assert decide(BOB, run).by == "bob"
    other = plant.look(asked("ann", key="ticket-2"), room="host/room-2")
    assert decide(ANN, other, approved=False).approved is False


def test_what_is_approved_goes_on_at_once_whatever_the_fraction_of_a_millisecond(plant, world):
    publish(plant)
    world.hazards["desk"] = Hazard.DESTRUCTIVE
    held = plant.look(asked("ann"))
    now = plant.clock().replace(microsecond=999_600)
    plant.ledger.approvals.decide(held, held.fingerprint, approved=True, by="bob", why="", now=now)
    assert plant.ledger.runs.take(held.id, now, now + timedelta(seconds=30)) is not None


@pytest.fixture
def joined(plant, world):
    """A destructive run that a machine began, and that a ticket of ann joined before anything was planned."""
    publish(plant)
    world.hazards["desk"] = Hazard.DESTRUCTIVE

    def meanwhile():
        world.while_planning = None
        assert plant.codes(plant.look(asked("ann"))) == ["joined"]
        assert plant.codes(plant.look(pushed("push-2"))) == ["joined"]

    world.while_planning = meanwhile
    return plant.look(pushed("push-9"))


def test_who_joined_a_run_by_a_ticket_asked_for_its_plan(joined, decide):
    assert joined.status is Status.HELD
    assert refusal(decide, ANN, joined) == "requester"
    assert decide(BOB, joined).by == "bob"


def test_an_event_of_a_machine_that_joins_leaves_no_requester(plant, joined):
    assert [one["creator"] for one in joined_events(plant.ledger.table, joined.id)] == ["ann"]
    assert joined_events(plant.ledger.table, plant.look(room="host/room-2").id) == []


def test_a_receipt_finds_the_decision_again(plant, held, decide):
    assert plant.ledger.approvals.received("comment/t/1") is None
    decision = decide(BOB, held, receipt="comment/t/1")
    assert plant.ledger.approvals.received("comment/t/1") == (held.id, decision)
    assert plant.ledger.approvals.received("comment/t/2") is None


def test_decisions_outlast_their_runs(plant, held, decide):
    decide(ANN, held)
    item = plant.ledger.table.get(f"APPROVAL#{held.id}", "PLAN#0001")
    plant.wake(held)
    assert item["expires"] > plant.ledger.table.get(held.partition, "RUN")["expires"]


def test_held_runs_are_found_by_fingerprint_and_ticket(plant, held, decide):
    here = TicketRef(tracker="helpdesk", id="7")
    assert [run.id for run in held_runs(plant.ledger)] == [held.id]
    assert held_with(plant.ledger, held.fingerprint[:12], here, ("helpdesk", "h1")).id == held.id
    elsewhere = TicketRef(tracker="helpdesk", id="8")
    assert held_with(plant.ledger, held.fingerprint, elsewhere, ("helpdesk",)).id == held.id
    twin = plant.look(asked("carl", ticket="9", key="ticket-2"), room="host/room-2")
    assert twin.fingerprint == held.fingerprint
    assert held_with(plant.ledger, held.fingerprint, here, ("helpdesk",)).id == held.id
    with pytest.raises(Refused, match="2 runs"):
        held_with(plant.ledger, held.fingerprint, elsewhere, ("helpdesk",))
    with pytest.raises(Refused, match="no plan"):
        held_with(plant.ledger, "0" * 12, here, ("helpdesk",))


def test_a_plan_is_shown_as_it_will_be_executed(plant, held):
    shown = shown_plan(plant.ledger, held)
    assert shown.current
    assert [action["object"] for action in shown.actions] == ["lamp/desk", "lamp/hall"]
    assert (shown.decision, shown.approved_before, shown.new, shown.gone) == (None, None, frozenset(), ())


def test_the_rest_is_shown_with_the_difference(plant, held, decide, world):
    world.burning.remove("hall")
    world.burning.add("stairs")
    decide(ANN, held)
    rest = plant.wake(held)
    assert rest.status is Status.HELD
    shown = shown_plan(plant.ledger, rest)
    assert [(action["object"], shown.is_new(action)) for action in shown.actions] == [("lamp/stairs", True)]
    assert [action["object"] for action in shown.gone] == ["lamp/hall"]
    assert shown.approved_before.by == "ann"
    before = shown_plan(plant.ledger, rest, 1)
    assert not before.current
    assert before.decision.by == "ann"
