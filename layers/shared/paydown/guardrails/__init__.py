"""Guardrails: may this plan be carried out, now? Pure decisions that explain themselves.

`evaluate` looks at every guard, in the order in which they stand here, and returns all the reasons, not only the first.
What a plan may do is decided the same way for every path: event, schedule, ticket, person, retry and approval. What it
decides is then taken in one transaction by the ledger (`Runs.admit`), which refuses if the facts have changed.
`docs/guardrails.md` tells what to do about each code.

======================  =========  ====================================================================================
code                    calls for  why
======================  =========  ====================================================================================
`stopped`               defer      a switch is on, or cannot be read
`suspended`             defer      faults recurred too often after runs that were verified
`opted_out`             refuse     the target carries the label `paydown.dev/opt-out`
`overridden`            refuse     a person undid or stopped what was done to the target
`escalated`             refuse     several runs in a row did not heal the target: a person has to look
`needs_approval`        hold       the mode is `approve`, or the settings of the toil type want a person
`above_ceiling`         hold       an action's hazard is above the ceiling of the policy
`destructive`           hold       an action can lose data, whatever the policy says
`changed`               hold       the plan differs from what was approved
`frozen`                defer      a freeze of the policy
`outside_window`        defer      none of the maintenance windows is open
`storm`                 defer      more events of the toil type than the policy takes for normal
`cooling_down`          defer      a run acted on the target a moment ago
`backing_off`           defer      a run acted on the target and did not heal it; longer with each in a row
`other_healer`          defer      a native healer of the target has time left
`blast_radius`          defer      too much of the pool would be down
`too_many_at_once`      defer      as many runs as the policy allows are at work
`over_budget`           defer      as many runs as the policy allows were let in within its span of time
`target_busy`           defer      another run holds the lease on the target
======================  =========  ====================================================================================

Of several decisions the strictest counts: refuse, then hold, defer, allow. A run that takes back what another left
half-done meets only the switches, the opt-out and the lease: it brings the world nearer to where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from paydown.guardrails.approval import approval, approved_part, needing_a_person
from paydown.guardrails.crowding import LONGEST_RECHECK, RECHECK, crowded_pool, crowding, patience
from paydown.guardrails.facts import (
    EVERYTHING_SCOPE,
    LINGERING,
    Ending,
    Facts,
    Identity,
    Tally,
    pool_scope,
    target_scope,
    toil_scope,
)
from paydown.guardrails.moment import moment, resting
from paydown.guardrails.standing import OPTED_OUT, escalates, opted_out, recurrences, recurs, standing
from paydown.guardrails.verdict import Decision, Finding, Verdict
from paydown.limits import Freeze, TotalBudget
from paydown.plan import Plan
from paydown.policy import Mode, ToilPolicy

__all__ = [
    "EVERYTHING_SCOPE",
    "LINGERING",
    "LONGEST_RECHECK",
    "OPTED_OUT",
    "RECHECK",
    "Decision",
    "Ending",
    "Facts",
    "Finding",
    "Identity",
    "Tally",
    "Verdict",
    "approved_part",
    "crowded_pool",
    "crowding",
    "effective_mode",
    "escalates",
    "evaluate",
    "needing_a_person",
    "opted_out",
    "patience",
    "pool_scope",
    "recurrences",
    "recurs",
    "resting",
    "target_scope",
    "toil_scope",
]


def effective_mode(policy: ToilPolicy, labels: Mapping[str, str], observing: bool) -> Mode:
    """The mode for a target: what the policy says for its labels, and never more than the deployment allows."""
    return Mode.OBSERVE if observing else policy.for_labels(labels)[0]


def evaluate(
    plan: Plan,
    facts: Facts,
    policy: ToilPolicy,
    now: datetime,
    *,
    total: TotalBudget | None = None,
    freezes: Sequence[Freeze] = (),
) -> Verdict:
    """What the guards say of a plan at `now`; in observe mode, what enforcing would have met.

    `total` and `freezes` are the parts of the policy that all toil types share; a freeze counts if it names this toil
    type, or none.
    """
    return Verdict(tuple(_findings(plan, facts, policy, now, total or TotalBudget(), freezes)))


def _findings(
    plan: Plan, facts: Facts, policy: ToilPolicy, now: datetime, total: TotalBudget, freezes: Sequence[Freeze]
) -> Iterator[Finding]:
    yield from standing(facts, policy, now)
    yield from approval(plan, facts, policy)
    if not facts.undoing:
        yield from moment(facts, policy, freezes, now)
        yield from crowding(facts, policy, total, now)
    if facts.lease is not None:
        # Its expiry is the latest end: most runs give their lease back long before.
        owner, until = facts.lease
        again = min(until, now + patience(facts.run, facts.waited))
        yield Finding("target_busy", f"run {owner} works on this target", Decision.DEFER, again)
