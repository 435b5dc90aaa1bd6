"""`paydown runs`: the newest runs, filtered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from cli.exits import FINE, UsageError
from cli.lookup import MOST, days_back, moment_of, short
from cli.output import moment, span
from cli.session import Session
from paydown.ledger import Outcome, Run, Status

GROUPS = {"alive": frozenset(map(str, Status)), "ended": frozenset(map(str, Outcome))}


def run(session: Session) -> int:
    """Print them, newest first."""
    args, now = session.args, session.now()
    statuses = _statuses(args.status)
    since = moment_of(args.since, now)
    found = []
    for one in _begun(session, since, now):
        if _wanted(one, args.toil, args.target, statuses):
            found.append(one)
            if len(found) == args.limit:
                break
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


def _begun(session: Session, since: datetime, now: datetime) -> Iterator[Run]:
    read = 0
    for one in session.ledger.runs.recent(now, MOST, days_back(since, now)):
        if one.created < since:
            return
        read += 1
        yield one
    if read == MOST:
        session.out.note(f"only the newest {MOST} runs were looked at")


def _wanted(run: Run, toil: str | None, target: str | None, statuses: frozenset[str] | None) -> bool:
    if toil is not None and run.toil != toil:
        return False
    if statuses is not None and run.status.value not in statuses:
        return False
    return target is None or fnmatchcase(run.ref, target) or fnmatchcase(run.target, target)


def _statuses(names: list[str]) -> frozenset[str] | None:
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
