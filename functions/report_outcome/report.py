"""What people read. Plain text; names and measurements in it may come from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from paydown.events import RemediationChanged
from paydown.ledger import Outcome, Status
from paydown.ledger.findings import Finding
from paydown.tickets import plain

REPORTED: Mapping[str, str] = {
    Outcome.VERIFIED: "Done, and verified.",
    Outcome.UNVERIFIED: "Done, but it did not help: please have a look.",
    Outcome.FAILED: "This failed: please have a look.",
    Outcome.REFUSED: "The guardrails do not allow this: please have a look.",
    Outcome.REJECTED: "This was not approved.",
    Outcome.SKIPPED: "Nothing was done.",
    Outcome.OBSERVED: "Nothing was done: Paydown only observes here.",
    Status.HELD: "This waits for a person's approval.",
}
"""The statuses that a ticket is told, and in which words."""

NEEDS_A_PERSON: Mapping[str, str] = {
    "escalated": "Several runs did not heal this, so Paydown leaves it alone: a person has to look.",
    "deferred_too_long": "This was put off for as long as the policy allows: a person has to look.",
    "suspended": "Faults came back too often after runs that were verified: a person has to look, and then resume it.",
    "storm": "Far more events than usual: nothing is begun until it has been calm for a while.",
}
"""The reasons that are told at once, and with a ticket, whatever the status is."""

RECURRED = "recurred"
_WORDS = {
    **REPORTED,
    **NEEDS_A_PERSON,
    RECURRED: "The same fault came back after a run that was verified; Paydown works on it again.",
}

VALUE_LIMIT = 300
LINES = 40
TEXT_LIMIT = 6_000
"""Characters of a report: the ledger keeps the latest one of each finding."""


def report(change: RemediationChanged, label: str = "", plan: Iterable[Mapping[str, Any]] = ()) -> str:
    """What a change means for people. `label`: the reason that they are told of, in place of the status.

    `plan` holds the steps of the plan that a held run waits with, as the journal tells them.
    """
    words = _WORDS.get(label or change.status, "")
    lines = [
        f"Paydown: {change.toil} on {line(change.target)}: {change.status}.",
        *([words] if words else []),
        *(f"- {line(text)} ({line(code)})" for code, text in change.reasons[:LINES]),
    ]
    steps = list(plan)
    if steps:
        lines += ["", f"What is executed if it is approved, in {change.actions} actions:", *_steps(steps)]
    elif change.actions:
        lines.append(f"Actions planned: {change.actions}")
    evidence = list(flat("", change.evidence))
    if evidence:
        lines += ["", "Evidence:", *evidence[:LINES]]
    if len(evidence) > LINES:
        lines.append(f"  and {len(evidence) - LINES} more")
    lines = plain("\n".join(lines), TEXT_LIMIT).split("\n")
    if steps:
        lines += ["", f"To decide: paydown approve {change.run_id}, or paydown reject {change.run_id}"]
    lines += ["", f"Run {change.run_id}. To see more: paydown explain {change.run_id}"]
    return "\n".join(lines)


def standing(finding: Finding) -> str:
    """The comment that is kept up to date while a finding is open, and closed with it."""
    seen = "once" if finding.count == 1 else f"{finding.count} times"
    labels = ", ".join(f"{label} {count}" for label, count in sorted(finding.labels.items()))
    lines = [finding.text, "", f"Seen {seen} since {clock(finding.since)}, last at {clock(finding.seen_at)}: {labels}."]
    if finding.open:
        lines.append(f"Finding {finding.identity.id}. To quiet it: paydown snooze {finding.identity.id} --for 7d")
    else:
        lines += ["", f"It is over: {line(finding.over)}"]
    return "\n".join(lines)


def clock(time: datetime | None) -> str:
    """A time in UTC for people."""
    return "-" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def flat(prefix: str, value: Any) -> Iterator[str]:
    """Nested data as lines `  a.b: value`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(f"{prefix}.{line(key)}" if prefix else line(key), inner)
    elif isinstance(value, (list, tuple)):
        shown = ", ".join(str(one) for one in value[:10])
        more = f" and {len(value) - 10} more" if len(value) > 10 else ""
        yield f"  {prefix}: {line(shown)}{more}"
    else:
        yield f"  {prefix}: {line(value)}"


def line(value: Any) -> str:
    """A value on one line, so that foreign text cannot pass for ours."""
    return plain(" ".join(str(value).split()), VALUE_LIMIT)


def _steps(steps: list[Mapping[str, Any]]) -> Iterator[str]:
    stage = None
    for number, step in enumerate(steps[:LINES], 1):
        if step["stage"] != stage:
            stage = step["stage"]
            yield f"  stage {stage + 1}"
        yield f"  {number}. {line(step['verb'])} {line(step['object'])} ({line(step['hazard'])})"
        yield f"     only if {line(step['precondition'])}"
    if len(steps) > LINES:
        yield f"  and {len(steps) - LINES} more: they are on the record of the run"
