"""`paydown export`: runs with their logs, plans and decisions, one JSON object a line.

Runs are read, told and forgotten one by one: the export of a year takes no more memory than that of a day.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from cli.exits import FINE, UsageError
from cli.exported import Cause, Decided, ExportedRun, PlanMade, Step, Target, Transition, Why
from cli.lookup import moment_of
from cli.runs import GROUPS, Wanted, find, statuses_of
from cli.session import Session
from paydown.errors import InvalidDocument
from paydown.ledger import Ledger, NoDocument, Run, Status
from paydown.ledger.journal import shown
from paydown.ledger.retention import LIFE, RETENTION
from paydown.ledger.table import Item


def run(session: Session) -> int:
    """Print them, newest first."""
    args, now = session.args, session.now()
    outcomes = statuses_of(args.outcome)
    if outcomes is not None and not outcomes <= GROUPS["ended"]:
        raise UsageError("--outcome takes outcomes: " + ", ".join(sorted(GROUPS["ended"])))
    since = moment_of(args.since, now) if args.since else now - kept(session.ledger)
    until = moment_of(args.until, now, "--until") if args.until else now
    if until < since:
        raise UsageError("--until lies before --since")
    for line in lines(session.ledger, find(session.ledger, Wanted(args.toil, None, outcomes), since, until)):
        session.out.raw(line)
    return FINE


def lines(ledger: Ledger, runs: Iterable[Run]) -> Iterator[str]:
    """A line of JSON for each run; only ASCII."""
    for one in runs:
        # json's own escapes, as of everything that the command prints: pydantic would write UTF-8.
        line = json.dumps(exported(ledger, one).model_dump(mode="json"), separators=(",", ":"))
        yield line.replace("\x7f", "\\u007f")


def exported(ledger: Ledger, run: Run) -> ExportedRun:
    """A run with what lies beside it in the ledger."""
    log: list[Transition] = []
    plans: dict[int, list[Step]] = {}
    for item in ledger.table.query(run.partition):
        if item["sk"].startswith("LOG#"):
            log.append(_transition(item))
        elif item["sk"].startswith("STEP#"):
            step = shown(item)
            plans.setdefault(step["plan"], []).append(Step.model_validate(step))
    was_held = any(entry.status == Status.HELD for entry in log)
    decisions = reversed(ledger.approvals.all(run)) if was_held else ()
    return ExportedRun(
        id=run.id,
        toil=run.toil,
        target=Target(ref=run.ref, uid=run.target),
        status=run.status.value,
        ended=run.ended,
        event=Cause(type=run.event_type, key=run.key, detail=run.event),
        attempt=run.attempt,
        tries=run.attempts,
        created=run.created.isoformat(),
        updated=_text(run.updated),
        due=_text(run.due),
        applied_at=_text(run.applied_at),
        mode=run.mode or None,
        hazard=run.hazard or None,
        fingerprint=run.fingerprint or None,
        policy_version=run.policy_version,
        reasons=tuple(Why(code=reason.code, text=reason.text) for reason in run.reasons),
        before=run.before,
        evidence=run.evidence,
        log=tuple(log),
        plans=tuple(
            PlanMade(number=number, executed=number in run.executed, steps=tuple(steps))
            for number, steps in plans.items()
        ),
        decisions=tuple(Decided.model_validate(vars(decision)) for decision in decisions),
    )


def _transition(item: Item) -> Transition:
    evidence: Mapping[str, Any] = json.loads(item.get("evidence", "{}"))
    return Transition(
        sequence=int(item["sk"].removeprefix("LOG#")),
        at=item["at"],
        status=item["status"],
        reasons=tuple(Why(code=code, text=text) for code, text in item.get("reasons", ())),
        plan_number=item.get("plan_number", 0),
        fingerprint=item.get("fingerprint") or None,
        evidence=evidence,
    )


def kept(ledger: Ledger) -> timedelta:
    """How far back the ledger can have any run."""
    try:
        return timedelta(days=ledger.policy.current().document.retention_days) + LIFE
    except (NoDocument, InvalidDocument):
        return RETENTION + LIFE


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
