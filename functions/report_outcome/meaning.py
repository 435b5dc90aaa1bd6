"""What a change of a run means for the findings: what is seen, and what is over. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from functions.report_outcome.pools import CROWDED
from functions.report_outcome.report import NEEDS_A_PERSON, RECURRED, joined
from paydown.events import RemediationChanged
from paydown.guardrails import crowded_pool, pool_scope
from paydown.ledger import Outcome, Status
from paydown.ledger.finding import hold_key
from paydown.ledger.findings import Identity, Sighting, order_of
from paydown.policy import Policy

UNDOING = "UndoRequested"
"""The rule of runs that take back what others left: neither a storm nor a suspension keeps them."""
RUN_ID = re.compile(r"\b[0-9a-f]{32}(?:-[1-9][0-9]{0,8})?\b")

SEEN = frozenset(map(str, (*Outcome, Status.HELD))) - {Outcome.VERIFIED, Outcome.SKIPPED}
"""Statuses which mean that something is wrong with the target."""
OF_THE_TOIL = ("storm", "suspended")
"""Reasons that are no fault of one target."""
WIDE = (*OF_THE_TOIL, CROWDED)


@dataclass(frozen=True)
class Meaning:
    """What one change means. `identity` and `order` are its own, `over` says why its finding is not there any more.

    `calmed`: findings of the toil type or a pool that are over, since a run was let in. `counted`: it goes into the
    digest.
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


def meaning_of(
    change: RemediationChanged,
    policy: Policy,
    tell: Callable[[str], str],
    asked: Sequence[str] = (),
    earlier: Sequence[str] = (),
    entered: Iterable[str] = (),
) -> Meaning:
    """What a change means. `tell` makes the text of a label.

    `asked`: the tickets (`tracker/id`) that want to know of the run, `earlier`: those of the run before a recurrence.

    `entered`: the scopes in which the run has places, once it was let in: among them its pool.
    """
    identity = Identity(change.toil, change.target, change.rule)
    order = order_of(change.at, change.sequence or int(change.key.rpartition("#")[2] or 0), change.run_id)
    codes = {code for code, _ in change.reasons}
    tickets = tuple(asked) or (tuple(earlier) if recurred(change) else ())
    sightings = [*_own(change, policy, identity, order, tell, tickets), *_wide(change, policy, order, tell)]
    over = ""
    if change.status == Outcome.VERIFIED:
        over = f"run {change.run_id} was verified."
    elif change.status == Outcome.SKIPPED and "nothing_to_do" in codes:
        over = f"run {change.run_id} found nothing to do."
    calmed: list[Identity] = []
    if change.status == Status.APPLYING and change.rule != UNDOING:
        calmed = [_toil_identity(change, code) for code in OF_THE_TOIL if code not in codes]
        calmed += [Identity(change.toil, scope, CROWDED) for scope in entered if scope.startswith(pool_scope(""))]
    counted = (change.status in set(Outcome) and not joined(change)) or change.status == Status.HELD
    return Meaning(identity, order, tuple(sightings), over, tuple(calmed), counted)


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
    tickets: tuple[str, ...],
) -> list[Sighting]:
    notifications = policy.notifications
    if recurred(change):
        seen = Sighting(identity, order, change.at, RECURRED, change.run_id, tell(RECURRED), tickets, reopens=True)
        return [seen]
    if change.status not in SEEN:
        return []
    codes = [code for code, _ in change.reasons if code in NEEDS_A_PERSON and code not in WIDE]
    label = codes[0] if codes else change.status
    held = change.status == Status.HELD
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
            # To be decided on by a comment, a plan needs a ticket: that of who asked, or one of its own.
            wants_ticket=(bool(codes) or (held and not tickets)) and notifications.tracker is not None,
            asks=held,
            hold=hold_key(change.fingerprint, change.run_id, change.sequence) if held else "",
        )
    ]


def _wide(change: RemediationChanged, policy: Policy, order: str, tell: Callable[[str], str]) -> list[Sighting]:
    """What is wrong with more than one target: with the toil type, or with a pool."""
    if change.status == Outcome.OBSERVED:  # what enforcing would have met is no news of this moment
        return []
    storm = policy.toil(change.toil).storm
    calm = timedelta(seconds=storm.window_seconds + storm.cool_down_seconds)
    identities = {code: _toil_identity(change, code) for code, _ in change.reasons if code in OF_THE_TOIL}
    identities |= {code: _pool_identity(change, text) for code, text in change.reasons if code == CROWDED}
    return [
        Sighting(
            identity,
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
        for code, identity in identities.items()
    ]


def _toil_identity(change: RemediationChanged, code: str) -> Identity:
    return Identity(change.toil, f"toil/{change.toil}", code)


def _pool_identity(change: RemediationChanged, text: str) -> Identity:
    pool = crowded_pool(text)
    return Identity(change.toil, pool_scope(pool) if pool else change.target, CROWDED)
