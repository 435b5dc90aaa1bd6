"""The transitions of a run: each is one transaction of the row, its log entry, its lease, and its places in tallies.

Every write names the run's `fence` and `sequence`, so that a worker which was replaced can write nothing any more, and
nothing happens in parts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.errors import PaydownError, RetryableError
from paydown.events import UndoRequested
from paydown.guardrails import Ending, Tally, target_scope
from paydown.ledger import history
from paydown.ledger.retention import RETENTION, expiry
from paydown.ledger.run import (
    Outcome,
    Reason,
    Run,
    Status,
    run_id,
    stamp,
    time_of,
)
from paydown.ledger.table import ConditionFailed, Item, Table, Write
from paydown.ledger.tallies import Tallies

RECALLS = 5
"""How often the end of a run is tried again because another run of its target ended at the same moment."""
_MINE = "#fence = :fence AND #sequence = :sequence"


class Lost(PaydownError):
    """Another worker has taken the run up: stop at once, write nothing."""


class Busy(PaydownError):
    """Another run holds the lease on the target until `until`."""

    def __init__(self, owner: str, until: datetime) -> None:
        self.owner = owner
        self.until = until
        super().__init__(f"run {owner} works on this target until {until:%H:%M:%S}Z at the latest")


class Crowded(PaydownError):
    """What the guards counted has changed since it was read, or the run's place was given away: evaluate again."""


class Joined(PaydownError):
    """An event joined the run after it had looked at the target: it must look again before it goes on."""


Writes = dict[str, list[Write]]
"""The writes of a transaction, by the part that they play in it."""


