"""The life of a run in the ledger: created once, taken up by one worker at a time, moved, and ended once.

The items of a run share the partition `RUN#<id>`:

- `RUN`: the row. A living one has `due`, the time at which somebody must look at it again, whatever happens.
- `LOG#<sequence>`: one for each transition, written with it. The table's stream turns these into `Remediation …`
events.
- `STEP#<plan>#<index>`: the journal, one item for each action of each plan (`paydown.ledger.journal`).
- `ATTEMPTS`: beside an event's first run, the number of its latest, where a fault that went on began further ones.

Beside them: `LEASE#<target>` names the run that may act on a target, and `OPEN#<toil>#<target>` the run that has yet to
look at it: a further event joins that one, and is not lost, since it makes the run look again if it had already looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.errors import PaydownError
from paydown.events import Event, UndoRequested
from paydown.guardrails import Ending, Tally, target_scope
from paydown.ledger import history
from paydown.ledger.retention import RETENTION, expiry
from paydown.ledger.run import (
    DUE_SHARDS,
    UNHEALED,
    Outcome,
    Reason,
    Run,
    Status,
    moment,
    run_id,
    stamp,
    time_of,
)
from paydown.ledger.table import ConditionFailed, Item, Table, Write
from paydown.ledger.tallies import Tallies

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


class Alive(PaydownError):
    """The run has not ended: what it left half-done is not known yet."""


class Joined(PaydownError):
    """An event joined the run after it had looked at the target: it must look again before it goes on."""


@dataclass(frozen=True)
class Created:
    """What became of an event: the run that it began, or the one that it repeats or joined."""

    run: Run
    new: bool
    """True: the caller is the run's worker. False: there is nothing for it to do."""


Writes = dict[str, list[Write]]
"""The writes of a transaction, by the part that they play in it."""


