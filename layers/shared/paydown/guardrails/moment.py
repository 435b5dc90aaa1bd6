"""Guards on the moment: freezes, maintenance windows, storms, cool-downs, and other healers' time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from paydown import windows
from paydown.guardrails.crowding import RECHECK
from paydown.guardrails.facts import UNHEALING, Facts
from paydown.guardrails.verdict import Decision, Finding
from paydown.limits import Freeze, Storm
from paydown.policy import ToilPolicy

NEVER = timedelta(days=30)
"""How long a window that never opens again defers: longer than any policy lets a run be put off."""


def moment(facts: Facts, policy: ToilPolicy, freezes: Sequence[Freeze], now: datetime) -> Iterator[Finding]:
    """What stands against acting now, and passes with time."""
    if frozen := windows.current(freezes, now):
        yield Finding("frozen", f"freeze {frozen.window} until {_at(frozen.end)}", Decision.DEFER, frozen.end)
    if policy.windows and not windows.current(policy.windows, now):
        opens = windows.following(policy.windows, now)
        text = f"{opens.window} opens at {_at(opens.start)}" if opens else "no window opens any more"
        yield Finding("outside_window", text, Decision.DEFER, opens.start if opens else now + NEVER)
    if (calm := calm_at(facts, policy.storm, now)) is not None:
        text = f"more than {policy.storm.events} events within {policy.storm.window_seconds} s"
        yield Finding("storm", text, Decision.DEFER, calm)
    yield from _cool_down(facts, policy, now)
    if facts.healer is not None:
        until = facts.healer.since + timedelta(seconds=policy.healers.seconds(facts.healer.kind))
        if until > now:
            text = f"{facts.healer.kind} looks after this target, and has until {_at(until)}"
            yield Finding("other_healer", text, Decision.DEFER, until)


def calm_at(facts: Facts, storm: Storm, now: datetime) -> datetime | None:
    """When a storm will have been calm for long enough, as far as is known now; None if there is none."""
    window, bucket = timedelta(seconds=storm.window_seconds), timedelta(seconds=facts.bucket_seconds)
    calm: datetime | None = None
    for first in sorted(facts.events):
        within = sum(count for other, count in facts.events.items() if first <= other < first + window)
        if within > storm.events:
            # Too much until the first of them are older than the window: all that came in their bucket.
            calm = first + bucket + window + timedelta(seconds=storm.cool_down_seconds)
    return calm if calm is not None and calm > now else None


def resting(policy: ToilPolicy, failures: int) -> float:
    """For how many seconds a target is left alone after so many runs in a row that did not heal it.

    Without a cool-down, failures still wait: one recorded healer tried 17,776 times.
    """
    first = max(policy.cool_down_seconds, RECHECK.total_seconds())
    doubled = first * 2.0 ** min(failures - 1, 20)
    return max(policy.cool_down_seconds, min(policy.back_off_seconds, doubled))


def _cool_down(facts: Facts, policy: ToilPolicy, now: datetime) -> Iterator[Finding]:
    last = facts.on_target.last()
    if last is None or last.run == facts.run:
        return
    rest: float = policy.cool_down_seconds
    if last.outcome in UNHEALING:
        rest = resting(policy, max(1, len(facts.on_target.failures(now, policy.escalation.window_seconds))))
    until = last.at + timedelta(seconds=rest)
    if until <= now:
        return
    text = f"run {last.run} ended {last.outcome} at {_at(last.at)}: left alone until {_at(until)}"
    if last.outcome in UNHEALING:
        yield Finding("backing_off", text, Decision.DEFER, until)
    else:
        yield Finding("cooling_down", text, Decision.DEFER, until)


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}Z"
