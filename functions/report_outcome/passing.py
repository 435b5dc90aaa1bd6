"""Findings that are over though no run says so: a storm that calmed, a relieved pool, what is not reported any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.report_outcome.pools import is_relieved
from paydown.ledger import Ledger
from paydown.ledger.findings import Finding
from paydown.policy import Policy


def passed(ledger: Ledger, policy: Policy, finding: Finding, now: datetime) -> str:
    """Why an open finding is over by itself; empty if it is not."""
    if _is_calm(policy, finding, now):
        return "it has been calm for a while."
    if is_relieved(ledger, finding):
        return "no run waits for it any more."
    if _is_stale(ledger, policy, finding, now):
        days = policy.notifications.stale_days
        return f"nobody has reported it for {days} day{'s' if days > 1 else ''}. Whether it was mended is not known."
    return ""


def _is_calm(policy: Policy, finding: Finding, now: datetime) -> bool:
    storm = policy.toil(finding.identity.toil).storm
    calm = timedelta(seconds=storm.window_seconds + storm.cool_down_seconds)
    return finding.identity.rule == "storm" and finding.seen_at is not None and finding.seen_at + calm < now


def _is_stale(ledger: Ledger, policy: Policy, finding: Finding, now: datetime) -> bool:
    """Its target may be gone, or was mended by hand: nobody would ever say so. What a run waits for is not stale."""
    if finding.seen_at is None or finding.seen_at + timedelta(days=policy.notifications.stale_days) >= now:
        return False
    run = ledger.runs.get(finding.run)
    return run is None or run.ended