class Runs:
    """The runs of one ledger. `retention` is how long ended runs and their journals are kept."""

    def __init__(self, table: Table, retention: timedelta = RETENTION) -> None:
        self.table = table
        self.retention = retention
        self.tallies = Tallies(table)

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Run | None:
        """The run, read consistently."""
        item = self.table.get(f"RUN#{id}", "RUN")
        return Run.from_item(item) if item else None

    def log(self, id: str) -> Iterator[Item]:
        """The transitions of a run, oldest first: items with `at` (ISO 8601), `status`, `reasons`."""
        return self.table.query(f"RUN#{id}", "LOG#")

    def due(self, now: datetime, limit: int = 1000) -> Iterator[Item]:
        """Up to `limit` rows of living runs, for each shard, that somebody must look at: `id`, `toil`, `due` (ms)."""
        for shard in range(DUE_SHARDS):
            yield from self.table.query_index(
                "due", "#pk = :shard AND #sk <= :now", {":shard": f"DUE#{shard}", ":now": stamp(now)}, limit=limit
            )

    def alive(self, limit: int = 1000) -> Iterator[Item]:
        """Up to `limit` rows of living runs, for each shard, those due first."""
        for shard in range(DUE_SHARDS):
            yield from self.table.query_index("due", "#pk = :shard", {":shard": f"DUE#{shard}"}, limit=limit)

    # -- beginning ----------------------------------------------------------------------------------------------------

    def create(
        self,
        toil: str,
        target: str,
        ref: str,
        event: Event,
        now: datetime,
        deadline: datetime,
        cool_down: timedelta,
        bucket_seconds: int = 60,
    ) -> Created:
        """Begin the run of an event and a target, recognise its repeat, or let it join the run that has yet to look.

        The caller of a new run is its worker until `deadline`. An ongoing fault that is reported again `cool_down`
        after a run that did not heal it begins another attempt. Whatever is no repeat is counted, in spans of
        `bucket_seconds`, so that a storm is noticed.
        """
        attempt = 1
        while True:
            fresh = Run.begin(toil, target, ref, event, now, attempt)
            fresh = replace(fresh, due=deadline, owns_open=True)
            opened = {"pk": _open(toil, target), "sk": "OPEN", "run": fresh.id, "joins": 0}
            writes = [*self._first(fresh, now), self.table.put(opened, "attribute_not_exists(pk)")]
            try:
                self.table.transact(writes)
                self.tallies.count_event(toil, now, bucket_seconds)
                return Created(fresh, new=True)
            except ConditionFailed as failed:
                known = self.get(fresh.id) if 0 in failed.indexes else None
            if known is None:
                joined = self._join(fresh, now)
                if joined is not None:
                    self.tallies.count_event(toil, now, bucket_seconds)
                    return Created(joined, new=False)
                continue  # the open run closed meanwhile: begin one
            latest = self._latest_attempt(known)
            if attempt < latest:
                attempt = latest
            elif event.ongoing and known.status in UNHEALED and (known.updated or now) + cool_down <= now:
                attempt += 1
            else:
                return Created(known, new=False)

    def _first(self, run: Run, now: datetime) -> list[Write]:
        """The writes with which a run comes to be; a later attempt is noted beside the first one."""
        item = self._expiring(run, now) if run.ended else run.item()
        writes = [self.table.put(item, "attribute_not_exists(pk)"), self._logged(run, now)]
        if run.attempt > 1:
            first = f"RUN#{run_id(run.key, run.target, run.toil)}"
            expires = expiry(now, self.retention, living=not run.ended)
            writes.append(self.table.put({"pk": first, "sk": "ATTEMPTS", "latest": run.attempt, "expires": expires}))
        return [*writes, *map(self.table.put, history.began(run, now, self.retention))]

    def _latest_attempt(self, run: Run) -> int:
        item = self.table.get(f"RUN#{run_id(run.key, run.target, run.toil)}", "ATTEMPTS")
        return int(item["latest"]) if item else 1

    def _join(self, fresh: Run, now: datetime) -> Run | None:
        """Record that the event joined the open run; None if that one was closed meanwhile."""
        opened = self.table.get(_open(fresh.toil, fresh.target), "OPEN")
        if opened is None:
            return None
        reason = Reason("joined", f"joined run {opened['run']}, which has yet to look at the target")
        run = replace(fresh, status=Outcome.SKIPPED, due=None, owns_open=False, reasons=(reason,))
        try:
            self.table.transact(
                [
                    *self._first(run, now),
                    self.table.update(
                        opened["pk"], "OPEN", "SET #joins = #joins + :one", "#run = :run", one=1, run=opened["run"]
                    ),
                ]
            )
        except ConditionFailed:
            return None
        return run

    def record(self, run: Run, now: datetime) -> None:
        """Book a run that ends as it begins (there was nothing to act on). A repeat changes nothing."""
        try:
            self.table.transact(self._first(run, now))
        except ConditionFailed:
            return

    # -- working ------------------------------------------------------------------------------------------------------

    def take(self, id: str, now: datetime, deadline: datetime, toil: str | None = None) -> Run | None:
        """Take a due run up, as its only worker until `deadline`; None if it is not due, ended, or another's.

        `toil`: only if it is a run of this toil type.
        """
        run = self.get(id)
        if run is None or run.ended or run.due is None or run.due > now or toil not in (None, run.toil):
            return None
        taken = replace(run, fence=run.fence + 1, takes=run.takes + 1, due=deadline, updated=now)
        try:
            self.table.transact([self._replaced(run, taken.item())])
        except ConditionFailed:
            return None
        return taken

    def joins(self, run: Run) -> int:
        """How many events have joined this run so far: read it before looking at the target."""
        opened = self.table.get(_open(run.toil, run.target), "OPEN") if run.owns_open else None
        return int(opened["joins"]) if opened and opened["run"] == run.id else 0

    def holder(self, target: str, now: datetime) -> tuple[str, datetime] | None:
        """Which run holds the lease on a target, and until when; None if it is free."""
        return self.holder_in(self.table.get(*self.lease_key(target)), now)

    @staticmethod
    def lease_key(target: str) -> tuple[str, str]:
        """The key of the lease on a target, for reading it together with other items."""
        return _lease(target), "LEASE"

    @staticmethod
    def holder_in(lease: Item | None, now: datetime) -> tuple[str, datetime] | None:
        """What `holder` says, of a lease that was read before. Its expiry is compared with the clock."""
        until = moment(lease["until"]) if lease else None
        return (lease["run"], until) if lease and until and until >= now else None

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

    def renew(self, run: Run, now: datetime, leased_until: datetime, tallies: Sequence[Tally] = ()) -> Run:
        """Lengthen the lease and the run's places.

        Raises Busy if another run has the lease by now, Crowded if it lost its place: it then needs to be let in again,
        with the `tallies` that the guards have read. Raises Lost.
        """
        kept = replace(run, updated=now, leased_until=leased_until)
        writes = {"row": [self._replaced(run, kept.item())], **self._prolonging(run, now, leased_until, tallies)}
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
        undo: bool = False,
        **changes: Any,
    ) -> Run:
        """End the run: outcome, lease, places, what the target remembers, and the debt account together.

        `joins` (as read before looking) makes sure that no event joined since: raises Joined. `booked` holds numbers
        that are added to the toil type's account of the month. `overridden`: what a person took over, and until when
        the target is left alone for it. `undo` begins the run that takes back what this one leaves. Raises Lost.
        """
        changes |= {"due": None, "reasons": tuple(reasons), "owns_open": False, "leased_until": None}
        ended = self._next(run, outcome, now, **changes)
        writes = {
            "open": self._closing(run, joins),
            "account": [self._booking(run, now, booked)] if booked else [],
            "undo": self._first(self._undoing(run, "paydown", "it ended half-done", now), now) if undo else [],
        }
        if overridden is not None and run.leased_until is None:
            writes["override"] = [self.tallies.overridden(target_scope(run.toil, run.target), *overridden, now)]
        self._transition(run, ended, now, writes, overridden)
        return ended

    # -- taking back --------------------------------------------------------------------------------------------------

    def undo(self, run: Run, by: str, why: str, now: datetime) -> Run:
        """Begin the run that takes back what an ended run left half-done; the living one if there is one already.

        Raises Alive.
        """
        if not run.ended:
            raise Alive(f"run {run.id} is {run.status}: it can be undone when it has ended (paydown stop {run.toil})")
        attempt = 1
        while True:
            begun = self._undoing(run, by, why, now, attempt)
            try:
                self.table.transact(self._first(begun, now))
            except ConditionFailed:
                known = self.get(begun.id)
                if known is not None and not known.ended:
                    return known
                attempt += 1
            else:
                return begun

    def _undoing(self, run: Run, by: str, why: str, now: datetime, attempt: int = 1) -> Run:
        event = UndoRequested(key=f"undo:{run.id}", at=now, run_id=run.id, by=by, why=why)
        return replace(Run.begin(run.toil, run.target, run.ref, event, now, attempt), due=now)

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
        if run.leased_until is None:
            return {}
        # Taking back is no attempt to heal: it must not end a row of failures, nor pass for a healing that did not last.
        acted = bool(run.executed) and run.event_type != UndoRequested.detail_type()
        remembered = acted and isinstance(moved.status, Outcome)
        places = []
        for scope in run.scopes:
            if remembered and scope == target_scope(run.toil, run.target):
                ending = Ending(now, moved.status.value, run.id)
                places.append(self.tallies.ended(scope, ending, overridden, now))
            else:
                places.append(self.tallies.leave(scope, run.id))
        release = self.table.delete(_lease(run.target), "LEASE", "#run = :run", run=run.id)
        return {"place": places, "release": [release]}

    def _prolonging(self, run: Run, now: datetime, until: datetime, tallies: Sequence[Tally] = ()) -> Writes:
        if tallies:
            places = [self.tallies.put(tally, now) for tally in tallies]
        else:
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
            lease = self.table.get(_lease(run.target), "LEASE")
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
        key = _open(run.toil, run.target)
        if joins is None:
            return [self.table.delete(key, "OPEN", "#run = :run", run=run.id)]
        return [self.table.delete(key, "OPEN", "#run = :run AND #joins = :joins", run=run.id, joins=joins)]

    def _leasing(self, run: Run, now: datetime, until: datetime) -> Write:
        return self.table.put(
            {
                "pk": _lease(run.target),
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


def _open(toil: str, target: str) -> str:
    return f"OPEN#{toil}#{target}"


def _lease(target: str) -> str:
    return f"LEASE#{target}"
