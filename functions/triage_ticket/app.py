"""Hand a new ticket, or one that a person moved to the automation queue, to the toil type that it asks for.

The rules of the policy say which tickets are about which toil type, and how they name their target. A match sends that
toil type a command to look, no more: what it may do is decided by its own policy and guardrails. A ticket that no rule
matches, or whose target is not in the inventory, is left alone; the run says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from functions.triage_ticket.matching import NoMatch, match
from paydown.clients import aws
from paydown.errors import PermanentError
from paydown.events import Event, TicketCreated
from paydown.inventory import Inventory, Ticket
from paydown.ledger import run_id
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
    Hazard,
    Moot,
    NotYet,
    Population,
    Record,
    Seen,
    Unverified,
    Verified,
)
from paydown.tickets import TicketNotFound, open_tracker
from paydown.toil import Toil, ToilSettings, handler_for

SHORTEST_POLL, LONGEST_POLL = 2.0, 60.0


class Settings(ToilSettings):
    """What the policy may say of this toil type: nothing. The rules stand under `tickets`."""


class Nudge(Action):
    """Tell a toil type to look at a target (the `object`) because of the ticket."""

    hazard: Hazard = Hazard.NONE
    toil: str
    rule: str


class TriageTicket(Toil[Ticket]):
    """One run per event and ticket."""

    listens_to = (TicketCreated,)
    does = (Nudge,)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Ticket]:
        """The ticket, if its tracker is declared and it did not move to a queue that is not ours."""
        if not isinstance(event, TicketCreated):
            return []
        ticket = inventory.ticket(event.ticket.tracker, event.ticket.id)
        return [ticket] if ticket and event.queue in (None, ticket.tracker.queue) else []

    def plan(self, target: Ticket) -> Draft | NotYet:
        """Read the ticket, match it, and find the one target that it names."""
        try:
            ticket = open_tracker(target.tracker, aws.secret).read(target.id)
        except TicketNotFound:
            return Draft(why="the ticket is gone")
        if ticket.resolved:
            return Draft(why="the ticket is resolved already")
        found = match(ticket, target.tracker.name, self.policy.tickets.rules)
        if isinstance(found, NoMatch):
            return Draft(why=found.why)
        rule = found.rule
        if rule.toil == self.name:
            return Draft(why=f"the rule {rule.name} hands tickets back to {self.name}")
        if self.inventory.find(found.ref) is None:
            return Draft(why=f"the rule {rule.name} matches, but the inventory has not exactly one {found.ref}")
        nudge = Nudge(object=found.ref, precondition=f"{rule.toil} has no run for it", toil=rule.toil, rule=rule.name)
        return Draft.of([nudge], rule=rule.name)

    def population(self, target: Ticket) -> Population | None:
        """None: it only makes another toil type look, whose own blast radius counts."""
        return None

    def apply(self, action: Nudge, target: Ticket) -> Applied:
        """Send the command. Twice does no harm: the ledger knows a run's event and target."""
        named = self.inventory.find(action.object)
        if named is None:
            raise PermanentError(f"{action.object} left the inventory meanwhile")
        if self.scene.has_run(action.toil, self.event, named):
            return Moot(f"{action.toil} has its run already")
        self.scene.nudge(action.toil, self.event, action.object)
        return Done({"toil": action.toil, "target": action.object})

    def verify(self, target: Ticket, record: Record) -> Seen:
        """The ledger holds the run that was asked for."""
        action = record.steps[-1].action
        if not isinstance(action, Nudge):
            raise TypeError(f"{action.verb()} is no action of {self.name}")
        named = self.inventory.find(action.object)
        if named is None:
            return Unverified(f"{action.object} left the inventory meanwhile")
        if not self.scene.has_run(action.toil, self.event, named):
            elapsed = (self.now() - record.applied_at).total_seconds()
            pause = timedelta(seconds=min(LONGEST_POLL, max(SHORTEST_POLL, elapsed / 4)))
            return NotYet(self.now() + pause, f"{action.toil} has not begun its run yet")
        run = run_id(self.event.key, named.uid, action.toil)
        return Verified({"rule": action.rule, "toil": action.toil, "target": action.object, "run": run}, {"tickets": 1})


handler = handler_for(TriageTicket)
