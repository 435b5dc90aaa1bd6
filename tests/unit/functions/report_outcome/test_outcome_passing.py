"""What nobody reports any more is closed after a while, in words that claim no healing."""

from __future__ import annotations

from datetime import timedelta

from functions.report_outcome import app
from paydown.events import NodeNotReady
from paydown.ledger import Ledger, Outcome, Reason, Status
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock

ASKED = {"tracker": "helpdesk", "id": "1"}
DAY = 86_400
STALE = {"notifications": {"tracker": "helpdesk", "stale_days": 2}}


def test_a_finding_is_closed_when_nobody_reported_it_for_so_many_days(outside: Outside, clock: Clock) -> None:
    outside.policy(**STALE)
    outside.tell(outside.happen("Failed", "escalated", ticket=ASKED))
    clock.tick(2 * DAY)
    app.hourly()
    assert outside.finding().open
    clock.tick(1)
    app.hourly()
    assert not outside.finding().open
    assert outside.tickets.of("1")[-1] == (
        "It is over: nobody has reported it for 2 days. Whether it was mended is not known."
    )
    writes = outside.tickets.writes
    app.hourly()
    assert outside.tickets.writes == writes


def test_each_report_begins_the_days_anew_and_a_later_one_opens_it_again(outside: Outside, clock: Clock) -> None:
    outside.policy(**STALE)
    outside.tell(outside.happen("Failed", "permanent"))
    clock.tick(2 * DAY)
    outside.tell(outside.happen("Failed", "permanent"))
    clock.tick(DAY)
    app.hourly()
    assert outside.finding().open
    clock.tick(DAY + 1)
    app.hourly()
    assert not outside.finding().open
    clock.tick(60)
    outside.tell(outside.happen("Failed", "permanent"))
    assert outside.finding().open
    assert outside.finding().episode == 2


def test_what_a_run_still_waits_for_is_not_stale(outside: Outside, ledger: Ledger, clock: Clock) -> None:
    outside.policy(**STALE)
    event = NodeNotReady(key="alert-1", at=clock(), cluster="demo", node="worker-1")
    place = ("recover_node", "n1", "node/demo/worker-1")
    run = ledger.runs.create(*place, event, clock(), clock.tick(1), timedelta(seconds=60)).run
    later = clock() + timedelta(days=9)
    run = ledger.runs.move(run, Status.HELD, clock(), later, [Reason("needs_approval", "x")])
    outside.tell(outside.happen("Held", "needs_approval", run_id=run.id, sequence=run.sequence))
    clock.tick(3 * DAY)
    app.hourly()
    assert outside.finding().open
    ledger.runs.end(run, Outcome.REJECTED, clock())
    app.hourly()
    assert not outside.finding().open
