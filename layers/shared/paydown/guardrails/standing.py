"""Guards on what happened before: switches, suspension, a person's own hand, and faults that do not heal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from paydown.guardrails.crowding import RECHECK
from paydown.guardrails.facts import HEALING, Ending, Facts, Tally
from paydown.guardrails.verdict import Decision, Finding
from paydown.policy import ToilPolicy

OPT_OUT = "paydown.dev/opt-out"
"""The label of a target which nobody but people may touch, with any value but `false`."""


OPTED_OUT = f"the target carries the label {OPT_OUT}"


def opted_out(labels: Mapping[str, str]) -> bool:
    """Whether a target's labels say that nobody but people may touch it."""
    return labels.get(OPT_OUT, "false") != "false"


def standing(facts: Facts, policy: ToilPolicy, now: datetime) -> Iterator[Finding]:
    """What stands against acting on this target, or with this toil type, at all."""
    yield from _switches(facts, now)
    if not facts.undoing:
        yield from _suspension(facts, policy, now)
    if opted_out(facts.labels):
        yield Finding("opted_out", OPTED_OUT, Decision.REFUSE)
    if facts.undoing:
        return
    if facts.on_target.overridden and facts.on_target.overridden[1] > now:
        why, until = facts.on_target.overridden
        yield Finding("overridden", f"left alone until {until:%Y-%m-%d %H:%M}Z: {why}", Decision.REFUSE)
    failures = facts.on_target.failures(now, policy.escalation.window_seconds)
    if len(failures) >= policy.escalation.failures:
        runs = ", ".join(failure.run for failure in failures)
        yield Finding("escalated", f"{len(failures)} runs did not heal it: {runs}", Decision.REFUSE)


def escalates(on_target: Tally, policy: ToilPolicy, now: datetime) -> list[Ending] | None:
    """The failures before this one, if with it they are as many as a person has to be told of; else None."""
    before = on_target.failures(now, policy.escalation.window_seconds)
    return before if len(before) + 1 >= policy.escalation.failures else None


def recurs(facts: Facts, policy: ToilPolicy, now: datetime) -> Ending | None:
    """The verified run after which the same fault came back, if it did so soon: by the type of event that told of it.

    When it was told counts, not when the run is let in: one that waited for its turn is a recurrence all the same.
    """
    last = facts.on_target.last(facts.event)
    if not facts.ongoing or last is None or last.outcome != HEALING:
        return None
    return last if last.at > (facts.began or now) - timedelta(seconds=policy.recurrence.window_seconds) else None


def recurrences(of_toil: Tally, policy: ToilPolicy, now: datetime, resumed_at: datetime | None) -> int:
    """How often faults came back, as far as it counts for a suspension: not before a person last resumed it."""
    since = now - timedelta(seconds=policy.recurrence.suspend_window_seconds)
    if resumed_at is not None:
        since = max(since, resumed_at)
    return sum(one > since for one in of_toil.recurred)


def _switches(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts.stops is None:
        yield Finding("stopped", "the switches cannot be read", Decision.DEFER, now + RECHECK)
        return
    for stop in facts.stops:
        yield Finding("stopped", stop, Decision.DEFER, now + RECHECK)


def _suspension(facts: Facts, policy: ToilPolicy, now: datetime) -> Iterator[Finding]:
    times = recurrences(facts.toil, policy, now, facts.resumed_at)
    if times >= policy.recurrence.suspend_after:
        text = f"faults came back {times} times after verified runs: a person has to look, then resume it"
        yield Finding("suspended", text, Decision.DEFER, now + RECHECK)
