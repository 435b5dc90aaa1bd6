"""Finding runs: by the beginning of an id, and by what an operator asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cli.exits import NotFoundError, UsageError
from paydown.ledger import Ledger, Run

DAYS = 31
"""How far back the beginning of an id is looked for; a whole id is found whatever its age."""
MOST = 20_000
"""Runs that one search reads at the most."""
SHORT = 12
_ID = re.compile(r"^([0-9a-f]{4,32})(?:-([1-9][0-9]{0,8}))?$")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def short(id: str) -> str:
    """The beginning of an id that tables show; a later attempt keeps its number (`0123456789ab-2`)."""
    digest, dash, attempt = id.partition("-")
    return digest[:SHORT] + dash + attempt


def find_run(ledger: Ledger, text: str, now: datetime) -> Run:
    """The run whose id begins with `text`, of the attempt that it names (without one: the first).

    Raises UsageError for text that cannot be the beginning of an id, and NotFoundError for no or several runs.
    """
    parts = _ID.match(text.lower())
    if parts is None:
        raise UsageError(f"{text!r} is not the beginning of a run's id: at least 4 of its hexadecimal digits")
    beginning, attempt = parts[1], parts[2] or "1"
    suffix = "" if attempt == "1" else f"-{attempt}"
    if len(beginning) == 32:
        ids = {beginning + suffix}
    else:
        known = _known_ids(ledger, now)
        ids = {id for id in known if id.startswith(beginning) and id[32:] == suffix}
    if len(ids) > 1:
        shown = ", ".join(sorted(ids)[:5])
        raise NotFoundError(f"{len(ids)} runs begin with {text}: {shown}{' …' if len(ids) > 5 else ''}")
    run = ledger.runs.get(ids.pop()) if ids else None
    if run is None:
        when = "" if len(beginning) == 32 else f" of the last {DAYS} days"
        raise NotFoundError(f"there is no run {text}{when}")
    return run


def _known_ids(ledger: Ledger, now: datetime) -> Iterator[str]:
    for entry in ledger.history.begun(now - timedelta(days=DAYS), now, limit=MOST):
        yield entry.run
    for row in ledger.runs.alive():
        yield row["id"]


def moment_of(text: str, now: datetime, option: str = "--since") -> datetime:
    """The time that `30m`, `12h`, `7d` ago, or an ISO 8601 text (UTC unless it says otherwise), means."""
    if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no time: 30m, 12h, 7d, or 2026-01-31T08:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
