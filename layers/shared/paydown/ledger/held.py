"""Held runs as people are shown them: the plan as it will be executed, and how it differs from what was approved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paydown.approving import choose, named_by
from paydown.events import TicketRef
from paydown.ledger.approvals import Decision
from paydown.ledger.run import Run, Status

if TYPE_CHECKING:
    from paydown.ledger import Ledger

MOST = 20_000
"""Living runs of one shard that a search for held ones reads at the most."""

Action = Mapping[str, Any]
"""An action as the journal tells it: `stage`, `verb`, `object`, `precondition`, `hazard`, `note`, `state`, …"""


@dataclass(frozen=True)
class ShownPlan:
    """Plan `number` of a run: its actions in order, and the decision on it, if there is one.

    `approved_before` is what a person approved of an earlier plan of this run; then `new` holds the identities of the
    actions that were no part of that, and `gone` those actions of it that do not apply any more.
    """

    run: Run
    number: int
    actions: tuple[Action, ...]
    decision: Decision | None = None
    approved_before: Decision | None = None
    new: frozenset[tuple[str, ...]] = frozenset()
    gone: tuple[Action, ...] = ()

    @property
    def current(self) -> bool:
        """Whether this is the plan that the run is held with."""
        return self.run.status is Status.HELD and self.number == self.run.plan_number

    @property
    def stages(self) -> list[list[Action]]:
        """The actions, stage by stage."""
        stages: dict[int, list[Action]] = {}
        for action in self.actions:
            stages.setdefault(action["stage"], []).append(action)
        return [stages[stage] for stage in sorted(stages)]

    def is_new(self, action: Action) -> bool:
        """Whether something else was approved before, and this action was no part of it."""
        return identity(action) in self.new


def identity(action: Action) -> tuple[str, ...]:
    """What fingerprint and approval bind to."""
    return action["verb"], action["object"], action["precondition"], action["hazard"]


def shown_plan(ledger: Ledger, run: Run, number: int | None = None) -> ShownPlan:
    """Plan `number` of a run, or its newest, for people."""
    number = number or run.plan_number
    plans: dict[int, list[Action]] = {}
    for step in ledger.journal.items(run.id):
        plans.setdefault(step["plan"], []).append(step)
    actions = tuple(plans.get(number, ()))
    decisions = ledger.approvals.all(run)
    on_it = next((one for one in decisions if one.plan_number == number), None)
    before = next((one for one in decisions if one.plan_number < number), None)
    if before is None or not before.approved:
        return ShownPlan(run, number, actions, on_it)
    approved = plans.get(before.plan_number, [])
    known, wanted = {identity(one) for one in approved}, {identity(one) for one in actions}
    executed = {identity(one) for done in run.executed for one in plans.get(done, ())}
    gone = tuple(one for one in approved if identity(one) not in wanted | executed)
    return ShownPlan(run, number, actions, on_it, before, frozenset(wanted - known), gone)


def held_runs(ledger: Ledger) -> Iterator[Run]:
    """The runs that are held, in no order. The index is a moment behind; each row is read consistently."""
    for row in ledger.runs.alive(MOST):
        if row["status"] == Status.HELD:
            run = ledger.runs.get(row["id"])
            if run is not None and run.status is Status.HELD:
                yield run


def held_with(ledger: Ledger, fingerprint: str, ticket: TicketRef, same: Sequence[str]) -> Run:
    """The held run that a comment on `ticket` means by this (beginning of a) fingerprint.

    `same`: the names by which runs may know the ticket's tracker. Raises Refused.
    """
    found = {run.id: run for run in held_runs(ledger) if named_by(run.fingerprint, fingerprint)}
    return found[choose([(id, _as_named(run.ticket, ticket, same)) for id, run in found.items()], ticket)]


def _as_named(asked: TicketRef | None, ticket: TicketRef, same: Sequence[str]) -> TicketRef | None:
    if asked is not None and asked.tracker in same and asked.id == ticket.id:
        return ticket
    return asked
