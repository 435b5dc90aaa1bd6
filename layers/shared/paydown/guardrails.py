"""Guardrails: may this plan be carried out, now? Pure decisions that explain themselves.

`evaluate` looks at every guard, in the order in which they stand here, and returns all the reasons, not only the first.
What a plan may do is decided the same way for every path: event, schedule, ticket, person, retry and approval. What it
decides is then taken in one transaction by the ledger (`Runs.admit`), which refuses if the facts have changed.

=====================  ========  =======================================================================================
code                   calls for  what to do about it
=====================  ========  =======================================================================================
`stopped`              defer     a switch is on: `paydown resume [TOIL]`
`needs_approval`       hold      the mode is `approve`: a person decides
`above_ceiling`        hold      an action's hazard is above the ceiling of the policy: a person decides
`destructive`          hold      an action can lose data: a person decides, whatever the policy says
`changed`              hold      the plan differs from what was approved: a person decides on the difference
`target_busy`          defer     another run holds the lease on the target: it waits for that one
=====================  ========  =======================================================================================

Of several decisions the strictest counts: refuse, then hold, defer, allow.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from paydown.plan import Action, Hazard, Plan
from paydown.policy import Mode, ToilPolicy

RECHECK = timedelta(seconds=60)
"""How long a run that was stopped, or whose target is busy, waits before it looks again."""

Identity = tuple[str, str, str, str]


class Decision(enum.StrEnum):
    """What the guardrails say, from the mildest to the strictest."""

    ALLOW = "allow"
    DEFER = "defer"
    HOLD = "hold"
    REFUSE = "refuse"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Decision).index(self)


@dataclass(frozen=True)
class Finding:
    """What one guard says: its stable code, an explanation, and until when it defers."""

    code: str
    text: str
    decision: Decision
    until: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """All that the guards found, the decision that follows, and until when a deferral lasts."""

    findings: tuple[Finding, ...] = ()

    @property
    def decision(self) -> Decision:
        """The strictest of what the guards call for."""
        return max((finding.decision for finding in self.findings), key=lambda one: one.rank, default=Decision.ALLOW)

    @property
    def until(self) -> datetime | None:
        """When the last of the deferring guards gives way; None if none defers."""
        return max((finding.until for finding in self.findings if finding.until is not None), default=None)


@dataclass(frozen=True)
class Facts:
    """What was read for the guards.

    `stops` are the switches that are on, as explanations, or None when they could not be read. `lease` is who else
    holds the target, and until when. `approved` are the identities of the actions that a person approved for this run.
    """

    labels: dict[str, str]
    stops: Sequence[str] | None = ()
    lease: tuple[str, datetime] | None = None
    approved: frozenset[Identity] = frozenset()


def effective_mode(policy: ToilPolicy, labels: dict[str, str], observing: bool) -> Mode:
    """The mode for a target: what the policy says for its labels, and never more than the deployment allows."""
    return Mode.OBSERVE if observing else policy.for_labels(labels)[0]


def evaluate(plan: Plan, facts: Facts, policy: ToilPolicy, now: datetime) -> Verdict:
    """What the guards say of a plan at `now`. In observe mode it tells what enforcing would have met."""
    findings = [*_switches(facts, now), *_approval(plan, facts, policy), *_lease(facts, now)]
    return Verdict(tuple(findings))


def needing_a_person(plan: Plan, facts: Facts, policy: ToilPolicy) -> list[Action]:
    """The actions that may not happen before a person approves them, and that nobody has approved yet."""
    mode, ceiling = policy.for_labels(facts.labels)
    return [
        action
        for action in plan.actions
        if action.identity not in facts.approved
        and action.hazard is not Hazard.NONE
        and (mode is Mode.APPROVE or action.hazard.rank > ceiling.rank or action.hazard is Hazard.DESTRUCTIVE)
    ]


def approved_part(plan: Plan, facts: Facts, policy: ToilPolicy) -> Plan:
    """What of a plan may go on though the rest needs a person: empty unless some of it was approved."""
    if not any(action.identity in facts.approved for action in plan.actions):
        return Plan(())
    waiting = {action.identity for action in needing_a_person(plan, facts, policy)}
    return plan.only(action.identity for action in plan.actions if action.identity not in waiting)


def _switches(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts.stops is None:
        yield Finding("stopped", "the switches cannot be read", Decision.DEFER, now + RECHECK)
        return
    for stop in facts.stops:
        yield Finding("stopped", stop, Decision.DEFER, now + RECHECK)


def _approval(plan: Plan, facts: Facts, policy: ToilPolicy) -> Iterator[Finding]:
    waiting = needing_a_person(plan, facts, policy)
    if not waiting:
        return
    mode, ceiling = policy.for_labels(facts.labels)
    if mode is Mode.APPROVE:
        yield Finding("needs_approval", f"mode approve: {_some(waiting)}", Decision.HOLD)
    above = [action for action in waiting if action.hazard.rank > ceiling.rank]
    if above:
        worst = max(above, key=lambda action: action.hazard.rank).hazard
        yield Finding("above_ceiling", f"{worst} is above the ceiling {ceiling}: {_some(above)}", Decision.HOLD)
    destructive = [action for action in waiting if action.hazard is Hazard.DESTRUCTIVE]
    if destructive:
        yield Finding("destructive", f"can lose data: {_some(destructive)}", Decision.HOLD)
    if facts.approved:
        yield Finding("changed", f"not part of what was approved: {_some(waiting)}", Decision.HOLD)


def _lease(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts.lease is not None:
        # Its expiry is the latest end: most runs give their lease back long before.
        owner, until = facts.lease
        yield Finding("target_busy", f"run {owner} works on this target", Decision.DEFER, min(until, now + RECHECK))


def _some(actions: Sequence[Action], most: int = 3) -> str:
    """The first few of some actions, for people."""
    shown = ", ".join(f"{action.verb()} {action.object}" for action in actions[:most])
    return shown if len(actions) <= most else f"{shown} and {len(actions) - most} more"
