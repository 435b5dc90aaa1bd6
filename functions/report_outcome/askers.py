"""Which tickets want to know what comes of a run: those whose events began it, or joined it."""

from __future__ import annotations

from functions.report_outcome.meaning import named_runs, recurred
from functions.report_outcome.report import joined
from paydown.events import RemediationChanged, TicketRef
from paydown.ledger import Ledger, Status
from paydown.ledger.joined import joined_tickets

TRIAGE = "triage_ticket"
"""Its runs are about the ticket itself; the run that it asked for is what the ticket is told about."""

QUIET = frozenset(map(str, Status)) - {Status.HELD}
"""Statuses that no ticket is told of, but for a fault that came back."""


def asking_tickets(ledger: Ledger, change: RemediationChanged) -> tuple[str, ...]:
    """The tickets (`tracker/id`) that are told of this change, the run's own one first."""
    if change.toil == TRIAGE:
        return ()
    own = _names(change.ticket)
    if joined(change) or (change.status in QUIET and not recurred(change)):
        return own
    return tuple(dict.fromkeys((*own, *joined_tickets(ledger.table, change.run_id))))


def earlier_tickets(ledger: Ledger, change: RemediationChanged) -> tuple[str, ...]:
    """The tickets of the earlier run after which the fault came back."""
    if not recurred(change):
        return ()
    for id in named_runs(change):
        run = ledger.runs.get(id)
        if run is not None and (found := (*_names(run.ticket), *joined_tickets(ledger.table, id))):
            return tuple(dict.fromkeys(found))
    return ()


def _names(ticket: TicketRef | None) -> tuple[str, ...]:
    return () if ticket is None else (f"{ticket.tracker}/{ticket.id}",)
