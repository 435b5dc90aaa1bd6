"""What people need to know to decide on a plan that waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.report_outcome.links import link_to_plan
from paydown.approving import expires
from paydown.events import RemediationChanged
from paydown.ledger import Ledger, Run, Status
from paydown.ledger.finding import Finding, same_plan
from paydown.policy import Policy


@dataclass(frozen=True)
class Hold:
    """A plan that waits for a person: its `steps` as the journal tells them, until when somebody decides, and who may.

    `link`: the address of the page that shows it, and what to call that. `by_comment`: a ticket tells of it.
    """

    steps: tuple[Mapping[str, Any], ...]
    until: datetime
    approvers: tuple[str, ...]
    link: tuple[str, str] | None
    by_comment: bool


def is_past(change: RemediationChanged, run: Run | None) -> bool:
    """Whether the run, as it is by now, has left the status that the change tells of."""
    return run is not None and not change.key.endswith(f"LOG#{run.sequence:06}")


def past_holds(ledger: Ledger, finding: Finding | None, hold: str) -> frozenset[str]:
    """The holds of the same plan as `hold` that were told, and of which the run has left that hold since."""
    past = set()
    for key in finding.told if finding is not None else ():
        if same_plan(key, hold):
            _, _, id, sequence = key.split("/")
            run = ledger.runs.get(id)
            if run is not None and run.sequence != int(sequence):
                past.add(key)
    return frozenset(past)


def hold_of(ledger: Ledger, policy: Policy, change: RemediationChanged, run: Run | None, now: datetime) -> Hold | None:
    """What to tell of a held run; None of one that is not held."""
    if change.status != Status.HELD:
        return None
    steps = (one for one in ledger.journal.items(change.run_id) if one["plan"] == change.plan_number)
    latest = change.at + timedelta(seconds=policy.toil(change.toil).hold_seconds)
    return Hold(
        steps=tuple(steps),
        until=expires(policy, run) if run is not None else latest,
        approvers=tuple(person.name for person in policy.approvers_of(change.toil)),
        link=link_to_plan(change, now),
        by_comment=change.ticket is not None or policy.notifications.tracker is not None,
    )
