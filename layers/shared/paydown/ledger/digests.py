"""What happened on a day, counted: what the daily digest tells."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from paydown.ledger.table import Table, Write

SHARDS = 8
"""Rows over which each counter is spread, so that workers which count at once seldom meet."""
KEEP = timedelta(days=60)


class Digests:
    """The days of one ledger: `DIGEST#<day>` holds `COUNT#<toil type>#<status>#<shard>`."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def counting(self, toil: str, status: str, order: str, now: datetime) -> Sequence[Write]:
        """The write that counts an event on the day of `now`; it belongs into a transaction that happens once."""
        sk = f"COUNT#{toil}#{status}#{zlib.crc32(order.encode()) % SHARDS}"
        expires = int((now + KEEP).timestamp())
        change = "ADD #count :one SET #expires = :expires"
        return [self.table.update(partition(now), sk, change, one=1, expires=expires)]

    def of(self, day: datetime) -> dict[str, dict[str, int]]:
        """How often each status was reached on a day (UTC), by toil type; empty for a quiet day."""
        counts: dict[str, dict[str, int]] = {}
        for item in self.table.query(partition(day), "COUNT#"):
            _, toil, status, _ = item["sk"].split("#")
            of_toil = counts.setdefault(toil, {})
            of_toil[status] = of_toil.get(status, 0) + int(item["count"])
        return counts


def partition(day: datetime) -> str:
    """Where the items of a day (UTC) lie."""
    return f"DIGEST#{day.astimezone(UTC):%Y-%m-%d}"
