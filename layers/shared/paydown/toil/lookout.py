"""What the guards need to know, read from the ledger right before it counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from paydown.errors import PaydownError
from paydown.guardrails import Facts, Identity
from paydown.ledger import EVERYTHING, Ledger, Run, Verbs
from paydown.toil.contract import Toil


class Lookout:
    """Reads switches, leases and approvals for one toil type."""

    def __init__(self, ledger: Ledger, toil: Toil[Any]) -> None:
        self.ledger = ledger
        self.toil = toil
        self.verbs: Verbs = {action.verb(): action for action in toil.does}

    def facts(self, run: Run, target: Any, now: datetime) -> Facts:
        """The facts for a plan of this run."""
        holder = self.ledger.runs.holder(target.uid, now)
        return Facts(
            labels=target.labels,
            stops=self.stops(),
            lease=holder if holder and holder[0] != run.id else None,
            approved=self.approved(run),
        )

    def approved(self, run: Run) -> frozenset[Identity]:
        """The actions that a person approved for this run."""
        decision = self.ledger.approvals.latest(run) if run.plan_number else None
        if decision is None or not decision.approved:
            return frozenset()
        steps = self.ledger.journal.read(run, decision.plan_number, self.verbs)
        return frozenset(step.action.identity for step in steps)

    def stops(self) -> list[str]:
        """The switches that are on, explained; one that cannot be read counts as on."""
        try:
            stops = self.ledger.switches.stops(self.toil.name)
        except PaydownError as error:
            return [f"the switches cannot be read: {error}"]
        return [
            f"{'everything' if stop.scope == EVERYTHING else stop.scope} was stopped by {stop.by} at {stop.at}"
            + (f": {stop.why}" if stop.why else "")
            for stop in stops
        ]
