"""Writing on tickets: the answer to who asked, and one comment for each finding, kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from aws_lambda_powertools import Logger

from functions.report_outcome.report import line, standing
from paydown.errors import PaydownError
from paydown.ledger import Ledger
from paydown.ledger.deliveries import Deliveries
from paydown.ledger.findings import Finding, Findings, Identity, Task
from paydown.tickets import TicketSystem

logger = Logger(service="report_outcome")


@dataclass
class Desk:
    """The tickets of one ledger's trackers. `open_system` opens the ticket system of a tracker that is declared."""

    ledger: Ledger
    findings: Findings
    deliveries: Deliveries
    open_system: Callable[[str], TicketSystem | None]
    now: Callable[[], datetime]
    tracker: str | None = None
    """Where tickets are made that nobody asked for."""
    _systems: dict[str, TicketSystem | None] = field(default_factory=dict, init=False)

    def comment(self, ticket: str, body: str, marker: str, *, resolve: bool = False) -> bool:
        """Comment once on a ticket (`tracker/id`), and resolve it. Returns whether that changed it."""
        tickets, id = self._system(ticket)
        if tickets is None:
            return False
        return (tickets.comment_and_resolve if resolve else tickets.comment)(id, body, marker)

    def write(self, identity: Identity, task: Task, story: Callable[[], str]) -> None:
        """Bring each ticket of a finding up to date, whatever becomes of the others; one worker at a time.

        What is written is the finding as it is by now, so that the last who writes is right. Raises what the first
        ticket that could not be written raised.
        """
        troubles: list[PaydownError] = []
        with self.deliveries.alone(identity.partition, "TICKETS", self.now()):
            finding = self.findings.get(identity)
            if finding is None:
                return
            had = finding.ticket
            wanted = finding.open and finding.wants_ticket and not finding.is_snoozed(self.now())
            if wanted and not had and self.tracker is not None:
                with _collected(troubles):
                    finding = self._with_ticket(finding, self.tracker, story)
            for ticket in finding.tickets:
                if ticket not in (had, *finding.asked):
                    continue  # it is new, and its text says it all
                with _collected(troubles):
                    self._bring_up_to_date(finding, ticket, task)
        if troubles:
            raise troubles[0]

    def _with_ticket(self, finding: Finding, tracker: str, story: Callable[[], str]) -> Finding:
        """The finding with a ticket of its own: that of who asked if it is in the same tracker, else a new one."""
        known = [ticket for ticket in finding.asked if ticket.rpartition("/")[0] == tracker]
        told = f"{standing(finding)}\n\n{story()}"
        if known:
            ticket = known[0]
            self.comment(ticket, told, _marker(finding, "story"))
        else:
            tickets, _ = self._system(f"{tracker}/")
            if tickets is None:
                return finding
            title = f"Paydown: {finding.identity.toil} on {line(finding.identity.target)}: {finding.label}"
            ticket = f"{tracker}/{tickets.create(title, told, _marker(finding, 'ticket'))}"
        return self.findings.change(finding.identity, self.now(), lambda found: replace(found, ticket=ticket))

    def _bring_up_to_date(self, finding: Finding, ticket: str, task: Task) -> None:
        tickets, id = self._system(ticket)
        if tickets is None:
            return
        ours = ticket == finding.ticket or ticket in finding.reopened
        if finding.open and task.reopen and ours:
            tickets.reopen(id)
        if finding.open or ticket in finding.asked:
            tickets.edit_comment(id, standing(finding), _marker(finding))
        if not finding.open and ours:
            tickets.comment_and_resolve(id, f"It is over: {finding.over}", _marker(finding, "over"))

    def _system(self, ticket: str) -> tuple[TicketSystem | None, str]:
        """The ticket system and the id of a ticket; None for a tracker that is not declared (any more)."""
        tracker, _, id = ticket.rpartition("/")
        if tracker not in self._systems:
            self._systems[tracker] = self.open_system(tracker)
            if self._systems[tracker] is None:
                logger.warning("tracker not in the inventory", tracker=tracker)
        return self._systems[tracker], id


def _marker(finding: Finding, what: str = "") -> str:
    """What makes a comment on a finding unique in each of its episodes."""
    return f"paydown-run: finding/{finding.identity.id}/{finding.episode}{f'/{what}' if what else ''}"


@contextmanager
def _collected(troubles: list[PaydownError]) -> Iterator[None]:
    try:
        yield
    except PaydownError as error:
        troubles.append(error)
