"""The stop switches: one for everything, one for each toil type. Read strongly consistently before every action."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from paydown.ledger.run import stamp, time_of
from paydown.ledger.table import Item, Table

EVERYTHING = "*"
_PARTITION = "SWITCH"
_RESUMED = "RESUMED#"


@dataclass(frozen=True)
class Stop:
    """A switch that is on: what is stopped (a toil type, or `*`), by whom, since when (to the second), and why.

    `since` is the same time to the millisecond, as far as the version that wrote it knew it.
    """

    scope: str
    by: str
    at: str
    why: str
    since: datetime


class Switches:
    """The switches of one ledger. A switch that cannot be read raises: the caller takes it for on."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @staticmethod
    def keys(toil: str) -> list[tuple[str, str]]:
        """The keys of what governs a toil type, for reading them together with other items."""
        return [(_PARTITION, EVERYTHING), (_PARTITION, toil), (_PARTITION, f"{_RESUMED}{toil}")]

    @staticmethod
    def from_items(items: Iterable[Item]) -> list[Stop]:
        """The switches that are on, among items that were read together."""
        return [
            Stop(item["sk"], item["by"], item["at"], item["why"], _since(item))
            for item in items
            if item["pk"] == _PARTITION and not item["sk"].startswith(_RESUMED)
        ]

    @staticmethod
    def resumed_in(items: Iterable[Item]) -> datetime | None:
        """When a person last resumed the toil type, among items that were read together."""
        for item in items:
            if item["pk"] == _PARTITION and item["sk"].startswith(_RESUMED):
                return datetime.fromisoformat(item["at"])
        return None

    def stops(self, toil: str) -> list[Stop]:
        """The switches that stop this toil type now."""
        return self.from_items(self.table.get_all(self.keys(toil)[:2]))

    def resumed_at(self, toil: str) -> datetime | None:
        """When a person last resumed this toil type; None if nobody ever did."""
        return self.resumed_in(self.table.get_all(self.keys(toil)[2:]))

    def all(self) -> list[Stop]:
        """Every switch that is on."""
        return self.from_items(self.table.query(_PARTITION))

    def stop(self, scope: str, by: str, why: str, now: datetime) -> None:
        """Switch a toil type, or everything (`*`), off."""
        at = now.isoformat(timespec="seconds")
        item = {"pk": _PARTITION, "sk": scope, "by": by, "at": at, "since": stamp(now), "why": why}
        self.table.transact([self.table.put(item)])

    def resume(self, scope: str, by: str, why: str, now: datetime) -> None:
        """Take one switch back, and end a suspension; another switch may still stop the same toil type."""
        at = now.isoformat(timespec="seconds")
        resumed = {"pk": _PARTITION, "sk": f"{_RESUMED}{scope}", "by": by, "at": at, "why": why}
        self.table.transact([self.table.delete(_PARTITION, scope), self.table.put(resumed)])


def _since(item: Item) -> datetime:
    return time_of(int(item["since"])) if "since" in item else datetime.fromisoformat(item["at"])
