"""One open ticket or comment for each finding: edited in place, closed when it is gone, back when it is back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from paydown.errors import RetryableError
from paydown.events import NodeNotReady
from paydown.ledger import Ledger, Outcome, Reason, Run, Status
from paydown.ledger.findings import Findings
from paydown.plan import Action, Hazard, Plan
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock

ASKED = {"tracker": "helpdesk", "id": "1"}
TRACKED = {"notifications": {"tracker": "helpdesk"}}


def test_many_events_of_one_finding_are_one_comment_and_few_edits(outside: Outside, clock: Clock) -> None:
    for _ in range(40):
        outside.tell(outside.happen("Failed", "permanent", ticket=ASKED))
        clock.tick(0.1)
    (body,) = outside.tickets.of("1")
    assert "Seen 32 times since 2026-11-22 03:00Z" in body
    assert outside.tickets.writes == 6
    assert outside.finding().count == 40
    clock.tick(3_600)
    from functions.report_outcome import app

    assert app.hourly() == {"done": "told", "late": 1}
    (body,) = outside.tickets.of("1")
    assert "Seen 40 times" in body
    assert f"paydown snooze {outside.finding().identity.id} --for 7d" in body
    assert app.hourly() == {"done": "nothing to tell", "late": 0}
    assert len(outside.published()) == 1


def test_the_comment_follows_the_finding_until_it_is_gone(outside: Outside, clock: Clock) -> None:
    outside.tell(outside.happen("Held", "above_ceiling", ticket=ASKED))
    clock.tick(60)
    outside.tell(outside.happen("Failed", "permanent", ticket=ASKED))
    (body,) = outside.tickets.of("1")
    assert "because of permanent" in body
    assert "Seen 2 times" in body
    assert "Failed 1, Held 1." in body
    clock.tick(60)
    verified = outside.happen("Verified", ticket=ASKED)
    assert outside.tell(verified, verified) == ["told", "told before"]
    first, answer = outside.tickets.of("1")
    assert f"It is over: run {verified.run_id} was verified." in first
    assert "Done, and verified." in answer
    assert outside.tickets.resolved == {"1"}


def test_nothing_to_do_closes_it_and_joining_does_not(outside: Outside, clock: Clock) -> None:
    outside.tell(outside.happen("Failed", "permanent"))
    clock.tick(5)
    assert outside.tell(outside.happen("Skipped", "joined")) == ["nothing to tell"]
    assert outside.finding().open
    clock.tick(5)
    outside.tell(outside.happen("Skipped", "nothing_to_do"))
    assert not outside.finding().open


@pytest.mark.parametrize(("status", "code"), [("Skipped", "left_to_others"), ("Refused", "opted_out")])
def test_standing_back_closes_nothing(outside: Outside, clock: Clock, status: str, code: str) -> None:
    """What is wrong still is: a person has it in hand, or wants to have."""
    outside.policy(**TRACKED)
    outside.tell(outside.happen("Failed", "escalated"))
    clock.tick(60)
    outside.tell(outside.happen(status, code))
    assert outside.finding().open
    assert outside.tickets.resolved == set()


def failed_run(ledger: Ledger, clock: Clock, number: int) -> Run:
    event = NodeNotReady(key=f"alert-{number}", at=clock(), cluster="demo", node="worker-1")
    cool = timedelta(seconds=60)
    run = ledger.runs.create("recover_node", "n1", "node/demo/worker-1", event, clock(), clock.tick(50), cool).run
    evidence = {"left": ["cordon node/demo/worker-1"], "taints": 1}
    return ledger.runs.end(run, Outcome.FAILED, clock(), [Reason("permanent", "no\nway")], evidence=evidence)


def test_escalation_is_one_ticket_with_the_whole_story(outside: Outside, ledger: Ledger, clock: Clock) -> None:
    outside.policy(**TRACKED)
    first, second = failed_run(ledger, clock, 1), failed_run(ledger, clock, 2)
    outside.tell(outside.happen("Failed", "permanent"))
    reasons = [("escalated", f"2 runs did not heal it: {first.id}, {second.id}")]
    escalated = outside.happen("Failed", reasons=reasons)
    assert outside.tell(escalated, escalated) == ["told", "told before"]
    ((marker, (title, text)),) = outside.tickets.made.items()
    assert title == "Paydown: recover_node on node/demo/worker-1: escalated"
    assert marker == f"paydown-run: finding/{outside.finding().identity.id}/1/ticket"
    assert text.index(f"Run {first.id}") < text.index(f"Run {second.id}")
    assert "  - no way (permanent)" in text
    assert "  left half-done: cordon node/demo/worker-1" in text
    assert "  evidence.taints: 1" in text
    assert "a person has to look" in text
    assert outside.tickets.comments == {}

    for _ in range(30):
        clock.tick(1)
        outside.tell(outside.happen("Refused", "escalated"))
    assert len(outside.tickets.made) == 1
    (comment,) = outside.tickets.of("100")
    assert "escalated 31" in comment
    assert [one["Subject"] for one in outside.published()] == [
        "Paydown: recover_node on node/demo/worker-1: Failed",
        "Paydown: recover_node on node/demo/worker-1: Failed, escalated",
    ]

    clock.tick(60)
    outside.tell(outside.happen("Verified"))
    assert outside.tickets.resolved == {"100"}
    clock.tick(60)
    outside.tell(outside.happen("Refused", "escalated"))
    assert outside.tickets.resolved == set(), "the same ticket is open again"
    assert len(outside.tickets.made) == 1


def test_escalation_uses_the_ticket_that_asked(outside: Outside, clock: Clock) -> None:
    outside.policy(**TRACKED)
    outside.tell(outside.happen("Failed", "escalated", ticket=ASKED))
    assert outside.tickets.made == {}
    assert any("What happened" in body for body in outside.tickets.of("1"))
    assert outside.finding().ticket == "helpdesk/1"


def test_without_a_tracker_escalation_only_speaks(outside: Outside) -> None:
    assert outside.tell(outside.happen("Failed", "escalated")) == ["told"]
    assert outside.tickets.writes == 0
    assert len(outside.published()) == 1


@pytest.mark.parametrize("code", ["storm", "suspended"])
def test_a_toil_type_in_trouble_is_told_once_until_it_works_again(outside: Outside, clock: Clock, code: str) -> None:
    outside.policy(**TRACKED)
    for number in range(25):
        outside.tell(outside.happen("Deferred", code, target=f"node/demo/worker-{number}"))
        clock.tick(0.5)
    assert len(outside.tickets.made) == 1
    assert outside.tickets.comments == {}
    assert len(outside.published()) == 1
    clock.tick(60)
    let_in = outside.happen("Applying")
    assert outside.tell(let_in, let_in) == ["told", "told before"]
    assert outside.tickets.resolved == {"100"}
    assert f"It is over: run {let_in.run_id} was let in." in outside.tickets.of("100")
    clock.tick(60)
    outside.tell(outside.happen("Deferred", code))
    assert outside.tickets.resolved == set()
    assert len(outside.published()) == 1


def test_the_recurrence_that_suspends_is_told_though_its_run_is_let_in(outside: Outside, clock: Clock) -> None:
    outside.policy(**TRACKED)
    outside.tell(outside.happen("Applying", "recurred", "suspended"))
    assert outside.finding(target="toil/recover_node", rule="suspended").open
    ((title, _),) = outside.tickets.made.values()
    assert title == "Paydown: recover_node on toil/recover_node: suspended"
    (message,) = outside.published()
    assert message["MessageAttributes"]["kind"]["Value"] == "suspended"


def test_a_run_that_takes_back_what_another_left_is_no_sign_of_calm(outside: Outside, clock: Clock) -> None:
    outside.tell(outside.happen("Deferred", "suspended"))
    clock.tick(60)
    outside.tell(outside.happen("Applying", rule="UndoRequested"))
    assert outside.finding(target="toil/recover_node", rule="suspended").open


def test_a_storm_that_nothing_followed_is_closed_when_it_has_calmed(outside: Outside, clock: Clock) -> None:
    from functions.report_outcome import app

    outside.policy(**TRACKED)
    outside.tell(outside.happen("Deferred", "storm"))
    clock.tick(800)
    assert app.hourly()["late"] == 0
    clock.tick(200)
    assert app.hourly()["late"] == 1
    assert outside.tickets.resolved == {"100"}


def test_deferred_too_long_is_told_with_a_ticket(outside: Outside) -> None:
    outside.policy(**TRACKED)
    outside.tell(outside.happen("Refused", "deferred_too_long", "outside_window"))
    ((title, text),) = outside.tickets.made.values()
    assert title.endswith("deferred_too_long")
    assert "because of outside_window (outside_window)" in text
    assert len(outside.published()) == 1


def test_what_enforcing_would_have_met_is_no_news(outside: Outside) -> None:
    outside.policy(**TRACKED)
    outside.tell(outside.happen("Observed", "storm", "suspended"))
    assert outside.tickets.writes == 0
    assert outside.published() == []


def asked_run(ledger: Ledger, clock: Clock) -> Run:
    from paydown.events import TicketCreated

    event = TicketCreated.model_validate({"key": "t", "at": clock(), "ticket": {"tracker": "helpdesk", "id": "5"}})
    cool = timedelta(seconds=60)
    run = ledger.runs.create("recover_node", "n1", "node/demo/worker-1", event, clock(), clock.tick(50), cool).run
    return ledger.runs.end(run, Outcome.VERIFIED, clock())


def test_a_recurrence_reopens_the_ticket_of_the_earlier_run(outside: Outside, ledger: Ledger, clock: Clock) -> None:
    earlier = asked_run(ledger, clock)
    outside.tickets.resolved.add("5")
    clock.tick(60)
    back = outside.happen("Applying", reasons=[("recurred", f"after run {earlier.id} was verified")])
    assert outside.tell(back, back) == ["told", "told before"]
    assert outside.tickets.resolved == set()
    (body,) = outside.tickets.of("5")
    assert "The same fault came back" in body
    clock.tick(60)
    outside.tell(outside.happen("Verified"))
    assert outside.tickets.resolved == {"5"}, "what we opened we close"


def test_a_recurrence_without_any_ticket_is_only_counted(outside: Outside) -> None:
    assert outside.tell(outside.happen("Applying", "recurred")) == ["noted"]
    assert outside.finding().open
    assert outside.tickets.writes == 0


def test_snoozed_findings_are_quiet(outside: Outside, ledger: Ledger, clock: Clock) -> None:
    outside.tell(outside.happen("Observed"))
    findings = Findings(ledger.table)
    findings.snooze(outside.finding().identity, clock() + timedelta(days=1), "ann", "known", clock())
    clock.tick(10)
    outside.tell(outside.happen("Failed", "permanent"))
    assert outside.published() == []
    clock.tick(86_400)
    outside.tell(outside.happen("Failed", "permanent"))
    assert len(outside.published()) == 1


class Cordon(Action):
    """Keep new work off a node."""

    hazard: Hazard = Hazard.REVERSIBLE


def held(outside: Outside, ledger: Ledger, clock: Clock) -> tuple[Run, Any]:
    event = NodeNotReady(key="alert-7", at=clock(), cluster="demo", node="worker-1")
    cool = timedelta(seconds=60)
    run = ledger.runs.create("recover_node", "n1", "node/demo/worker-1", event, clock(), clock.tick(50), cool).run
    action = Cordon(object="node/demo/worker-1", precondition="boot id 7, schedulable")
    plan = Plan(((action,),))
    ledger.journal.write_plan(run, 1, plan, clock())
    run = ledger.runs.move(run, Status.HELD, clock(), clock.tick(9), [Reason("needs_approval", "x")], plan_number=1)
    change = outside.happen("Held", "needs_approval", run_id=run.id, sequence=run.sequence, plan_number=1, actions=1)
    return run, change


def test_a_held_plan_is_shown_as_it_is_executed(
    outside: Outside, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYDOWN_API_URL", "https://api.example.org/v1")
    outside.policy(notifications={"webhooks": ["paydown/notify/chat"]})
    run, change = held(outside, ledger, clock)
    assert outside.tell(change) == ["told"]
    ((headline, text, link),) = outside.posts["paydown/notify/chat"]
    assert headline == "Paydown: recover_node on node/demo/worker-1: Held"
    assert "  1. cordon node/demo/worker-1 (reversible)\n     only if boot id 7, schedulable" in text
    assert f"paydown approve {run.id}" in text
    from paydown.links import checked_link

    address, words = link
    assert words == "Show the plan"
    assert address.startswith(f"https://api.example.org/v1/plans/{run.id}?")
    query = dict(one.split("=") for one in address.partition("?")[2].split("&"))
    assert checked_link(run.id, query, ["hush"], clock()) == 1
    (message,) = outside.published()
    assert address in message["Message"]


def test_a_missing_secret_costs_the_link_and_not_the_message(
    outside: Outside, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paydown.clients import aws

    def refuse(name: str) -> Any:
        raise RetryableError(name)

    monkeypatch.setenv("PAYDOWN_API_URL", "https://api.example.org/v1")
    monkeypatch.setattr(aws, "secret", refuse)
    _, change = held(outside, ledger, clock)
    assert outside.tell(change) == ["told"]
    (message,) = outside.published()
    assert "https://" not in message["Message"]


def test_a_hold_that_was_decided_is_not_told(outside: Outside, ledger: Ledger, clock: Clock) -> None:
    run, change = held(outside, ledger, clock)
    ledger.runs.end(run, Outcome.REJECTED, clock(), [Reason("rejected", "by ann")])
    assert outside.tell(change) == ["out of date"]
    assert outside.published() == []


def test_one_ticket_that_is_gone_does_not_keep_the_others_from_theirs(outside: Outside, clock: Clock) -> None:
    outside.tickets.gone.add("1")
    with pytest.raises(Exception, match="1"):
        outside.tell(outside.happen("Failed", "permanent", ticket=ASKED))
    clock.tick(1)
    with pytest.raises(Exception, match="1"):
        outside.tell(outside.happen("Failed", "permanent", ticket={"tracker": "helpdesk", "id": "2"}))
    assert len(outside.tickets.of("2")) == 1
    assert len(outside.published()) == 1
