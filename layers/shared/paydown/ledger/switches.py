"""The stop switches: one for everything, one for each toil type. Read strongly consistently before every action."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from paydown.ledger.table import Table

EVERYTHING = "*"
_PARTITION = "SWITCH"


@dataclass(frozen=True)
class Stop:
    """A switch that is on: what is stopped (a toil type, or `*`), by whom, since when, and why."""

    scope: str
    by: str
    at: str
    why: str


class Switches:
    """The switches of one ledger. A switch that cannot be read raises: the caller takes it for on."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def stops(self, toil: str) -> list[Stop]:
        """The switches that stop this toil type now."""
        items = self.table.get_all([(_PARTITION, EVERYTHING), (_PARTITION, toil)])
        return [Stop(item["sk"], item["by"], item["at"], item["why"]) for item in items]

    def all(self) -> list[Stop]:
        """Every switch that is on."""
        return [Stop(item["sk"], item["by"], item["at"], item["why"]) for item in self.table.query(_PARTITION)]

    def stop(self, scope: str, by: str, why: str, now: datetime) -> None:
        """Switch a toil type, or everything (`*`), off."""
        item = {"pk": _PARTITION, "sk": scope, "by": by, "at": now.isoformat(timespec="seconds"), "why": why}
        self.table.transact([self.table.put(item)])

    def resume(self, scope: str) -> None:
        """Take one switch back; another one may still stop the same toil type."""
        self.table.transact([self.table.delete(_PARTITION, scope)])
