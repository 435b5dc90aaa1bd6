"""What the guards count, as the ledger keeps it: one row for each scope, and events by spans of time for storms.

A tally is rewritten as a whole when a run is let in, on the condition that nobody changed it since it was read: two who
decide on the same tally cannot both be let in. Leaving is an update of one entry, which needs no condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from paydown.errors import RetryableError
from paydown.guardrails import Ending, Tally
from paydown.ledger.run import stamp, time_of
from paydown.ledger.table import Item, Table, Write

KEEP = timedelta(days=60)
"""How long a tally of a target outlives its last change: longer than any span that a policy looks back over."""
_ROW = "TALLY"


class Tallies:
    """The tallies of one ledger."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def get(self, scope: str) -> Tally:
        """The tally of a scope, read consistently; an empty one if nothing was counted yet."""
        item = self.table.get(_key(scope), _ROW)
        return _tally(scope, item) if item else Tally(scope)

    @staticmethod
    def keys(*scopes: str) -> list[tuple[str, str]]:
        """The keys of tallies, for reading them together with other items."""
        return [(_key(scope), _ROW) for scope in scopes]

    @staticmethod
    def found(scope: str, items: Mapping[tuple[str, str], Item]) -> Tally:
        """The tally of a scope among items that were read together."""
        item = items.get((_key(scope), _ROW))
        return _tally(scope, item) if item else Tally(scope)

    def put(self, tally: Tally, now: datetime) -> Write:
        """A write: the tally in its new form, if it is still the version that this one was made from."""
        condition = "#version = :version" if tally.version else "attribute_not_exists(pk)"
        values = {"version": tally.version} if tally.version else {}
        return self.table.put(_item(tally, now), condition, **values)

    def extend(self, scope: str, run: str, target: str, until: datetime) -> Write:
        """A write: the place of a run lasts longer; fails if the place was given to another after it was over."""
        place = f"#working.#{_name(run)}"
        return self.table.update(
            _key(scope),
            _ROW,
            f"SET {place} = :held, #version = #version + :one",
            f"attribute_exists({place})",
            held=[target, stamp(until)],
            one=1,
        )

    def leave(self, scope: str, run: str) -> Write:
        """A write: the run gives its place back, if it still has it."""
        return self.table.update(
            _key(scope), _ROW, f"SET #version = #version + :one REMOVE #working.#{_name(run)}", one=1
        )

    def ended(self, scope: str, ending: Ending, overridden: tuple[str, datetime] | None, now: datetime) -> Write:
        """A write to a target's tally: a run that acted on the target gives its place back, and ends.

        `overridden`: what a person took over, and until when the target is left alone for it.
        """
        change = "SET #version = #version + :one, #ended = list_append(if_not_exists(#ended, :none), :ending)"
        values: dict[str, Any] = {"one": 1, "none": [], "ending": [_ending(ending)]}
        if overridden is not None:
            change += ", #overridden = :overridden"
            values["overridden"] = [overridden[0], stamp(overridden[1])]
        return self.table.update(
            _key(scope),
            _ROW,
            f"{change}, #expires = :expires REMOVE #working.#{_name(ending.run)}",
            **values,
            expires=int((now + KEEP).timestamp()),
        )

    def count_event(self, toil: str, now: datetime, bucket_seconds: int) -> None:
        """Count an event of a toil type. A count that is lost to throttling is one among very many."""
        begin = int(now.timestamp()) // bucket_seconds * bucket_seconds
        try:
            self.table.add(
                f"STORM#{toil}", f"{begin:012}", "count", 1, expires=int((now + timedelta(days=2)).timestamp())
            )
        except RetryableError:
            return

    def events(self, toil: str, since: datetime) -> dict[datetime, int]:
        """How many events of a toil type came, by the beginning of the span in which they were counted."""
        found = self.table.query(f"STORM#{toil}", since=f"{int(since.timestamp()):012}")
        return {time_of(int(item["sk"]) * 1000): int(item["count"]) for item in found}


def _key(scope: str) -> str:
    return f"TALLY#{scope}"


def _name(run: str) -> str:
    """The run's id as an attribute name: those begin with a letter and have no hyphen where they are placeholders."""
    return "r" + run.replace("-", "_")


def _item(tally: Tally, now: datetime) -> Item:
    return {
        "pk": _key(tally.scope),
        "sk": _ROW,
        "version": tally.version + 1,
        "working": {_name(run): [target, stamp(until)] for run, (target, until) in tally.working.items()},
        "spent": [stamp(one) for one in tally.spent],
        "ended": [_ending(one) for one in tally.ended],
        "recurred": [stamp(one) for one in tally.recurred],
        "overridden": [tally.overridden[0], stamp(tally.overridden[1])] if tally.overridden else None,
        # The few tallies that all share are never forgotten.
        "expires": int((now + KEEP).timestamp()) if tally.scope.startswith("target/") else None,
    }


def _ending(ending: Ending) -> list[Any]:
    return [stamp(ending.at), ending.outcome, ending.run, ending.event]


def _tally(scope: str, item: Item) -> Tally:
    overridden = item.get("overridden")
    return Tally(
        scope=scope,
        version=int(item["version"]),
        working={
            name[1:].replace("_", "-"): (target, time_of(until)) for name, (target, until) in item["working"].items()
        },
        spent=tuple(time_of(one) for one in item.get("spent", ())),
        ended=tuple(Ending(time_of(at), *rest) for at, *rest in item.get("ended", ())),
        recurred=tuple(time_of(one) for one in item.get("recurred", ())),
        overridden=(overridden[0], time_of(overridden[1])) if overridden else None,
    )
