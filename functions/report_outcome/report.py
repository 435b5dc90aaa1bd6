"""What people read. Plain text; names and measurements in it may come from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from functions.report_outcome.holding import Hold
from paydown.approving import SHORTEST
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
    "blast_radius": "Too much of this pool is down for anything to be begun on the rest of it: a person has to look.",
}
"""The reasons that are told at once, and with a ticket, whatever the status is."""

JOINED = "Another run is about to look at the same target: what comes of that is told here, too."
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
HEAD_LIMIT, PLAN_LIMIT = 2_000, 3_500
"""Of these, what comes before a plan that waits for a person, and the plan."""


def report(change: RemediationChanged, label: str = "", hold: Hold | None = None, *, link: bool = True) -> str:
    """What a change means for people. `label`: the reason that they are told of, in place of the status.

    With a `hold` it shows the plan, says how much of that is not shown, and how to decide; `link`: where all of it is.
    """
    words = JOINED if joined(change) else _WORDS.get(label or change.status, "")
    lines = [
        f"Paydown: {change.toil} on {line(change.target)}: {change.status}.",
        *([words] if words else []),
        *(f"- {line(text)} ({line(code)})" for code, text in change.reasons[:LINES]),
    ]
    shown = 0
    if hold is not None:
        steps, shown = _steps(hold)
        lines = [*plain("\n".join(lines), HEAD_LIMIT).split("\n"), *_heading(change, hold, shown), *steps]
    elif change.actions:
        lines.append(f"Actions planned: {change.actions}")
    evidence = list(flat("", change.evidence))
    if evidence:
        lines += ["", "Evidence:", *evidence[:LINES]]
    if len(evidence) > LINES:
        lines.append(f"  and {len(evidence) - LINES} more")
    lines = plain("\n".join(lines), TEXT_LIMIT).split("\n")
    if hold is not None:
        lines += _how_to_decide(change, hold, shown, link=link)
    lines += ["", f"Run {change.run_id}. To see more: paydown explain {change.run_id}"]
    return "\n".join(lines)


def joined(change: RemediationChanged) -> bool:
    """Whether the run ended because its event joined another one."""
    return change.status == Outcome.SKIPPED and any(code == "joined" for code, _ in change.reasons)


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


def _steps(hold: Hold) -> tuple[list[str], int]:
    """The plan's beginning, as far as there is room for it, and how many actions that are."""
    lines: list[str] = []
    size, stage = 0, None
    for number, step in enumerate(hold.steps[:LINES]):
        more = [] if step["stage"] == stage else [f"  stage {step['stage'] + 1}"]
        more.append(f"  {number + 1}. {line(step['verb'])} {line(step['object'])} ({line(step['hazard'])})")
        more.append(f"     only if {line(step['precondition'])}")
        size += sum(len(one) + 1 for one in more)
        if size > PLAN_LIMIT:
            return lines, number
        lines += more
        stage = step["stage"]
    return lines, min(len(hold.steps), LINES)


def _actions(change: RemediationChanged, hold: Hold) -> int:
    return max(change.actions, len(hold.steps))


def _heading(change: RemediationChanged, hold: Hold, shown: int) -> Iterator[str]:
    total = _actions(change, hold)
    part = f", of which the first {shown} are shown here" if shown < total else ""
    yield ""
    yield f"What is executed if it is approved, in {total} actions{part}:"


def _how_to_decide(change: RemediationChanged, hold: Hold, shown: int, *, link: bool) -> Iterator[str]:
    run, total, address = change.run_id, _actions(change, hold), hold.link[0] if hold.link else ""
    if shown < total:
        where = f"paydown explain {run} --all" + (", or the page that shows the plan" if address else "")
        yield ""
        yield f"NOT SHOWN: {total - shown} of the {total} actions. Before you decide, see all of them: {where}"
    if link and address:
        yield from ("", f"The page that shows the plan (its address is good for a day): {address}")
    command = f"paydown approve {run}, or paydown reject {run} --why REASON"
    yield ""
    if hold.by_comment and change.fingerprint:
        # Not at the beginning of a line: there it would be a decision, which a ticket system may refuse to edit. At its
        # end, without quotes or blanks before it, so that a copy of the words is a decision.
        fingerprint = change.fingerprint[:SHORTEST]
        yield f"To decide until {clock(hold.until)}, comment on the ticket, at the beginning of a line:"
        yield f"To approve, comment: /approve {fingerprint}"
        yield f"To reject, comment: /reject {fingerprint} REASON"
        yield f"Or use the command line: {command}"
    else:
        yield f"To decide until {clock(hold.until)}: {command}"
    names = [line(name) for name in hold.approvers[:LINES]]
    more = f" and {len(hold.approvers) - LINES} more" if len(hold.approvers) > LINES else ""
    yield f"Who may decide: {', '.join(names) or 'nobody, since the policy names no approvers'}{more}"
