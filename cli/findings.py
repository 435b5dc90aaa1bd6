"""`paydown findings` and `paydown snooze`: what is wrong at present, and what is to be quiet for a while."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.exits import FINE, NotFoundError, UsageError
from cli.output import moment
from cli.session import Session
from paydown.ledger.findings import Finding, Findings

LONGEST = timedelta(days=366)
_ID = re.compile(r"[0-9a-f]{4,16}")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def run(session: Session) -> int:
    """Print the open findings, the one that was seen last first."""
    now = session.now()
    toil = session.args.toil
    found = [one for one in _findings(session).open() if toil in (None, one.identity.toil)]
    found.sort(key=lambda one: one.seen_at or datetime.min.replace(tzinfo=UTC), reverse=True)
    session.out.data({"findings": [as_data(one, now) for one in found]})
    columns = ["finding", "toil", "target", "rule", "what", "seen", "since", "last", "ticket", "snoozed until"]
    session.out.table(columns, [_row(one, now) for one in found], whole=["finding"])
    return FINE


def snooze(session: Session) -> int:
    """Let one finding be quiet for a while, or (`--off`) speak again."""
    args, now = session.args, session.now()
    if args.off == (args.duration is not None):
        raise UsageError("say for how long (--for 7d), or --off")
    until = None if args.off else now + _duration(args.duration)
    finding = _find(_findings(session), args.finding)
    who = session.who()
    changed = _findings(session).snooze(finding.identity, until, who, args.why or "", now)
    session.out.data({"finding": as_data(changed, now), "by": who})
    what = f"{finding.identity.id} ({finding.identity.toil} on {finding.identity.target})"
    if until is None:
        session.out.line(f"not snoozed any more: {what}")
    else:
        session.out.line(f"snoozed until {moment(until)}: {what}. Who asked by ticket still gets an answer.")
    return FINE


def as_data(finding: Finding, now: datetime) -> dict[str, Any]:
    """A finding as plain JSON data."""
    snoozed = None
    if finding.is_snoozed(now):
        snoozed = {"until": _iso(finding.snoozed_until), "by": finding.snoozed_by, "why": finding.snoozed_why}
    return {
        "id": finding.identity.id,
        "toil": finding.identity.toil,
        "target": finding.identity.target,
        "rule": finding.identity.rule,
        "open": finding.open,
        "what": finding.label,
        "run": finding.run,
        "count": finding.count,
        "counts": dict(finding.labels),
        "since": _iso(finding.since),
        "last": _iso(finding.seen_at),
        "tickets": list(finding.tickets),
        "snoozed": snoozed,
    }


def _row(finding: Finding, now: datetime) -> list[str]:
    identity = finding.identity
    until = moment(finding.snoozed_until) if finding.is_snoozed(now) else "-"
    seen = [finding.label, str(finding.count), moment(finding.since), moment(finding.seen_at)]
    return [identity.id, identity.toil, identity.target, identity.rule, *seen, ", ".join(finding.tickets) or "-", until]


def _find(findings: Findings, text: str) -> Finding:
    """The finding whose id begins with `text`: an open one, or any if the id is whole."""
    if not _ID.fullmatch(text.lower()):
        raise UsageError(f"{text!r} is not the beginning of a finding's id: at least 4 of its 16 hexadecimal digits")
    ids = [text.lower()] if len(text) == 16 else [id for id in findings.open_ids() if id.startswith(text.lower())]
    if len(ids) > 1:
        raise NotFoundError(f"{len(ids)} open findings begin with {text}: {', '.join(ids[:5])}")
    finding = findings.by_id(ids[0]) if ids else None
    if finding is None:
        raise NotFoundError(f"there is no {'' if len(text) == 16 else 'open '}finding {text}")
    return finding


def _duration(text: str) -> timedelta:
    parts = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    duration = timedelta(**{_UNITS[parts[2]]: int(parts[1])}) if parts else timedelta.max
    if duration > LONGEST:
        raise UsageError(f"--for {text!r} is no time of at most a year: 30m, 12h, 7d")
    return duration


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _findings(session: Session) -> Findings:
    return Findings(session.ledger.table)
