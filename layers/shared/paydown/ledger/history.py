"""Which runs there were: by time, toil type, target and outcome, newest first, without reading all of them.

Beside a run lie a few small entries, each written once in the transaction that makes it true. The index `history` finds
them by what they are about (`history`) and when it was (`created`):

- `ALL#<shard>`, `TOIL#<toil type>#<shard>`, `TARGET#<uid or name>`: the run began.
- `OUTCOME#<outcome>#<shard>`: the run ended.

An entry names a run and says nothing that may change: the row does. The index is eventually consistent (well below a
second), so a run that has just begun may be missing. Runs that version 0.1 began have no entries; see `_older`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any

from paydown.ledger.retention import expiry
from paydown.ledger.run import Outcome, Run
from paydown.ledger.table import Item, Table

SHARDS = 4
"""Index partitions that share the entries of one kind: one alone would take 1,000 new runs a second at most."""
_INDEX = "history"
_BETWEEN = "#pk = :pk AND #sk BETWEEN :since AND :until"
_ROWS = 25
"""Rows that are read together: 16 MB is the most that one read returns, and 400 KB the largest row."""


@dataclass(frozen=True)
class Entry:
    """A run that began, or ended with `outcome`, at `at` (UTC)."""

    run: str
    at: datetime
    toil: str
    target: str
    ref: str
    outcome: Outcome | None = None


def began(run: Run, now: datetime, retention: timedelta) -> list[Item]:
    """The entries of a run that begins; of one that ends as it begins, the one for its outcome too."""
    subjects = {"ALL": _sharded("ALL", run.id), "TOIL": _sharded(f"TOIL#{run.toil}", run.id)}
    subjects["TARGET"] = f"TARGET#{run.target}"
    if run.ref != run.target:
        subjects["REF"] = f"TARGET#{run.ref}"
    expires = expiry(now, retention, living=not run.ended)
    entries = [_entry(run, kind, subject, run.created, expires) for kind, subject in subjects.items()]
    return [*entries, ended(run, now, retention)] if run.ended else entries


def ended(run: Run, now: datetime, retention: timedelta) -> Item:
    """The entry of a run that has ended."""
    subject = _sharded(f"OUTCOME#{run.status.value}", run.id)
    return {
        **_entry(run, "OUTCOME", subject, now, expiry(now, retention)),
        "status": run.status.value,
    }


class History:
    """The runs of one ledger that began or ended between two times, both included; newest first, read as needed."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def begun(
        self,
        since: datetime,
        until: datetime,
        *,
        toil: str | None = None,
        target: str | None = None,
        limit: int | None = None,
        older: bool = True,
    ) -> Iterator[Entry]:
        """The runs that began: of a target (its uid, or its name at that time), of a toil type, or of both.

        `older`: also those that version 0.1 began, at the price of a query for each day before the first entry.
        """
        subjects = _shards("ALL" if toil is None else f"TOIL#{toil}") if target is None else [f"TARGET#{target}"]
        found = self._merged(subjects, since, until, None if target is not None and toil is not None else limit)
        before = self._older(since, until) if older else iter(())
        of_target = (one for one in before if target is None or target in (one.target, one.ref))
        return islice((one for one in chain(found, of_target) if toil is None or one.toil == toil), limit)

    def ended(
        self,
        outcomes: Iterable[Outcome],
        since: datetime,
        until: datetime,
        *,
        toil: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """The runs that ended with one of these outcomes, by the time at which they did."""
        subjects = [shard for outcome in sorted(set(outcomes)) for shard in _shards(f"OUTCOME#{outcome.value}")]
        found = self._merged(subjects, since, until, limit if toil is None else None)
        return islice((one for one in found if toil is None or one.toil == toil), limit)

    def runs(self, entries: Iterable[Entry]) -> Iterator[Run]:
        """The runs that entries name, as they are now; those that the table has forgotten are left out."""
        remaining = iter(entries)
        while batch := list(islice(remaining, _ROWS)):
            keys = list(dict.fromkeys((f"RUN#{entry.run}", "RUN") for entry in batch))
            rows = {item["pk"]: item for item in self.table.get_all(keys)}
            for entry in batch:
                if (row := rows.get(f"RUN#{entry.run}")) is not None:
                    yield Run.from_item(row)

    def recent(self, now: datetime, limit: int = 50, days: int = 31) -> Iterator[Run]:
        """The newest runs, at most `limit` of them, that began at most `days` ago (none that version 0.1 began)."""
        return self.runs(self.begun(now - timedelta(days=days), now, limit=limit, older=False))

    def _merged(self, subjects: Iterable[str], since: datetime, until: datetime, limit: int | None) -> Iterator[Entry]:
        """The entries of several partitions; `limit` is the most that will be taken of them."""
        pages = [self._entries(subject, since, until, limit) for subject in subjects]
        return heapq.merge(*pages, key=lambda entry: entry.at, reverse=True)

    def _entries(self, subject: str, since: datetime, until: datetime, limit: int | None) -> Iterator[Entry]:
        values = {":pk": subject, ":since": _time(since), ":until": _time(until)}
        for item in self.table.query_index(_INDEX, _BETWEEN, values, newest_first=True, limit=limit):
            yield _read(item)

    def _older(self, since: datetime, until: datetime) -> Iterator[Entry]:
        """Runs that version 0.1 began: whole rows in the index, by day, all older than any run that has entries."""
        oldest = min((entry for shard in _shards("ALL") for entry in self._oldest(shard)), default=until)
        day = min(until, oldest)
        while day.astimezone(UTC).date() >= since.astimezone(UTC).date() and oldest > since:
            yield from self._entries(f"DAY#{day.astimezone(UTC):%Y-%m-%d}", since, until, None)
            day -= timedelta(days=1)

    def _oldest(self, subject: str) -> Iterator[datetime]:
        for item in self.table.query_index(_INDEX, "#pk = :pk", {":pk": subject}, limit=1):
            yield datetime.fromisoformat(item["created"])


def _entry(run: Run, kind: str, subject: str, at: datetime, expires: int) -> dict[str, Any]:
    return {
        "pk": run.partition,
        "sk": f"AT#{kind}",
        "history": subject,
        "created": _time(at),
        "run": run.id,
        "toil": run.toil,
        "target": run.target,
        "ref": run.ref,
        "expires": expires,
    }


def _read(item: Item) -> Entry:
    status = item.get("status")
    return Entry(
        run=item["pk"].removeprefix("RUN#"),
        at=datetime.fromisoformat(item["created"]),
        toil=item["toil"],
        target=item["target"],
        ref=item["ref"],
        outcome=Outcome(status) if item["sk"] == "AT#OUTCOME" and status else None,
    )


def _shards(subject: str) -> list[str]:
    return [f"{subject}#{shard}" for shard in range(SHARDS)]


def _sharded(subject: str, run: str) -> str:
    return f"{subject}#{int(run[:8], 16) % SHARDS}"


def _time(time: datetime) -> str:
    """All of one length and offset, so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
