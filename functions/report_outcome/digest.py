"""The daily digest: what happened on the day before, in a few lines. A quiet day has none."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.report_outcome.channels import Channels, Message
from functions.report_outcome.report import line
from paydown.ledger import Ledger
from paydown.ledger.digests import Digests, partition
from paydown.ledger.findings import Findings

FINDINGS = 20
"""Open findings that the digest names at the most."""


def send(ledger: Ledger, findings: Findings, channels: Channels, now: datetime) -> bool:
    """Send the digest of the day before once the hour has come. Returns whether a channel was told.

    Each channel that was not reached is tried again an hour later, until the day is over.
    """
    if now.hour < channels.notifications.digest_hour:
        return False
    day = now - timedelta(days=1)
    counts = Digests(ledger.table).of(day)
    if not counts:
        return False
    text = compose(ledger, findings, counts, day, now)
    message = Message("digest", f"Paydown: what happened on {day:%Y-%m-%d}", text, {"kind": "digest"})
    return channels.tell(partition(day), message)


def compose(ledger: Ledger, findings: Findings, counts: dict[str, dict[str, int]], day: datetime, now: datetime) -> str:
    """The text: outcomes by toil type, minutes saved in the month of that day, and what is still open."""
    lines = []
    for toil, of_toil in sorted(counts.items()):
        statuses = ", ".join(f"{status} {count}" for status, count in sorted(of_toil.items()))
        minutes = _minutes(ledger, toil, day)
        saved = f"; {minutes} minutes saved in {day:%Y-%m} so far" if minutes else ""
        lines.append(f"{line(toil)}: {statuses}{saved}")
    open_ones = sorted(findings.open(), key=lambda one: (one.since is None, one.since))
    if open_ones:
        lines += ["", f"Open findings: {len(open_ones)}"]
    for finding in open_ones[:FINDINGS]:
        identity, quiet = finding.identity, " (snoozed)" if finding.is_snoozed(now) else ""
        seen = f"seen {finding.count} times since {finding.since:%Y-%m-%d %H:%M}Z" if finding.since else ""
        lines.append(f"  {identity.id} {identity.toil} on {line(identity.target)}: {finding.label}, {seen}{quiet}")
    if len(open_ones) > FINDINGS:
        lines.append("  and more: paydown findings")
    return "\n".join(lines)


def _minutes(ledger: Ledger, toil: str, day: datetime) -> int:
    for month in ledger.account(toil):
        if month["month"] == f"{day:%Y-%m}":
            return int(month.get("minutes", 0))
    return 0