class Transitions:
    """How runs of one ledger move and end. `retention` is how long ended runs and their journals are kept."""

    def __init__(self, table: Table, retention: timedelta = RETENTION) -> None:
        self.table = table
        self.retention = retention
        self.tallies = Tallies(table)

    def keep(self, run: Run, now: datetime, **changes: Any) -> Run:
        """Write changes of a run whose status stays; a later `leased_until` prolongs lease and places, as in `move`.

        Raises Lost, Busy, Crowded.
        """
        kept = replace(run, updated=now, takes=0, **changes)
        writes = {"row": [self._replaced(run, kept.item())]}
        if kept.leased_until and run.leased_until and kept.leased_until > run.leased_until:
            writes |= self._prolonging(run, now, kept.leased_until)
        self._transact(run, writes)
        return kept

    def move(
        self, run: Run, status: Status, now: datetime, due: datetime, reasons: Sequence[Reason] = (), **changes: Any
    ) -> Run:
        """A transition to another living status. A deferred or held run gives its lease back. Raises Lost.

        With a later `leased_until`, the lease and the run's places last as long; raises Busy or Crowded if they are
        another's by now.
        """
        moved = self._next(run, status, now, due=due, reasons=tuple(reasons), **changes)
        if status in (Status.DEFERRED, Status.HELD):
            moved = replace(moved, leased_until=None)
        self._transition(run, moved, now)
        return moved

    def admit(
        self,
        run: Run,
        now: datetime,
        joins: int,
        leased_until: datetime,
        tallies: Sequence[Tally],
        booked: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Run:
        """Let the run act: lease, places, budgets and status together, or nothing.

        `tallies` are those that the guards read, with the run entered. Raises Crowded if one of them changed since,
        Busy while another run holds the lease, Joined if an event came after the target was looked at, and Lost.
        """
        scopes = tuple(tally.scope for tally in tallies)
        changes |= {"leased_until": leased_until, "owns_open": False, "scopes": scopes, "paid": True}
        moved = self._next(run, Status.APPLYING, now, **changes)
        writes = {
            "open": self._closing(run, joins),
            "lease": [self._leasing(run, now, leased_until)],
            "tally": [self.tallies.put(tally, now) for tally in tallies],
            "account": [self._booking(run, now, booked)] if booked else [],
        }
        self._transition(run, moved, now, writes)
        return moved

    def renew(self, run: Run, now: datetime, leased_until: datetime) -> Run:
        """Lengthen the lease and the run's places.

        Raises Busy if another run has the lease by now, Crowded if it lost its place: it then needs to be let in again.
        Raises Lost.
        """
        kept = replace(run, updated=now, leased_until=leased_until)
        writes = {"row": [self._replaced(run, kept.item())], **self._prolonging(run, now, leased_until)}
        self._transact(run, writes)
        return kept

    def end(
        self,
        run: Run,
        outcome: Outcome,
        now: datetime,
        reasons: Sequence[Reason] = (),
        *,
        joins: int | None = None,
        booked: dict[str, Any] | None = None,
        overridden: tuple[str, datetime] | None = None,
        undo: tuple[str, str] | None = None,
        **changes: Any,
    ) -> Run:
        """End the run: outcome, lease, places, what the target remembers, and the debt account together.

        `joins` (as read before looking) makes sure that no event joined since: raises Joined. `booked` holds numbers
        that are added to the toil type's account of the month. `overridden`: what a person took over, and until when
        the target is left alone for it. `undo` (by whom, why) begins the run that takes back what this one leaves.
        Raises Lost.
        """
        changes |= {"due": None, "reasons": tuple(reasons), "owns_open": False, "leased_until": None}
        ended = self._next(run, outcome, now, **changes)
        writes = {
            "open": self._closing(run, joins),
            "account": [self._booking(run, now, booked)] if booked else [],
            "undo": self._first(self._undoing(run, *undo, now), now) if undo else [],
        }
        for _ in range(RECALLS):
            try:
                self._transition(run, ended, now, writes, overridden)
            except Crowded:
                continue  # what the target remembers has changed since it was read
            else:
                return ended
        raise RetryableError(f"run {run.id} cannot end: others keep writing what its target remembers", delay=5)

    def _undoing(self, run: Run, by: str, why: str, now: datetime, attempt: int = 1) -> Run:
        event = UndoRequested(key=f"undo:{run.id}", at=now, run_id=run.id, by=by, why=why)
        return replace(Run.begin(run.toil, run.target, run.ref, event, now, attempt), due=now)

    def _first(self, run: Run, now: datetime) -> list[Write]:
        """The writes with which a run comes to be; a later attempt is noted beside the first one."""
        item = self._expiring(run, now) if run.ended else run.item()
        writes = [self.table.put(item, "attribute_not_exists(pk)"), self._logged(run, now)]
        if run.attempt > 1:
            first = f"RUN#{run_id(run.key, run.target, run.toil)}"
            expires = expiry(now, self.retention, living=not run.ended)
            writes.append(self.table.put({"pk": first, "sk": "ATTEMPTS", "latest": run.attempt, "expires": expires}))
        return [*writes, *map(self.table.put, history.began(run, now, self.retention))]

    # -- the parts of a transaction -----------------------------------------------------------------------------------

    def _next(self, run: Run, status: Status | Outcome, now: datetime, **changes: Any) -> Run:
        return replace(run, status=status, updated=now, sequence=run.sequence + 1, takes=0, **changes)

    def _transition(
        self,
        run: Run,
        moved: Run,
        now: datetime,
        writes: Writes | None = None,
        overridden: tuple[str, datetime] | None = None,
    ) -> None:
        """The row, its log entry, the `writes`, and lease and places given back, or prolonged, as the run now says."""
        item = self._expiring(moved, now) if moved.ended else moved.item()
        parts: Writes = {"row": [self._replaced(run, item)], "log": [self._logged(moved, now)], **(writes or {})}
        if moved.ended:
            parts["history"] = [self.table.put(history.ended(moved, now, self.retention))]
        if moved.leased_until is None:
            parts |= self._leaving(run, moved, now, overridden)
        elif run.leased_until is not None and moved.leased_until > run.leased_until:
            parts |= self._prolonging(run, now, moved.leased_until)
        self._transact(run, parts)

    def _leaving(self, run: Run, moved: Run, now: datetime, overridden: tuple[str, datetime] | None) -> Writes:
        mine = target_scope(run.toil, run.target)
        # Taking back is no attempt to heal: it must neither end a row of failures, nor pass for a healing.
        tried = run.event_type != UndoRequested.detail_type() and bool(run.executed or moved.status is Outcome.FAILED)
        ending = Ending(now, moved.status.value, run.id, run.event_type) if tried and moved.ended else None
        if run.leased_until is None:
            if ending is None and overridden is None:
                return {}
            tally = self.tallies.get(mine)
            tally = tally.remembering(ending) if ending else tally
            return {"remembered": [self.tallies.put(replace(tally, overridden=overridden or tally.overridden), now)]}
        places = []
        for scope in run.scopes:
            if ending is not None and scope == mine:
                places.append(self.tallies.ended(scope, ending, overridden, now))
            else:
                places.append(self.tallies.leave(scope, run.id))
        release = self.table.delete(lease_partition(run.target), "LEASE", "#run = :run", run=run.id)
        return {"place": places, "release": [release]}

    def _prolonging(self, run: Run, now: datetime, until: datetime) -> Writes:
        places = [self.tallies.extend(scope, run.id, run.target, until) for scope in run.scopes]
        return {"lease": [self._leasing(run, now, until)], "tally": places}

    def _transact(self, run: Run, parts: Writes) -> None:
        """Do all the writes, or none; what fails is told by the name of the part in which it failed."""
        names = [name for name, writes in parts.items() for _ in writes]
        try:
            self.table.transact([write for writes in parts.values() for write in writes])
        except ConditionFailed as failed:
            refused = {names[index] for index in failed.indexes}
        else:
            return
        if refused == {"release"}:
            # The lease expired and is another's now: there is nothing to give back.
            self._transact(run, {name: writes for name, writes in parts.items() if name != "release"})
        elif "row" in refused:
            raise Lost(run.id)
        elif "open" in refused:
            raise Joined(run.id)
        elif "lease" in refused:
            lease = self.table.get(lease_partition(run.target), "LEASE")
            raise Busy(lease["run"], time_of(lease["until"])) if lease else Crowded(run.id)
        else:
            raise Crowded(run.id)

    def _replaced(self, run: Run, item: Item) -> Write:
        return self.table.put(item, _MINE, fence=run.fence, sequence=run.sequence)

    def _expiring(self, run: Run, now: datetime) -> Item:
        return {**run.item(), "expires": expiry(now, self.retention)}

    def _logged(self, run: Run, now: datetime) -> Write:
        return self.table.put(
            {
                "pk": run.partition,
                "sk": f"LOG#{run.sequence:06}",
                "at": now.isoformat(timespec="milliseconds"),
                "run": run.id,
                "toil": run.toil,
                "target": run.target,
                "ref": run.ref,
                "status": run.status.value,
                "key": run.key,
                "ticket": run.ticket.model_dump() if run.ticket else None,
                "reasons": [[reason.code, reason.text] for reason in run.reasons],
                "event_type": run.event_type,
                "plan_number": run.plan_number,
                "fingerprint": run.fingerprint,
                "hazard": run.hazard,
                "actions": run.actions,
                "evidence": json.dumps(run.evidence),
                "expires": expiry(now, self.retention, living=not run.ended),
            }
        )

    def _closing(self, run: Run, joins: int | None) -> list[Write]:
        """The run has looked at its target: later events begin a run of their own."""
        if not run.owns_open:
            return []
        key = open_key(run.toil, run.target)
        if joins is None:
            return [self.table.delete(key, "OPEN", "#run = :run", run=run.id)]
        return [self.table.delete(key, "OPEN", "#run = :run AND #joins = :joins", run=run.id, joins=joins)]

    def _leasing(self, run: Run, now: datetime, until: datetime) -> Write:
        return self.table.put(
            {
                "pk": lease_partition(run.target),
                "sk": "LEASE",
                "run": run.id,
                "fence": run.fence,
                "until": stamp(until),
                "ref": run.ref,
            },
            "attribute_not_exists(pk) OR #run = :run OR #until < :now",
            run=run.id,
            now=stamp(now),
        )

    def _booking(self, run: Run, now: datetime, booked: dict[str, Any]) -> Write:
        names = [f"#{name}" for name in booked]
        change = "ADD " + ", ".join(f"{name} :{name[1:]}" for name in names)
        return self.table.update(f"DEBT#{run.toil}", f"{now.astimezone(UTC):%Y-%m}", change, **booked)


def open_key(toil: str, target: str) -> str:
    """The partition that names the run which has yet to look at a target."""
    return f"OPEN#{toil}#{target}"


def lease_partition(target: str) -> str:
    """The partition of the lease on a target."""
    return f"LEASE#{target}"
