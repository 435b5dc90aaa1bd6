"""What a person reads on the ticket. Plain text; names and measurements in it may come from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paydown.events import RemediationChanged
from paydown.ledger import Outcome, Status
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

VALUE_LIMIT = 300
LINES = 40


def report(change: RemediationChanged) -> str:
    """The comment about a change whose status is one of `REPORTED`."""
    lines = [
        f"Paydown: {change.toil} on {_line(change.target)}: {change.status}.",
        REPORTED[change.status],
        *(f"- {_line(text)} ({_line(code)})" for code, text in change.reasons[:LINES]),
    ]
    if change.actions:
        lines.append(f"Actions planned: {change.actions}")
    evidence = list(_flat("", change.evidence))
    if evidence:
        lines += ["", "Evidence:", *evidence[:LINES]]
    if len(evidence) > LINES:
        lines.append(f"  and {len(evidence) - LINES} more")
    lines += ["", f"Run {change.run_id}. To see more: paydown explain {change.run_id}"]
    return "\n".join(lines)


def _flat(prefix: str, value: Any) -> Iterator[str]:
    """Nested data as lines `  a.b: value`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{_line(key)}" if prefix else _line(key), inner)
    elif isinstance(value, (list, tuple)):
        shown = ", ".join(str(one) for one in value[:10])
        more = f" and {len(value) - 10} more" if len(value) > 10 else ""
        yield f"  {prefix}: {_line(shown)}{more}"
    else:
        yield f"  {prefix}: {_line(value)}"


def _line(value: Any) -> str:
    """A value on one line, so that foreign text cannot pass for ours."""
    return plain(" ".join(str(value).split()), VALUE_LIMIT)
