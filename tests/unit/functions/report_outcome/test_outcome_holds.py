"""A plan that waits for a person: what its ticket says must be enough to decide on it, and all that is decided on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from paydown.approving import command_in, is_command
from paydown.events import NodeNotReady
from paydown.ledger import Ledger, Outcome, Reason, Run, Status
from paydown.ledger.finding import MOST_TICKETS
from paydown.ledger.findings import Findings
from paydown.plan import Action, Hazard, Plan
from tests.unit.functions.report_outcome.conftest import INVENTORY, Outside
from tests.unit.ledgers import Clock

ASKED = {"tracker": "helpdesk", "id": "1"}
TRACKED: dict[str, Any] = {"notifications": {"tracker": "helpdesk"}}
PEOPLE: dict[str, Any] = {
    "people": [{"name": "ann", "accounts": {"helpdesk": "ann"}}, {"name": "bob", "accounts": {"helpdesk": "bob"}}],
    "approvers": ["ann", "bob"],
}
REASONS = (Reason("needs_approval", "x"),)
COMMANDS = re.compile(r"/(?:approve|reject) \S+(?: REASON)?")


class EvictPod(Action):
    """Move a pod."""

    hazard: Hazard = Hazard.DISRUPTIVE


class Holds:
    """Runs that are held, one after the other, on one node."""

    def __init__(self, outside: Outside, ledger: Ledger, clock: Clock) -> None:
        self.outside, self.ledger, self.clock = outside, ledger, clock
        self.count = 0

    def hold(
        self, pods: int = 1, ticket: Any = None, name: str = "web", reasons: Sequence[Reason] = REASONS
    ) -> tuple[Run, str]:
        """A plan with so many evictions is held, and told; what became of telling it."""
        self.count += 1
        event = NodeNotReady(key=f"alert-{self.count}", at=self.clock(), cluster="demo", node="worker-1")
        create = self.ledger.runs.create
        place = ("recover_node", f"n{self.count}", "node/demo/worker-1")
        run = create(*place, event, self.clock(), self.clock.tick(50), timedelta(seconds=60)).run
        actions = [
            EvictPod(object=f"pod/demo/shop/{name}-{number:03}", precondition=f"uid {self.count}-{number}")
            for number in range(pods)
        ]
        plan = Plan((tuple(actions),))
        self.ledger.journal.write_plan(run, 1, plan, self.clock())
        told = {"plan_number": 1, "fingerprint": plan.fingerprint, "actions": pods}
        now = self.clock()
        run = self.ledger.runs.move(run, Status.HELD, now, now + timedelta(days=1), reasons, since=now, **told)
        said = [(reason.code, reason.text) for reason in reasons]
        change = self.outside.happen("Held", reasons=said, run_id=run.id, sequence=run.sequence, ticket=ticket, **told)
        return run, self.outside.tell(change)[0]


@pytest.fixture
def holds(outside: Outside, ledger: Ledger, clock: Clock) -> Holds:
    return Holds(outside, ledger, clock)


def ticket(outside: Outside) -> str:
    """The text of the only ticket that was made."""
    ((_, text),) = outside.tickets.made.values()
    return text


@pytest.mark.parametrize("asked", [True, False], ids=["a ticket asked", "an alert"])
def test_the_ticket_says_the_comments_that_decide(outside: Outside, holds: Holds, asked: bool) -> None:
    outside.policy(**TRACKED, **PEOPLE)
    run, done = holds.hold(ticket=ASKED if asked else None)
    assert done == "told"
    (text,) = outside.tickets.of("1") if asked else [ticket(outside)]
    assert len(outside.tickets.made) == (0 if asked else 1), "who asked by a ticket needs no second one"
    approve, reject = map(command_in, COMMANDS.findall(text))
    assert (approve.approved, reject.approved, reject.why) == (True, False, "REASON")
    assert {approve.fingerprint, reject.fingerprint} == {run.fingerprint[:12]}
    assert all(f"comment: {found}\n" in text for found in COMMANDS.findall(text)), "each ends a line"
    assert not is_command(text), "it must not pass for a decision itself: Roundup would not let it be edited"
    assert "until 2026-11-23 03:00Z" in text
    assert "Who may decide: ann, bob" in text


def test_without_approvers_it_says_that_nobody_may(outside: Outside, holds: Holds) -> None:
    outside.policy(**TRACKED)
    holds.hold()
    assert "Who may decide: nobody, since the policy names no approvers" in ticket(outside)


def test_without_any_ticket_no_comment_is_spoken_of(outside: Outside, holds: Holds) -> None:
    run, _ = holds.hold()
    (message,) = outside.published()
    assert outside.tickets.writes == 0
    assert COMMANDS.findall(message["Message"]) == []
    assert f"paydown approve {run.id}" in message["Message"]


def test_the_page_of_the_plan_is_named_once(outside: Outside, holds: Holds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYDOWN_API_URL", "https://api.example.org/v1")
    outside.policy(**TRACKED)
    run, _ = holds.hold()
    page = f"https://api.example.org/v1/plans/{run.id}?"
    assert ticket(outside).count(page) == 1
    (message,) = outside.published()
    assert message["Message"].count(page) == 1


@pytest.mark.parametrize(("pods", "name"), [(52, "web"), (30, "x" * 250)], ids=["lines", "characters"])
@pytest.mark.parametrize("linked", [True, False])
def test_nobody_approves_a_part_unknowingly(
    outside: Outside, holds: Holds, monkeypatch: pytest.MonkeyPatch, pods: int, name: str, linked: bool
) -> None:
    if linked:
        monkeypatch.setenv("PAYDOWN_API_URL", "https://api.example.org/v1")
    outside.policy(**TRACKED, **PEOPLE)
    run, _ = holds.hold(pods, name=name, ticket=ASKED)
    (text,) = outside.tickets.of("1")
    shown = len(re.findall(r"^     only if uid 1-\d+$", text, re.MULTILINE))
    assert 0 < shown < pods
    assert f"in {pods} actions, of which the first {shown} are shown here:" in text
    warning = next(line for line in text.splitlines() if line.startswith("NOT SHOWN"))
    assert warning.startswith(f"NOT SHOWN: {pods - shown} of the {pods} actions.")
    assert text.index(warning) < text.index("/approve")
    assert f"paydown explain {run.id} --all" in warning
    assert (f"https://api.example.org/v1/plans/{run.id}?" in text) == linked
    (message,) = outside.published()
    assert warning in message["Message"]


def test_a_whole_plan_has_no_warning(outside: Outside, holds: Holds) -> None:
    holds.hold(40, name="w", ticket=ASKED)
    (text,) = outside.tickets.of("1")
    assert "in 40 actions:" in text
    assert "NOT SHOWN" not in text


def test_a_plan_that_cannot_be_shown_is_not_passed_over(outside: Outside) -> None:
    outside.tell(outside.happen("Held", "needs_approval", ticket=ASKED, actions=3, fingerprint="0" * 64))
    (text,) = outside.tickets.of("1")
    assert "NOT SHOWN: 3 of the 3 actions." in text
    assert "/approve 000000000000\n" in text


def test_long_reasons_leave_room_for_the_plan(outside: Outside, holds: Holds, clock: Clock) -> None:
    run, _ = holds.hold(reasons=[Reason("needs_approval", "y" * 290)] * 40, ticket=ASKED)
    (text,) = outside.tickets.of("1")
    assert "  1. evict_pod pod/demo/shop/web-000 (disruptive)\n     only if uid 1-0" in text
    assert f"/approve {run.fingerprint[:12]}" in text


def test_another_plan_is_on_the_ticket_at_once(outside: Outside, holds: Holds, clock: Clock) -> None:
    """However often it was held before: what is shown must be what is approved."""
    outside.policy(**TRACKED)
    for _ in range(6):
        run, _ = holds.hold()
        clock.tick(1)
    assert len(outside.tickets.made) == 1
    (comment,) = outside.tickets.of("100")
    assert f"/approve {run.fingerprint[:12]}" in comment


def test_the_ticket_of_a_hold_is_resolved_when_it_was_carried_out(outside: Outside, holds: Holds, clock: Clock) -> None:
    outside.policy(**TRACKED)
    holds.hold()
    clock.tick(60)
    outside.tell(outside.happen("Verified"))
    assert outside.tickets.resolved == {"100"}


def told_of(outside: Outside, run: Run) -> str:
    """The hold in which a run is now is told."""
    said = [(reason.code, reason.text) for reason in run.reasons]
    plan = {"plan_number": run.plan_number, "fingerprint": run.fingerprint, "actions": run.actions}
    return outside.tell(outside.happen("Held", reasons=said, run_id=run.id, sequence=run.sequence, **plan))[0]


@pytest.mark.parametrize("code", ["needs_approval", "unknown_result"], ids=["the rest", "after the approval"])
def test_a_run_that_is_held_again_is_told_at_once(
    outside: Outside, holds: Holds, ledger: Ledger, clock: Clock, code: str
) -> None:
    run, _ = holds.hold(2)
    clock.tick(60)
    run = ledger.runs.move(run, Status.PLANNED, clock(), clock.tick(9), [Reason("approved", "by ann")])
    more = {"plan_number": 2, "fingerprint": "b" * 64, "actions": 1} if code == "needs_approval" else {}
    run = ledger.runs.move(run, Status.HELD, clock(), clock.tick(9), [Reason(code, "x")], since=clock(), **more)
    assert told_of(outside, run) == "told"
    assert len(outside.published()) == 2


def test_the_same_plan_is_told_again_only_when_it_does_not_wait_any_more(
    outside: Outside, ledger: Ledger, holds: Holds, clock: Clock
) -> None:
    run, _ = holds.hold()
    outside.published()
    clock.tick(60)
    same = {"plan_number": 1, "fingerprint": run.fingerprint, "actions": 1}
    for number in range(10):
        outside.tell(outside.happen("Held", "needs_approval", run_id=f"{number:032x}", **same))
    assert outside.published() == [], "the plan that was told still waits"
    ledger.runs.end(run, Outcome.REJECTED, clock(), [Reason("rejected", "by ann")])
    outside.tell(outside.happen("Rejected", "rejected", run_id=run.id))
    clock.tick(3_600)
    for number in range(20, 30):
        outside.tell(outside.happen("Held", "needs_approval", run_id=f"{number:032x}", **same))
    assert len(outside.published()) == 1


def test_who_asks_elsewhere_makes_no_ticket_of_a_snoozed_finding(
    outside: Outside, clock: Clock, ledger: Ledger
) -> None:
    outside.tell(outside.happen("Failed", "escalated"))
    outside.policy(**TRACKED)
    trackers = [{**INVENTORY["trackers"][0], "uid": f"t{name}", "name": name} for name in ("helpdesk", "helpdesk-2")]
    ledger.inventory.publish({"trackers": trackers}, "test", clock())
    Findings(ledger.table).snooze(outside.finding().identity, clock() + timedelta(days=1), "ann", "", clock())
    outside.tell(outside.happen("Failed", "escalated", ticket={"tracker": "helpdesk-2", "id": "9"}))
    assert outside.tickets.made == {}
    assert len(outside.tickets.of("9")) == 1


def test_who_asks_after_many_others_is_answered_directly(outside: Outside) -> None:
    for number in range(MOST_TICKETS + 1):
        failed = outside.happen("Failed", "permanent", ticket={"tracker": "helpdesk", "id": f"{number}"})
        outside.tell(failed, failed)
    (body,) = outside.tickets.of(str(MOST_TICKETS))
    assert "because of permanent" in body


def test_who_asked_while_another_run_was_about_to_look_is_told_which(outside: Outside) -> None:
    reasons = [("joined", f"joined run {'c' * 32}, which has yet to look at the target")]
    outside.tell(outside.happen("Skipped", reasons=reasons, ticket=ASKED))
    (body,) = outside.tickets.of("1")
    assert "Another run is about to look at the same target" in body
    assert "c" * 32 in body
    assert "Nothing was done" not in body
