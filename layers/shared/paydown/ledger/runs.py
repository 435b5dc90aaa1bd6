"""The life of a run in the ledger: created once, taken up by one worker at a time, moved, and ended once.

The items of a run share the partition `RUN#<id>`:

- `RUN`: the row. A living one has `due`, the time at which somebody must look at it again, whatever happens.
- `LOG#<sequence>`: one for each transition, written with it. The table's stream turns these into `Remediation …`
events.
- `JOINED#<run>`: who asked for an event that joined it (`paydown.ledger.joined`).
- `STEP#<plan>#<index>`: the journal, one item for each action of each plan (`paydown.ledger.journal`).
- `ATTEMPTS`: beside an event's first run, the number of its latest, where a fault that went on began further ones.

Beside them: `LEASE#<target>` names the run that may act on a target, and `OPEN#<toil>#<target>` the run that has yet to
look at it: a further event joins that one, and is not lost, since it makes the run look again if it had already looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from paydown.errors import PaydownError
from paydown.events import Event
from paydown.ledger.joined import joining
from paydown.ledger.run import (
    DUE_SHARDS,
    FAILURES,
    UNHEALED,
    Outcome,
    Reason,
    Run,
    Status,
    moment,
    run_id,
    stamp,
)
from paydown.ledger.table import ConditionFailed, Item
from paydown.ledger.transitions import Transitions, lease_partition, open_key


class Alive(PaydownError):
    """The run has not ended: what it left half-done is not known yet."""


WORKER_TIME = timedelta(seconds=60)
"""How long a worker works at the most (the template's Timeout): the `due` of a run at work is no later than that."""


def rests(run: Run, now: datetime) -> bool:
    """Whether a run that was let in waits, and surely has no worker."""
    return run.status in (Status.APPLYING, Status.WAITING) and run.due is not None and run.due > now + WORKER_TIME


@dataclass(frozen=True)
class Created:
    """What became of an event: the run that it began, or the one that it repeats or joined."""

    run: Run
    new: bool
    """True: the caller is the run's worker. False: there is nothing for it to do."""


class Runs(Transitions):
    """The runs of one ledger: reading, beginning and taking them up; `Transitions` moves and ends them."""

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
        bucket_seconds: int | None = 60,
        back_off: Callable[[int], timedelta] | None = None,
    ) -> Created:
        """Begin the run of an event and a target, recognise its repeat, or let it join the run that has yet to look.

        The caller of a new run is its worker until `deadline`. An ongoing fault that is reported again after a run that
        did not heal it begins another attempt, after `cool_down`, or what `back_off` says of so many failures. Whatever
        is no repeat is counted, in spans of `bucket_seconds` (None: it was counted before), so that a storm is noticed.
        """
        attempt = 1
        while True:
            fresh = Run.begin(toil, target, ref, event, now, attempt)
            fresh = replace(fresh, due=deadline, owns_open=True)
            opened = {"pk": open_key(toil, target), "sk": "OPEN", "run": fresh.id, "joins": 0}
            writes = [*self._first(fresh, now), self.table.put(opened, "attribute_not_exists(pk)")]
            try:
                self.table.transact(writes)
                self._count(toil, now, bucket_seconds)
                return Created(fresh, new=True)
            except ConditionFailed as failed:
                known = self.get(fresh.id) if 0 in failed.indexes else None
            if known is None:
                joined = self._join(fresh, now)
                if joined is not None:
                    self._count(toil, now, bucket_seconds)
                    return Created(joined, new=False)
                continue  # the open run closed meanwhile: begin one
            latest = self._latest_attempt(known)
            if attempt < latest:
                attempt = latest
            elif event.ongoing and known.status in UNHEALED:
                rest = back_off(known.attempt) if back_off and known.status in FAILURES else cool_down
                if (known.updated or now) + rest > now:
                    return Created(known, new=False)
                attempt += 1
            else:
                return Created(known, new=False)

    def _count(self, toil: str, now: datetime, bucket_seconds: int | None) -> None:
        if bucket_seconds is not None:
            self.tallies.count_event(toil, now, bucket_seconds)

    def _latest_attempt(self, run: Run) -> int:
        item = self.table.get(f"RUN#{run_id(run.key, run.target, run.toil)}", "ATTEMPTS")
        return int(item["latest"]) if item else 1

    def _join(self, fresh: Run, now: datetime) -> Run | None:
        """Record that the event joined the open run; None if that one was closed meanwhile."""
        opened = self.table.get(open_key(fresh.toil, fresh.target), "OPEN")
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
                    *joining(self.table, run, opened["run"], now, self.retention),
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

    def take(
        self, id: str, now: datetime, deadline: datetime, toil: str | None = None, *, resting: bool = False
    ) -> Run | None:
        """Take a due run up, as its only worker until `deadline`; None if it is not due, ended, or another's.

        `toil`: only if it is a run of this toil type. `resting`: also one that waits for the world, or for its next
        try, so long that no worker can be at work on it.
        """
        run = self.get(id)
        if run is None or run.ended or run.due is None or toil not in (None, run.toil):
            return None
        if run.due > now and not (resting and rests(run, now)):
            return None
        taken = replace(run, fence=run.fence + 1, takes=run.takes + 1, due=deadline, updated=now)
        try:
            self.table.transact([self._replaced(run, taken.item())])
        except ConditionFailed:
            return None
        return taken

    def joins(self, run: Run) -> int:
        """How many events have joined this run so far: read it before looking at the target."""
        opened = self.table.get(open_key(run.toil, run.target), "OPEN") if run.owns_open else None
        return int(opened["joins"]) if opened and opened["run"] == run.id else 0

    def holder(self, target: str, now: datetime) -> tuple[str, datetime] | None:
        """Which run holds the lease on a target, and until when; None if it is free."""
        return self.holder_in(self.table.get(*self.lease_key(target)), now)

    @staticmethod
    def lease_key(target: str) -> tuple[str, str]:
        """The key of the lease on a target, for reading it together with other items."""
        return lease_partition(target), "LEASE"

    @staticmethod
    def holder_in(lease: Item | None, now: datetime) -> tuple[str, datetime] | None:
        """What `holder` says, of a lease that was read before. Its expiry is compared with the clock."""
        until = moment(lease["until"]) if lease else None
        return (lease["run"], until) if lease and until and until >= now else None

    # -- taking back --------------------------------------------------------------------------------------------------

    def undo(self, run: Run, by: str, why: str, now: datetime, left: Sequence[str] = ()) -> Run:
        """Begin the run that takes back what a run left half-done; the living one if there is one already.

        One that has acted and is put off, or waits for a person, ends with that, as rejected; `left` goes into its
        evidence.
        Raises Alive for one that is at work, and Lost if it moved on meanwhile.
        """
        if run.status in (Status.DEFERRED, Status.HELD) and run.executed:
            evidence = {**run.evidence, "left": list(left)} if left else dict(run.evidence)
            said = [Reason("taken_back", f"by {by}: {why}".rstrip(": "))]
            self.end(run, Outcome.REJECTED, now, said, undo=(by, why), evidence=evidence)
            return self._undoing(run, by, why, now)
        if not run.ended:
            text = f"run {run.id} is {run.status}: it can be undone when it has ended, or was put off after it began"
            raise Alive(f"{text} (paydown stop {run.toil} puts it off after its current action)")
        attempt = 1
        while True:
            begun = self._undoing(run, by, why, now, attempt)
            try:
                self.table.transact(self._first(begun, now))
            except ConditionFailed:
                known = self.get(begun.id)
                if known is not None and not known.ended:
                    if not any(reason.code == "stopped" for reason in known.reasons):
                        return known
                    # It was asked for before the switch that holds it back; this is asked for after it.
                    self.end(known, Outcome.REJECTED, now, [Reason("asked_anew", f"by {by}")])
                attempt += 1
            else:
                return begun
