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
from paydown.events import Event
from paydown.ledger.run import (
    DUE_SHARDS,
    UNHEALED,
    Outcome,
    Reason,
    Run,
    Status,
    history_partition,
    moment,
    run_id,
    stamp,
)
from paydown.ledger.table import ConditionFailed, Item, Table, Write

_MINE = "#fence = :fence AND #sequence = :sequence"


class Lost(PaydownError):
    """Another worker has taken the run up: stop at once, write nothing."""


class Busy(PaydownError):
    """Another run holds the lease on the target until `until`."""

    def __init__(self, owner: str, until: datetime) -> None:
        self.owner = owner
        self.until = until
        super().__init__(f"run {owner} works on this target until {until:%H:%M:%S}Z at the latest")


class Joined(PaydownError):
    """An event joined the run after it had looked at the target: it must look again before it goes on."""


@dataclass(frozen=True)
class Created:
    """What became of an event: the run that it began, or the one that it repeats or joined."""

    run: Run
    new: bool
    """True: the caller is the run's worker. False: there is nothing for it to do."""


class Runs:
    """The runs of one ledger. `retention` is how long ended runs and their journals are kept."""

    def __init__(self, table: Table, retention: timedelta = timedelta(days=400)) -> None:
        self.table = table
        self.retention = retention

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

    def recent(self, now: datetime, limit: int = 50, days: int = 31) -> Iterator[Run]:
        """The newest runs, newest first, at most `limit` and `days` back."""
        left = limit
        for back in range(days):
            day = history_partition(now - timedelta(days=back))
            for item in self.table.query_index("history", "#pk = :day", {":day": day}, newest_first=True, limit=left):
                yield Run.from_item(item)
                left -= 1
                if left == 0:
                    return

    # -- beginning ----------------------------------------------------------------------------------------------------

    def create(
        self, toil: str, target: str, ref: str, event: Event, now: datetime, deadline: datetime, cool_down: timedelta
    ) -> Created:
        """Begin the run of an event and a target, recognise its repeat, or let it join the run that has yet to look.

        The caller of a new run is its worker until `deadline`. An ongoing fault that is reported again `cool_down`
        after a run that did not heal it begins another attempt.
        """
        attempt = 1
        while True:
            fresh = Run.begin(toil, target, ref, event, now, attempt)
            fresh = replace(fresh, due=deadline, owns_open=True)
            opened = {"pk": _open(toil, target), "sk": "OPEN", "run": fresh.id, "joins": 0}
            writes = [*self._first(fresh, now), self.table.put(opened, "attribute_not_exists(pk)")]
            try:
                self.table.transact(writes)
                return Created(fresh, new=True)
            except ConditionFailed as failed:
                known = self.get(fresh.id) if 0 in failed.indexes else None
            if known is None:
                joined = self._join(fresh, now)
                if joined is not None:
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
            expires = int((now + self.retention).timestamp())
            writes.append(self.table.put({"pk": first, "sk": "ATTEMPTS", "latest": run.attempt, "expires": expires}))
        return writes

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
        lease = self.table.get(_lease(target), "LEASE")
        until = moment(lease["until"]) if lease else None
        return (lease["run"], until) if lease and until and until >= now else None

    def keep(self, run: Run, now: datetime, **changes: Any) -> Run:
        """Write changes of a run whose status stays. Raises Lost."""
        kept = replace(run, updated=now, takes=0, **changes)
        try:
            self.table.transact([self._replaced(run, kept.item())])
        except ConditionFailed:
            raise Lost(run.id) from None
        return kept

    def move(
        self, run: Run, status: Status, now: datetime, due: datetime, reasons: Sequence[Reason] = (), **changes: Any
    ) -> Run:
        """A transition to another living status. A deferred or held run gives its lease back. Raises Lost."""
        moved = self._next(run, status, now, due=due, reasons=tuple(reasons), **changes)
        if status in (Status.DEFERRED, Status.HELD):
            moved = replace(moved, leased_until=None)
        self._transition(run, moved, now)
        return moved

    def admit(self, run: Run, now: datetime, joins: int, leased_until: datetime, **changes: Any) -> Run:
        """Let the run act: lease and status together, or nothing.

        Raises Busy while another run holds the lease, Joined if an event came after the target was looked at, and Lost.
        """
        moved = self._next(run, Status.APPLYING, now, reasons=(), leased_until=leased_until, owns_open=False, **changes)
        self._transition(run, moved, now, [*self._closing(run, joins), self._leasing(run, now, leased_until)])
        return moved

    def renew(self, run: Run, now: datetime, leased_until: datetime) -> Run:
        """Lengthen the lease, or take it again after it expired. Raises Busy if another run has it, and Lost."""
        kept = replace(run, updated=now, leased_until=leased_until)
        try:
            self.table.transact([self._replaced(run, kept.item()), self._leasing(run, now, leased_until)])
        except ConditionFailed as failed:
            raise self._refusal(failed, run) from None
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
        **changes: Any,
    ) -> Run:
        """End the run: outcome, lease, and the debt account together.

        `joins` (as read before looking) makes sure that no event joined since: raises Joined. `booked` holds numbers
        that are added to the toil type's account of the month. Raises Lost.
        """
        changes |= {"due": None, "reasons": tuple(reasons), "owns_open": False, "leased_until": None}
        ended = self._next(run, outcome, now, **changes)
        booking = [self._booking(run, now, booked)] if booked else []
        self._transition(run, ended, now, [*self._closing(run, joins), *booking])
        return ended

    # -- the parts of a transaction -----------------------------------------------------------------------------------

    def _next(self, run: Run, status: Status | Outcome, now: datetime, **changes: Any) -> Run:
        return replace(run, status=status, updated=now, sequence=run.sequence + 1, takes=0, **changes)

    def _transition(self, run: Run, moved: Run, now: datetime, writes: Sequence[Write] = ()) -> None:
        """The row, its log entry, the `writes`, and the lease given back if the run had one and is to have none."""
        item = self._expiring(moved, now) if moved.ended else moved.item()
        transaction = [self._replaced(run, item), self._logged(moved, now), *writes]
        release = run.leased_until is not None and moved.leased_until is None
        if release:
            transaction.append(self.table.delete(_lease(run.target), "LEASE", "#run = :run", run=run.id))
        try:
            self.table.transact(transaction)
        except ConditionFailed as failed:
            if release and failed.indexes == (len(transaction) - 1,):
                # The lease expired and is another's now: there is nothing to give back.
                self._transition(replace(run, leased_until=None), moved, now, writes)
                return
            raise self._refusal(failed, run) from None

    def _refusal(self, failed: ConditionFailed, run: Run) -> PaydownError:
        """What a failed condition means: of the row, of the open run (if it was closed), or of the lease."""
        if 0 in failed.indexes:
            return Lost(run.id)
        lease = self.table.get(_lease(run.target), "LEASE")
        if lease is None or lease["run"] == run.id:
            return Joined(run.id)
        return Busy(lease["run"], moment(lease["until"]) or run.created)

    def _replaced(self, run: Run, item: Item) -> Write:
        return self.table.put(item, _MINE, fence=run.fence, sequence=run.sequence)

    def _expiring(self, run: Run, now: datetime) -> Item:
        return {**run.item(), "expires": int((now + self.retention).timestamp())}

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
                "actions": run.actions,
                "evidence": json.dumps(run.evidence),
                "expires": int((now + self.retention).timestamp()),
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
