"""Each guard taken out on purpose: the state machine must see which invariant breaks. `docs/proofs.md` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from paydown.events import UndoRequested
from paydown.guardrails import Tally, Verdict, crowding, needing_a_person
from paydown.ledger import Runs
from paydown.ledger.run import Run
from paydown.ledger.tallies import Tallies
from paydown.policy import Mode
from paydown.toil.lookout import Lookout
from paydown.toil.work import Work


@dataclass(frozen=True)
class Mutant:
    """What is broken, which invariants may tell it, and the patch that breaks it; `under` which limit it matters."""

    what: str
    tells: frozenset[str]
    patch: AbstractContextManager[Any]
    under: dict[str, Any] | None = None


def _without_condition(write: Any) -> Any:
    ((kind, inside),) = write.items()
    for name in ("ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"):
        inside.pop(name, None)
    return {kind: inside}


_leasing, _replaced, _put = Runs._leasing, Runs._replaced, Tallies.put
_entered, _create, _take = Tally.entered, Runs.create, Runs.take
_explained = Lookout._explained


def _blind_to_others(facts: Any, *rest: Any) -> Iterator[Any]:
    yield from crowding(replace(facts, toil=Tally(facts.toil.scope, spent=facts.toil.spent)), *rest)


def _blind_to_all(facts: Any, *rest: Any) -> Iterator[Any]:
    everything = Tally(facts.everything.scope, spent=facts.everything.spent)
    yield from crowding(replace(facts, everything=everything), *rest)


def _blind_to_pool(facts: Any, *rest: Any) -> Iterator[Any]:
    yield from crowding(replace(facts, pool=None), *rest)


def _paid_for_ever(facts: Any, *rest: Any) -> Iterator[Any]:
    yield from crowding(replace(facts, paid=True), *rest)


def _crowding(stand_in: Any) -> Any:
    return patch("paydown.guardrails.crowding", stand_in)


@contextmanager
def _both(one: Any, other: Any) -> Iterator[None]:
    with one, other:
        yield


def _asks_once() -> Any:
    """Without what a run at work asks once more, in case the policy has become stricter: it would hide the others."""
    return patch.object(Work, "_asking_now", lambda *_: [])


def _needing_by_name(plan: Any, facts: Any, policy: Any) -> list[Any]:
    names = {identity[:2] for identity in facts.approved}
    return [action for action in needing_a_person(plan, facts, policy) if action.identity[:2] not in names]


def _approved_by_anything(plan: Any, facts: Any, policy: Any) -> Iterator[Any]:
    from paydown.guardrails.approval import approval

    return iter(()) if facts.approved else approval(plan, facts, policy)


def _taken_early(self: Runs, id: str, now: Any, deadline: Any, toil: str | None = None, **options: bool) -> Run | None:
    run = self.get(id)
    later = max(now, run.due) if run is not None and run.due is not None else now
    taken = _take(self, id, later, deadline, toil, **options)
    return taken and replace(taken, updated=now)


def _explained_unless_asked(self: Lookout, stops: list[Any]) -> list[str]:
    asked = isinstance(self.toil.event, UndoRequested) and self.toil.event.by_a_person
    return [] if asked else _explained(self, stops)


def _lease_only(self: Runs, run: Run, now: Any, until: Any, *_: Any) -> Any:
    return {"lease": [_leasing(self, run, now, until)]}


MUTANTS = {
    "lease_ignored": Mutant(
        "nobody looks who holds the lease, and it is written whoever does",
        frozenset({"one lease"}),
        _both(
            patch.object(Runs, "_leasing", lambda self, *rest: _without_condition(_leasing(self, *rest))),
            patch.object(Runs, "holder_in", lambda *_: None),
        ),
    ),
    "row_unconditional": Mutant(
        "the run's row is written without fence and sequence",
        frozenset({"one lease", "one outcome", "unknown result", "a retry pays once", "concurrency"}),
        patch.object(Runs, "_replaced", lambda self, *rest: _without_condition(_replaced(self, *rest))),
    ),
    "tally_unversioned": Mutant(
        "a tally is written though it changed since it was read",
        frozenset({"concurrency", "budget", "blast radius", "a retry pays once"}),
        patch.object(Tallies, "put", lambda self, *rest: _without_condition(_put(self, *rest))),
        under={"budget": {"runs": 1, "window_seconds": 600}},
    ),
    "taken_early": Mutant(
        "a run is taken up though its worker still has time",
        frozenset({"one lease"}),
        patch.object(Runs, "take", _taken_early),
        under={},
    ),
    "deadline_ignored": Mutant(
        "an action begins though it may outlive the lease",
        frozenset({"one lease"}),
        patch("paydown.toil.stage.ACTION_SECONDS", -1_000_000),
    ),
    "clocks_trusted": Mutant(
        "an action may last up to the worker's deadline, though the next worker's clock may be ahead",
        frozenset({"one lease"}),
        patch("paydown.toil.stage.CLOCK_SKEW", timedelta(0)),
        under={},
    ),
    "lease_kept": Mutant(
        "a run that is put off or ends keeps lease and places",
        frozenset({"one lease", "concurrency", "one outcome"}),
        patch.object(Runs, "_leaving", lambda *_: {}),
    ),
    "renewed_without_places": Mutant(
        "a lease is prolonged, and the run's places, which end with it, are not",
        frozenset({"concurrency", "blast radius"}),
        _both(
            patch.object(Runs, "_prolonging", _lease_only),
            patch("paydown.guardrails.facts.LINGERING", timedelta(0)),
        ),
        under={"max_concurrent": 1},
    ),
    "toil_not_counted": Mutant(
        "the runs of the toil type at work are not counted",
        frozenset({"concurrency"}),
        _crowding(_blind_to_others),
        under={"max_concurrent": 1},
    ),
    "total_not_counted": Mutant(
        "the runs of all toil types at work are not counted",
        frozenset({"concurrency"}),
        _crowding(_blind_to_all),
        under={"concurrent": 1},
    ),
    "pool_not_counted": Mutant(
        "targets under remediation do not count as down",
        frozenset({"blast radius"}),
        _crowding(_blind_to_pool),
        under={"blast_radius": {"count": 1, "min_healthy": 0}},
    ),
    "budget_not_asked": Mutant("no run needs a budget", frozenset({"budget"}), _crowding(_paid_for_ever)),
    "pays_always": Mutant(
        "a retry pays again",
        frozenset({"a retry pays once"}),
        patch.object(Tally, "entered", lambda self, *rest, **names: _entered(self, *rest, **{**names, "pays": True})),
    ),
    "pays_never": Mutant(
        "nobody pays",
        frozenset({"a retry pays once", "budget"}),
        patch.object(Tally, "entered", lambda self, *rest, **names: _entered(self, *rest, **{**names, "pays": False})),
    ),
    "switches_unread": Mutant(
        "the switches are not asked before an action",
        frozenset({"a stop stops"}),
        patch.object(Lookout, "stops", lambda self: []),
        under={},
    ),
    "undoes_in_spite_of_all": Mutant(
        "what a person wants taken back is stopped by no switch",
        frozenset({"a stop stops"}),
        patch.object(Lookout, "_explained", _explained_unless_asked),
        under={},
    ),
    "expiry_ignored": Mutant(
        "a held plan may be approved after its time",
        frozenset({"approval"}),
        _both(patch("paydown.approving.expires", lambda *_: datetime.max.replace(tzinfo=UTC)), _asks_once()),
        under={"mode": "approve"},
    ),
    "approved_by_name": Mutant(
        "an approval covers verb and object, whatever became of precondition and hazard",
        frozenset({"approval"}),
        _both(patch("paydown.guardrails.approval.needing_a_person", _needing_by_name), _asks_once()),
    ),
    "approved_by_anything": Mutant(
        "an approval of one plan covers every other",
        frozenset({"approval"}),
        _both(patch("paydown.guardrails.approval", _approved_by_anything), _asks_once()),
    ),
    "observe_enforces": Mutant(
        "observe is taken for enforce",
        frozenset({"observe"}),
        patch.object(Work, "mode", lambda *_: Mode.ENFORCE),
    ),
    "repeats_the_unknown": Mutant(
        "an action that must not be repeated is repeated after a crash",
        frozenset({"unknown result"}),
        patch("tests.properties.machines.Reboot.repeatable", new=True),
        under={},
    ),
    "never_due": Mutant(
        "nobody looks after a run whose worker died",
        frozenset({"one outcome"}),
        patch.object(
            Runs,
            "create",
            lambda self, toil, target, ref, event, now, deadline, *rest: _create(
                self, toil, target, ref, event, now, deadline + timedelta(days=365), *rest
            ),
        ),
    ),
    "verdict_forgotten": Mutant(
        "a run is let in before the guards are asked",
        frozenset({"approval", "concurrency", "budget", "blast radius"}),
        _both(patch.object(Work, "_verdict", lambda *_: Verdict()), _asks_once()),
    ),
}
