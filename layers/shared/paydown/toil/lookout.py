"""What the guards need to know, read from the ledger right before it counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from paydown.errors import PaydownError
from paydown.events import UndoRequested
from paydown.guardrails import EVERYTHING_SCOPE, Facts, Identity, pool_scope, target_scope, toil_scope
from paydown.ledger import EVERYTHING, Ledger, Run, Status, Stop, Verbs
from paydown.plan import Healer, Population
from paydown.policy import ToilPolicy
from paydown.toil.contract import Toil
from paydown.toil.undoing import Undoing


class Lookout:
    """Reads switches, leases, tallies and approvals for one toil type."""

    def __init__(self, ledger: Ledger, toil: Toil[Any], policy: ToilPolicy) -> None:
        self.ledger = ledger
        self.toil = toil
        self.policy = policy
        self.verbs: Verbs = {action.verb(): action for action in toil.does}

    def facts(
        self, run: Run, target: Any, now: datetime, population: Population | None, healer: Healer | None
    ) -> Facts:
        """The facts for a plan of this run: what must be right is read consistently, and all of it at one time."""
        scopes = [EVERYTHING_SCOPE, toil_scope(run.toil), target_scope(run.toil, run.target)]
        if population is not None:
            scopes.append(pool_scope(population.pool))
        switches, runs, tallies = self.ledger.switches, self.ledger.runs, self.ledger.runs.tallies
        keys = [*switches.keys(run.toil), runs.lease_key(run.target), *tallies.keys(*scopes)]
        found = {(item["pk"], item["sk"]): item for item in self.ledger.table.get_all(keys)}
        holder = runs.holder_in(found.get(runs.lease_key(run.target)), now)
        everything, of_toil, on_target, *pool = (tallies.found(scope, found) for scope in scopes)
        storm = self.policy.storm
        back = timedelta(seconds=2 * storm.window_seconds + storm.cool_down_seconds)
        return Facts(
            labels=target.labels,
            run=run.id,
            target=target.uid,
            stops=self._explained(switches.from_items(found.values())),
            lease=holder if holder and holder[0] != run.id else None,
            approved=self.approved(run),
            everything=everything,
            toil=of_toil,
            on_target=on_target,
            pool=pool[0] if pool else None,
            population=population,
            healer=healer,
            events=tallies.events(run.toil, now - back),
            bucket_seconds=storm.bucket_seconds,
            resumed_at=switches.resumed_in(found.values()),
            ongoing=self.toil.event.ongoing,
            event=run.event_type,
            began=run.created,
            undoing=isinstance(self.toil, Undoing),
            paid=run.paid,
            waited=now - run.since if run.status is Status.DEFERRED and run.since else timedelta(0),
        )

    def approved(self, run: Run) -> frozenset[Identity]:
        """The actions that a person approved for this run, and that it has not carried out since.

        An approval covers each of them once: what has to be done again is asked for again.
        """
        decision = self.ledger.approvals.latest(run) if run.plan_number else None
        if decision is None or not decision.approved:
            return frozenset()
        read, approved_in = self.ledger.journal.read, decision.plan_number
        begun = [number for number in run.executed if number >= approved_in]
        used = {step.action.identity for number in begun for step in read(run, number, self.verbs) if step.state.ended}
        return frozenset(step.action.identity for step in read(run, approved_in, self.verbs)) - used

    def stops(self) -> list[str]:
        """The switches that are on, explained; one that cannot be read counts as on."""
        try:
            stops = self.ledger.switches.stops(self.toil.name)
        except PaydownError as error:
            return [f"the switches cannot be read: {error}"]
        return self._explained(stops)

    def _explained(self, stops: list[Stop]) -> list[str]:
        """What a person asked to have taken back is stopped only by a switch of afterwards: they knew of the others."""
        asked = self.toil.event
        if isinstance(asked, UndoRequested) and asked.by_a_person:
            stops = [stop for stop in stops if stop.since > asked.at]
        return [
            f"{'everything' if stop.scope == EVERYTHING else stop.scope} was stopped by {stop.by} at {stop.at}"
            + (f": {stop.why}" if stop.why else "")
            for stop in stops
        ]
