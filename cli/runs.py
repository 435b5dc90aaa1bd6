"""`paydown runs`: the newest runs, filtered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from cli.exits import FINE, UsageError
from cli.lookup import MOST, moment_of, short
from cli.output import moment, span
from cli.session import Session
from paydown.ledger import Entry, Ledger, Outcome, Run, Status
from paydown.ledger.retention import LIFE

GROUPS = {"alive": frozenset(map(str, Status)), "ended": frozenset(map(str, Outcome))}


def run(session: Session) -> int:
    """Print them, newest first."""
    args, now = session.args, session.now()
    wanted = Wanted(args.toil, args.target, statuses_of(args.status))
    found = list(islice(find(session.ledger, wanted, moment_of(args.since, now), now), args.limit))
    session.out.data({"runs": [as_data(one) for one in found]})
    columns = ["run", "begun", "toil", "target", "status", "took", "why"]
    session.out.table(columns, [_row(one) for one in found], whole=["run", "begun"])
    return FINE


def as_data(run: Run) -> dict[str, Any]:
    """A run as plain JSON data, as the `runs` command promises it."""
    return {
        "id": run.id,
        "toil": run.toil,
        "target": {"ref": run.ref, "uid": run.target},
        "status": run.status.value,
        "ended": run.ended,
        "event": {"type": run.event_type, "key": run.key},
        "created": run.created.isoformat(),
        "updated": run.updated.isoformat() if run.updated else None,
        "due": run.due.isoformat() if run.due else None,
        "mode": run.mode or None,
        "hazard": run.hazard or None,
        "actions": run.actions,
        "policy_version": run.policy_version,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in run.reasons],
        "evidence": dict(run.evidence),
    }


@dataclass(frozen=True)
class Wanted:
    """Which runs are asked for; None means any."""

    toil: str | None = None
    target: str | None = None
    statuses: frozenset[str] | None = None

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes that are asked for, when nothing but some outcomes are: then their index is the shortest way."""
        some = self.statuses is not None and self.statuses < GROUPS["ended"]
        return [Outcome(one) for one in sorted(self.statuses or ())] if some else []

    @property
    def alive(self) -> bool:
        """Whether only living runs are asked for."""
        return self.statuses is not None and self.statuses <= GROUPS["alive"]

    def may_fit(self, entry: Entry) -> bool:
        """Whether a run may be asked for, by what its entry says."""
        if self.toil is not None and entry.toil != self.toil:
            return False
        return self.target is None or fnmatchcase(entry.ref, self.target) or fnmatchcase(entry.target, self.target)

    def fits(self, run: Run, since: datetime, until: datetime) -> bool:
        """Whether a run whose entry may fit is asked for."""
        if self.statuses is not None and run.status.value not in self.statuses:
            return False
        return since <= (run.updated if self.outcomes and run.updated else run.created) <= until


def find(ledger: Ledger, wanted: Wanted, since: datetime, until: datetime) -> Iterator[Run]:
    """The runs that are asked for, newest first, read by the index that leaves out the most.

    Those that began between the two times; if only outcomes are asked for, those that ended between them.
    """
    history = ledger.history
    exact = wanted.target if wanted.target and not set(wanted.target) & set("*?[") else None
    if wanted.alive:
        living = sorted(ledger.runs.alive(MOST), key=lambda row: str(row["created"]), reverse=True)
        entries: Iterator[Entry] = (
            Entry(row["id"], datetime.fromisoformat(row["created"]), row["toil"], row["target"], row["ref"])
            for row in living
        )
    elif exact is not None:
        entries = history.begun(since - LIFE if wanted.outcomes else since, until, target=exact)
    elif wanted.outcomes:
        entries = history.ended(wanted.outcomes, since, until, toil=wanted.toil)
    else:
        entries = history.begun(since, until, toil=wanted.toil)
    likely = (entry for entry in entries if wanted.may_fit(entry))
    return (run for run in history.runs(likely) if wanted.fits(run, since, until))


def statuses_of(names: list[str]) -> frozenset[str] | None:
    """What `--status` asks for; None for everything. Raises UsageError."""
    if not names:
        return None
    known = {value.lower(): frozenset([value]) for group in GROUPS.values() for value in group} | GROUPS
    wanted: frozenset[str] = frozenset()
    for name in names:
        if name.lower() not in known:
            raise UsageError(f"--status {name!r} is none of: {', '.join(sorted(known))}")
        wanted |= known[name.lower()]
    return wanted


def _row(run: Run) -> list[str]:
    took = span(((run.updated or run.created) - run.created).total_seconds()) if run.ended else "-"
    why = ", ".join(dict.fromkeys(reason.code for reason in run.reasons))
    return [short(run.id), moment(run.created), run.toil, run.ref, run.status.value, took, why]
