"""Who must be asked: which actions may not happen before a person approves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paydown.guardrails.facts import Facts
from paydown.guardrails.verdict import Decision, Finding
from paydown.plan import Action, Hazard, Plan
from paydown.policy import Mode, ToilPolicy


def needing_a_person(plan: Plan, facts: Facts, policy: ToilPolicy) -> list[Action]:
    """The actions that may not happen before a person approves them, and that nobody has approved yet.

    Taking back what a run left half-done needs nobody: it was reversible, and whoever asks for it is on the record.
    """
    mode, ceiling = policy.for_labels(facts.labels)
    return [
        action
        for action in plan.actions
        if action.identity not in facts.approved
        and action.hazard is not Hazard.NONE
        and not (facts.undoing and action.hazard is Hazard.REVERSIBLE)
        and (
            mode is Mode.APPROVE
            or action.asks
            or action.hazard.rank > ceiling.rank
            or action.hazard is Hazard.DESTRUCTIVE
        )
    ]


def approved_part(plan: Plan, facts: Facts, policy: ToilPolicy) -> Plan:
    """What of a plan may go on though the rest needs a person: empty unless some of it was approved."""
    if not any(action.identity in facts.approved for action in plan.actions):
        return Plan(())
    waiting = {action.identity for action in needing_a_person(plan, facts, policy)}
    return plan.only(action.identity for action in plan.actions if action.identity not in waiting)


def approval(plan: Plan, facts: Facts, policy: ToilPolicy) -> Iterator[Finding]:
    """The guards that call for a person."""
    waiting = needing_a_person(plan, facts, policy)
    if not waiting:
        return
    mode, ceiling = policy.for_labels(facts.labels)
    if mode is Mode.APPROVE:
        yield Finding("needs_approval", f"mode approve: {_some(waiting)}", Decision.HOLD)
    elif asking := [action for action in waiting if action.asks]:
        yield Finding("needs_approval", f"the settings want a person: {_some(asking)}", Decision.HOLD)
    above = [action for action in waiting if action.hazard.rank > ceiling.rank]
    if above:
        worst = max(above, key=lambda action: action.hazard.rank).hazard
        yield Finding("above_ceiling", f"{worst} is above the ceiling {ceiling}: {_some(above)}", Decision.HOLD)
    destructive = [action for action in waiting if action.hazard is Hazard.DESTRUCTIVE]
    if destructive:
        yield Finding("destructive", f"can lose data: {_some(destructive)}", Decision.HOLD)
    if facts.approved:
        yield Finding("changed", f"not part of what was approved: {_some(waiting)}", Decision.HOLD)


def _some(actions: Sequence[Action], most: int = 3) -> str:
    """The first few of some actions, for people."""
    shown = ", ".join(str(action) for action in actions[:most])
    return shown if len(actions) <= most else f"{shown} and {len(actions) - most} more"
