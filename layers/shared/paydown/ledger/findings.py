"""Findings: what is wrong, one row for each (toil type, target, rule), however many events say so.

- `FINDING#<id>` / `FINDING`: the row. It is rewritten as a whole on the condition that nobody changed it meanwhile.
- `FINDING#<id>` / `SEEN#<order>`: one for each event that counted, and what it called for: a repeat calls for the same.
- `FINDING#OPEN` / `<id>`: the open ones.
- `DIGEST#<day>`: counters of the day, added to in the transaction that counts the event (`paydown.ledger.digests`).

Events come repeatedly and in any order. Each has an `order`, made from the time, number and run of the transition that
it tells of. A sighting that is older than the latest closing belongs to what is over; a closing that comes late closes
only what is older than it. So whether a finding is open, since when, and how often it was seen depends on which events
came, and not on how often or in which order they did.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from paydown.errors import PaydownError, RetryableError
from paydown.ledger.finding import NOTHING, Finding, Identity, Sighting, Task, order_of, over, seen
from paydown.ledger.run import moment, stamp
from paydown.ledger.table import ConditionFailed, Item, Table, Write

__all__ = ["NOTHING", "Finding", "Findings", "Identity", "NoFinding", "Sighting", "Task", "order_of"]

KEEP_SEEN = timedelta(days=30)
KEEP_CLOSED = timedelta(days=90)
_OPEN = "FINDING#OPEN"
_ROW = "FINDING"
_TRIES = 12


class NoFinding(PaydownError):
    """There is no such finding."""


class Findings:
    """The findings of one ledger. `counting` writes may be added to what counts an event: they happen with it, once."""

    def __init__(self, table: Table, sleep: Callable[[float], None] = time.sleep) -> None:
        self.table = table
        self._sleep = sleep

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, identity: Identity) -> Finding | None:
        """The finding, read consistently."""
        item = self.table.get(identity.partition, _ROW)
        return _finding(item) if item else None

    def by_id(self, id: str) -> Finding | None:
        """The finding of an id."""
        item = self.table.get(f"FINDING#{id}", _ROW)
        return _finding(item) if item else None

    def open_ids(self) -> list[str]:
        """The ids of the open findings."""
        return [item["sk"] for item in self.table.query(_OPEN)]

    def open(self) -> Iterator[Finding]:
        """The open findings."""
        ids = self.open_ids()
        for first in range(0, len(ids), 100):
            for item in self.table.get_all([(f"FINDING#{id}", _ROW) for id in ids[first : first + 100]]):
                yield _finding(item)

    # -- events -------------------------------------------------------------------------------------------------------

    def see(self, sighting: Sighting, now: datetime, counting: Sequence[Write] = ()) -> Task:
        """Count a sighting, once. Returns what it calls for; a repeat calls for the same."""

        def change(finding: Finding) -> tuple[Finding, Task] | None:
            return seen(finding, sighting, now)

        return self._count(sighting.identity, sighting.order, now, change, counting, sighting.label)

    def close(self, identity: Identity, order: str, why: str, now: datetime, counting: Sequence[Write] = ()) -> Task:
        """What is older than this event is over: it is not there any more, for the reason `why`."""

        def change(finding: Finding) -> tuple[Finding, Task] | None:
            return self._closed(finding, order, why)

        return self._count(identity, order, now, change, counting, "")

    def count(self, identity: Identity, order: str, now: datetime, counting: Sequence[Write]) -> Task:
        """Count an event that says nothing about the finding."""
        return self._count(identity, order, now, lambda finding: (finding, NOTHING), counting, "")

    def _count(
        self,
        identity: Identity,
        order: str,
        now: datetime,
        change: Callable[[Finding], tuple[Finding, Task] | None],
        counting: Sequence[Write],
        label: str,
    ) -> Task:
        pk = identity.partition
        for attempt in range(_TRIES):
            items = {item["sk"]: item for item in self.table.get_all([(pk, f"SEEN#{order}"), (pk, _ROW)])}
            if known := items.get(f"SEEN#{order}"):
                return Task(**json.loads(known["task"]))
            before = _finding(items[_ROW]) if _ROW in items else Finding(identity)
            changed = change(before)
            if changed is None:
                return NOTHING
            after, task = changed
            repeated = json.dumps({**asdict(task), "new": False})
            noted = {"pk": pk, "sk": f"SEEN#{order}", "task": repeated, "label": label}
            expires = int((now + KEEP_SEEN).timestamp())
            once = self.table.put({**noted, "expires": expires}, "attribute_not_exists(pk)")
            row = self._rewritten(before, after, now) if after != before else []
            try:
                self.table.transact([once, *row, *counting])
            except ConditionFailed:
                self._sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 -- spreads rivals
                continue
            return task
        raise RetryableError(f"finding {identity.id} keeps changing", delay=10)

    def _closed(self, finding: Finding, order: str, why: str) -> tuple[Finding, Task]:
        after, task = over(finding, order, why)
        if after.open and after.closed != finding.closed:
            after = replace(after, **self._recounted(finding, order))
        return after, task

    def _recounted(self, finding: Finding, closed: str) -> dict[str, Any]:
        """What is left of an open finding when a closing comes late: only what was seen after it counts."""
        labels: dict[str, int] = {}
        since = ""
        for item in self.table.query(finding.identity.partition, "SEEN#", newest_first=True):
            order = item["sk"].removeprefix("SEEN#")
            if order <= closed:
                break
            if item["label"]:
                labels[item["label"]] = labels.get(item["label"], 0) + 1
                since = order
        begin = moment(int(since.split("#")[0])) if since else finding.seen_at
        return {"labels": labels, "count": sum(labels.values()), "since": begin}

    # -- what became of it --------------------------------------------------------------------------------------------

    def change(self, identity: Identity, now: datetime, change: Callable[[Finding], Finding]) -> Finding:
        """Rewrite the row; `change` is asked again when somebody else was faster. Raises NoFinding."""
        for attempt in range(_TRIES):
            before = self.get(identity)
            if before is None:
                raise NoFinding(f"there is no finding {identity.id}")
            after = change(before)
            if after == before:
                return before
            try:
                self.table.transact(self._rewritten(before, after, now))
            except ConditionFailed:
                self._sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 -- spreads rivals
            else:
                return replace(after, version=before.version + 1)
        raise RetryableError(f"finding {identity.id} keeps changing", delay=10)

    def snooze(self, identity: Identity, until: datetime | None, by: str, why: str, now: datetime) -> Finding:
        """Let a finding be quiet until then, or (None) speak again. Raises NoFinding."""
        return self.change(
            identity, now, lambda found: replace(found, snoozed_until=until, snoozed_by=by, snoozed_why=why)
        )

    def _rewritten(self, before: Finding, after: Finding, now: datetime) -> list[Write]:
        item = _item(after, before.version + 1, now)
        condition = "#version = :version" if before.version else "attribute_not_exists(pk)"
        values = {"version": before.version} if before.version else {}
        writes = [self.table.put(item, condition, **values)]
        if after.open and not before.open:
            writes.append(self.table.put({"pk": _OPEN, "sk": after.identity.id}))
        elif before.open and not after.open:
            writes.append(self.table.delete(_OPEN, after.identity.id))
        return writes


_TIMES = ("since", "seen_at", "written_at", "snoozed_until")
_LISTS = ("asked", "reopened")


def _item(finding: Finding, version: int, now: datetime) -> Item:
    identity = finding.identity
    item: Item = {
        name: getattr(finding, name)
        for name in (
            "open", "episode", "label", "run", "text", "count", "latest", "closed", "over", "wants_ticket", "ticket",
            "written", "snoozed_by", "snoozed_why",
        )
    }  # fmt: skip
    item |= {name: stamp(getattr(finding, name)) for name in _TIMES}
    item |= {name: list(getattr(finding, name)) for name in _LISTS}
    item |= {"pk": identity.partition, "sk": _ROW, "version": version, "labels": dict(finding.labels)}
    item["told"] = {label: stamp(time) for label, time in finding.told.items()}
    item |= {"toil": identity.toil, "target": identity.target, "rule": identity.rule}
    item["expires"] = None if finding.open else int((now + KEEP_CLOSED).timestamp())
    return item


def _finding(item: Item) -> Finding:
    names = set(Finding.__dataclass_fields__) - {"identity", "told", *_TIMES, *_LISTS}
    known: dict[str, Any] = {name: item[name] for name in names if name in item}
    known |= {name: moment(item.get(name)) for name in _TIMES}
    known |= {name: tuple(item.get(name, ())) for name in _LISTS}
    known["told"] = {label: moment(time) for label, time in item.get("told", {}).items()}
    return Finding(Identity(item["toil"], item["target"], item["rule"]), **known)
