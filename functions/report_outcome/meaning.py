"""What a change of a run means for the findings: what is seen, and what is over. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from functions.report_outcome.report import NEEDS_A_PERSON, RECURRED
from paydown.events import RemediationChanged
from paydown.ledger import Outcome, Status
from paydown.ledger.findings import Identity, Sighting, order_of
from paydown.policy import Policy

TRIAGE = "triage_ticket"
"""Its runs are about the ticket itself; the run that it asked for is what the ticket is told about."""
UNDOING = "UndoRequested"
"""The rule of runs that take back what others left: neither a storm nor a suspension keeps them."""
RUN_ID = re.compile(r"\b[0-9a-f]{32}(?:-[1-9][0-9]{0,8})?\b")

SEEN = frozenset(map(str, (*Outcome, Status.HELD))) - {Outcome.VERIFIED, Outcome.SKIPPED}
"""Statuses which mean that something is wrong with the target."""
OF_THE_TOIL = ("storm", "suspended")
"""Reasons that are no fault of one target."""


@dataclass(frozen=True)
class Meaning:
    """What one change means. `identity` and `order` are its own, `over` says why its finding is not there any more.

    `calmed`: findings of the toil type that are over, since a run was let in. `counted`: it goes into the digest.
    """

    identity: Identity
    order: str
    sightings: tuple[Sighting, ...] = ()
    over: str = ""
    calmed: tuple[Identity, ...] = ()
    counted: bool = False

    @property
    def nothing(self) -> bool:
        """Whether nobody has to know of it, in any way."""
        return not (self.sightings or self.over or self.calmed or self.counted)


def meaning_of(change: RemediationChanged, policy: Policy, tell: Callable[[str], str], earlier: str = "") -> Meaning:
    """What a change means. `tell` makes the text of a label; `earlier` is the ticket of the run before a recurrence."""
    identity = Identity(change.toil, change.target, change.rule)
    order = order_of(change.at, change.sequence or int(change.key.rpartition("#")[2] or 0), change.run_id)
    codes = {code for code, _ in change.reasons}
    joined = change.status == Outcome.SKIPPED and "joined" in codes
    sightings = [*_own(change, policy, identity, order, tell, earlier), *_of_the_toil(change, policy, order, tell)]
    over = ""
    if change.status == Outcome.VERIFIED:
        over = f"run {change.run_id} was verified."
    elif change.status == Outcome.SKIPPED and "nothing_to_do" in codes:
        over = f"run {change.run_id} found nothing to do."
    calmed: list[Identity] = []
    if change.status == Status.APPLYING and change.rule != UNDOING:
        calmed = [_toil_identity(change, code) for code in OF_THE_TOIL if code not in codes]
    counted = (change.status in set(Outcome) and not joined) or change.status == Status.HELD
    return Meaning(identity, order, tuple(sightings), over, tuple(calmed), counted)


def asked(change: RemediationChanged) -> str:
    """The ticket (`tracker/id`) that wants to know of this run."""
    if change.ticket is None or change.toil == TRIAGE:
        return ""
    return f"{change.ticket.tracker}/{change.ticket.id}"


def named_runs(change: RemediationChanged) -> list[str]:
    """The other runs that the reasons name, in order."""
    found = [run for _, text in change.reasons for run in RUN_ID.findall(text)]
    return [run for run in dict.fromkeys(found) if run != change.run_id]


def recurred(change: RemediationChanged) -> bool:
    """Whether the run works on a fault that came back."""
    return change.status == Status.APPLYING and any(code == RECURRED for code, _ in change.reasons)


def _own(
    change: RemediationChanged,
    policy: Policy,
    identity: Identity,
    order: str,
    tell: Callable[[str], str],
    earlier: str,
) -> list[Sighting]:
    notifications = policy.notifications
    tickets = tuple(filter(None, (asked(change),)))
    if recurred(change):
        tickets = tickets or tuple(filter(None, (earlier,)))
        seen = Sighting(identity, order, change.at, RECURRED, change.run_id, tell(RECURRED), tickets, reopens=True)
        return [seen]
    if change.status not in SEEN:
        return []
    codes = [code for code, _ in change.reasons if code in NEEDS_A_PERSON and code not in OF_THE_TOIL]
    label = codes[0] if codes else change.status
    return [
        Sighting(
            identity,
            order,
            change.at,
            label,
            change.run_id,
            tell(label),
            tickets,
            speaks=bool(codes) or change.status in notifications.at_once,
            wants_ticket=bool(codes) and notifications.tracker is not None,
        )
    ]


def _of_the_toil(change: RemediationChanged, policy: Policy, order: str, tell: Callable[[str], str]) -> list[Sighting]:
    if change.status == Outcome.OBSERVED:  # what enforcing would have met is no news of this moment
        return []
    storm = policy.toil(change.toil).storm
    calm = timedelta(seconds=storm.window_seconds + storm.cool_down_seconds)
    return [
        Sighting(
            _toil_identity(change, code),
            order,
            change.at,
            code,
            change.run_id,
            tell(code),
            speaks=True,
            wants_ticket=policy.notifications.tracker is not None,
            coarse=True,
            calm_after=calm if code == "storm" else None,
        )
        for code in dict.fromkeys(code for code, _ in change.reasons if code in OF_THE_TOIL)
    ]


def _toil_identity(change: RemediationChanged, code: str) -> Identity:
    return Identity(change.toil, f"toil/{change.toil}", code)
