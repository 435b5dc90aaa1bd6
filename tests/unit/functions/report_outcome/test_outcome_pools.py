"""Too much of a pool is down: somebody is told at once, once for the pool, and until it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.report_outcome import app
from paydown.events import NodeNotReady, RemediationChanged
from paydown.guardrails import pool_scope
from paydown.guardrails.crowding import crowding
from paydown.guardrails.facts import Facts
from paydown.ledger import Ledger, Outcome, Reason, Run, Status
from paydown.ledger.findings import Finding, Findings, Identity
from paydown.limits import TotalBudget
from paydown.plan import Population
from paydown.policy import ToilPolicy
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock

TRACKED: dict[str, Any] = {"notifications": {"tracker": "helpdesk"}}
POOL = "demo/workers"


def why(pool: str = POOL) -> str:
    """What the guard says of a pool of three with two down."""
    facts = Facts(labels={}, target="n0", run="r", population=Population(pool, 3, frozenset({"n0", "n1"})))
    (found,) = crowding(facts, ToilPolicy(), TotalBudget(), Clock()())
    assert found.code == "blast_radius"
    return found.text


class Nodes:
    """Runs about nodes of a pool."""

    def __init__(self, outside: Outside, ledger: Ledger, clock: Clock) -> None:
        self.outside, self.ledger, self.clock = outside, ledger, clock

    def deferred(self, number: int, pool: str = POOL) -> Run:
        event = NodeNotReady(key=f"alert-{number}", at=self.clock(), cluster="demo", node=f"worker-{number}")
        place = ("recover_node", f"n{number}", f"node/demo/worker-{number}")
        run = self.ledger.runs.create(*place, event, self.clock(), self.clock.tick(50), timedelta(seconds=60)).run
        reasons = [Reason("blast_radius", why(pool))]
        now = self.clock()
        run = self.ledger.runs.move(run, Status.DEFERRED, now, now + timedelta(seconds=60), reasons, since=now)
        self.told(run)
        return run

    def told(self, run: Run) -> RemediationChanged:
        change = self.outside.happen(
            run.status,
            run_id=run.id,
            target=run.ref,
            sequence=run.sequence,
            reasons=[(reason.code, reason.text) for reason in run.reasons],
        )
        self.outside.tell(change, change)
        return change

    def let_in(self, run: Run, pool: str = POOL) -> None:
        now = self.clock.tick(60)
        tally = self.ledger.runs.tallies.get(pool_scope(pool))
        until = now + timedelta(seconds=300)
        day = timedelta(days=1)
        mine = tally.entered(run.id, run.target, now, until, budget=day, memory=day, pays=True)
        self.told(self.ledger.runs.admit(run, now, self.ledger.runs.joins(run), until, [mine], due=until, reasons=()))

    def ended(self, run: Run, outcome: Outcome, code: str) -> None:
        now = self.clock.tick(60)
        reasons = [Reason(code, "said"), *(run.reasons if outcome is Outcome.REFUSED else ())]
        self.told(self.ledger.runs.end(run, outcome, now, reasons))

    def finding(self, pool: str = POOL) -> Finding:
        found = Findings(self.ledger.table).get(Identity("recover_node", pool_scope(pool), "blast_radius"))
        assert found is not None
        return found


@pytest.fixture
def nodes(outside: Outside, ledger: Ledger, clock: Clock) -> Nodes:
    outside.policy(**TRACKED)
    return Nodes(outside, ledger, clock)


def test_a_pool_with_too_much_down_is_told_at_once_and_once(outside: Outside, nodes: Nodes) -> None:
    for number in range(4):
        nodes.deferred(number)
    ((title, text),) = outside.tickets.made.values()
    assert title == "Paydown: recover_node on pool/demo/workers: blast_radius"
    assert "1 of the 3 members of demo/workers may be down at once" in text
    assert "a person has to look" in text
    (message,) = outside.published()
    assert message["MessageAttributes"]["kind"]["Value"] == "blast_radius"
    assert nodes.finding().open


def test_each_pool_is_told_for_itself(outside: Outside, nodes: Nodes) -> None:
    nodes.deferred(1)
    nodes.deferred(2, "demo/gpu members of (x)")
    assert len(outside.tickets.made) == len(outside.published()) == 2
    assert nodes.finding("demo/gpu members of (x)").open


def test_it_is_over_when_a_run_of_the_pool_is_let_in(outside: Outside, nodes: Nodes) -> None:
    waiting = nodes.deferred(1)
    nodes.let_in(nodes.deferred(2, "demo/gpu"), "demo/gpu")
    assert nodes.finding().open, "that was another pool"
    assert not nodes.finding("demo/gpu").open
    nodes.let_in(waiting)
    assert not nodes.finding().open
    assert outside.tickets.resolved == {"100", "101"}
    assert f"It is over: run {waiting.id} was let in." in outside.tickets.of("100")


def test_it_is_not_over_while_others_wait(outside: Outside, nodes: Nodes) -> None:
    """Nodes that go down and come back in turns are one finding, which is told once."""
    waiting = [nodes.deferred(number) for number in range(3)]
    nodes.let_in(waiting.pop(0))
    waiting.append(nodes.deferred(3))
    for run in waiting:
        assert nodes.finding().open
        nodes.let_in(run)
    assert not nodes.finding().open
    assert len(outside.published()) == 1


def test_a_run_that_takes_back_what_another_left_is_no_sign_that_it_is_over(outside: Outside, nodes: Nodes) -> None:
    nodes.deferred(1)
    outside.tell(outside.happen("Applying", rule="UndoRequested"))
    assert nodes.finding().open


def test_it_is_over_when_nobody_waits_and_the_last_found_nothing_to_do(outside: Outside, nodes: Nodes) -> None:
    first, second = nodes.deferred(1), nodes.deferred(2)
    nodes.ended(second, Outcome.SKIPPED, "nothing_to_do")
    app.hourly()
    assert nodes.finding().open, "the first still waits"
    nodes.ended(first, Outcome.SKIPPED, "nothing_to_do")
    app.hourly()
    assert not nodes.finding().open
    assert outside.tickets.resolved == {"100"}


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.REFUSED, "deferred_too_long"), (Outcome.SKIPPED, "left_to_others")]
)
def test_it_is_not_over_because_paydown_gave_up(outside: Outside, nodes: Nodes, outcome: Outcome, code: str) -> None:
    nodes.ended(nodes.deferred(1), outcome, code)
    app.hourly()
    assert nodes.finding().open
    assert outside.tickets.resolved == set()


def test_a_let_in_run_whose_event_came_too_early_closes_it_in_the_end(outside: Outside, nodes: Nodes) -> None:
    """It was told of while another still waited, which then found its node well."""
    first, second = nodes.deferred(1), nodes.deferred(2)
    nodes.let_in(second)
    assert nodes.finding().open
    nodes.ended(first, Outcome.SKIPPED, "nothing_to_do")
    app.hourly()
    assert not nodes.finding().open


def test_it_speaks_again_when_it_is_back(outside: Outside, nodes: Nodes) -> None:
    nodes.let_in(nodes.deferred(1))
    assert len(outside.published()) == 1
    nodes.deferred(2)
    assert len(outside.published()) == 1
    assert len(outside.tickets.made) == 1
    assert outside.tickets.resolved == set()


def test_what_enforcing_would_have_met_is_no_news(outside: Outside, nodes: Nodes) -> None:
    outside.tell(outside.happen("Observed", reasons=[("blast_radius", why())]))
    assert outside.published() == []


def test_a_reason_that_names_no_pool_is_told_of_its_target(outside: Outside, nodes: Nodes) -> None:
    """As another version may have written it."""
    outside.tell(outside.happen("Deferred", reasons=[("blast_radius", "too many are down")]))
    assert len(outside.published()) == 1
