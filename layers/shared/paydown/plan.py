"""Plans: what would be done, to what, how dangerous it is, and what came of it.

A toil type drafts; the contract turns the draft into a `Plan`, which is immutable and has a fingerprint. The same
object is previewed, approved and executed.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class Hazard(enum.StrEnum):
    """How much harm an action can do; ordered from harmless to harmful by `rank`."""

    NONE = "none"
    """Reads and reports."""
    REVERSIBLE = "reversible"
    """Has an `undo` in code, tested."""
    DISRUPTIVE = "disruptive"
    """Interrupts work, or cannot be restored byte for byte."""
    DESTRUCTIVE = "destructive"
    """Can lose data."""

    @property
    def rank(self) -> int:
        """0 for the most harmless."""
        return list(Hazard).index(self)


class Action(BaseModel):
    """One step on one object, at most 30 s long.

    A subclass is a verb (`RemoveImage` is `remove_image`), gives the `object` that it acts on and a `precondition`: a
    fact that the action itself makes false (the image is present, the node's boot id). `apply` looks at it as near to
    the object as it can. `hazard` has a default in the class and may be raised for one object. `asks`: a person
    approves it, whatever mode and ceiling say. `note` explains; like sizes and times it is not in the fingerprint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    repeatable: ClassVar[bool] = True
    """False: when its result is unknown after a crash, a person decides, since doing it twice does harm."""
    takes_back: ClassVar[str] = ""
    """The verb whose effect on the same object this action ends: after both, nothing is left half-done."""

    object: str
    precondition: str
    hazard: Hazard
    asks: bool = False
    note: str = ""

    @classmethod
    def verb(cls) -> str:
        """The class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        """The verb and the object, for people."""
        return f"{self.verb()} {self.object}"

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What the fingerprint and an approval bind to: verb, object, precondition, hazard."""
        return self.verb(), self.object, self.precondition, self.hazard.value


@dataclass(frozen=True)
class Draft:
    """What a toil type's `plan` returns: actions in stages, and what it measured `before`, for `verify` to compare.

    The actions of one stage may run in parallel; a stage starts when the one before it has ended. A draft without
    actions ends the run, and `why` says so. What it ends with is the `code`: `nothing_to_do` means that nothing is
    wrong; `opted_out` (a person marked the target) and `left_to_others` that something is, and is not ours to mend;
    `invalid_settings` that it cannot be done as policy and inventory stand.
    """

    stages: Sequence[Sequence[Action]] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    why: str = "nothing to do"
    code: Literal["nothing_to_do", "opted_out", "left_to_others", "invalid_settings"] = "nothing_to_do"

    @classmethod
    def of(cls, *stages: Iterable[Action], why: str = "nothing to do", **before: Any) -> Draft:
        """A draft of these stages; empty ones are dropped. `before` must be plain JSON data."""
        kept = tuple(actions for stage in stages if (actions := tuple(stage)))
        return cls(kept, before, why)


@dataclass(frozen=True)
class Plan:
    """The actions for one target, in stages. Immutable; equal fingerprints mean that the same thing would be done."""

    stages: tuple[tuple[Action, ...], ...]
    before: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_draft(cls, draft: Draft) -> Plan:
        """The draft in canonical order: the actions of a stage are sorted by identity, and each stands there once."""
        stages = []
        for stage in draft.stages:
            unique = {action.identity: action for action in stage}
            stages.append(tuple(unique[identity] for identity in sorted(unique)))
        return cls(tuple(stages), draft.before)

    @property
    def actions(self) -> tuple[Action, ...]:
        """All the actions, stage after stage."""
        return tuple(action for stage in self.stages for action in stage)

    @property
    def hazard(self) -> Hazard:
        """The worst of its actions; NONE when it has none."""
        return max((action.hazard for action in self.actions), key=lambda hazard: hazard.rank, default=Hazard.NONE)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over stages of (verb, object, precondition, hazard), not over sizes, times or explanations."""
        identities = [[action.identity for action in stage] for stage in self.stages]
        return hashlib.sha256(json.dumps(identities, separators=(",", ":")).encode()).hexdigest()

    def only(self, identities: Iterable[tuple[str, str, str, str]]) -> Plan:
        """The part of this plan that consists of the actions with these identities."""
        wanted = set(identities)
        kept = tuple(tuple(action for action in stage if action.identity in wanted) for stage in self.stages)
        return Plan(tuple(stage for stage in kept if stage), self.before)


@dataclass(frozen=True)
class Done:
    """`apply` did it. The evidence is plain JSON data for the journal, without secrets."""

    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Moot:
    """`apply` did nothing, because the precondition no longer holds (or the object refuses for good)."""

    why: str


@dataclass(frozen=True)
class NotYet:
    """Wait, and look again at `until`: of `plan` (too early to tell), `apply` (not now) and `verify` (not finished)."""

    until: datetime
    why: str


@dataclass(frozen=True)
class Overridden:
    """A person undid or stopped this on purpose: of `plan` and `apply`.

    Nothing more is done, and the target is left alone for the policy's `override_seconds`.
    """

    why: str


@dataclass(frozen=True)
class Verified:
    """`verify` read the world again, and it is as it should be.

    `evidence` is what it saw, in plain JSON data; numbers under `saved` are booked in the debt account.
    """

    evidence: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unverified:
    """`verify` read the world again, and it is not as it should be."""

    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


Applied = Done | Moot | NotYet | Overridden
Undone = Done | Moot
Seen = Verified | Unverified | NotYet


class StepState(enum.StrEnum):
    """Where one action stands in the journal. STARTED without an end means that its result is unknown."""

    PLANNED = "planned"
    STARTED = "started"
    DONE = "done"
    MOOT = "moot"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self in (StepState.DONE, StepState.MOOT, StepState.FAILED)


@dataclass(frozen=True)
class Step:
    """One action and what came of it."""

    index: int
    stage: int
    action: Action
    state: StepState = StepState.PLANNED
    evidence: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Record:
    """What `verify` may know of the run: what was measured before, and each step."""

    before: Mapping[str, Any]
    steps: Sequence[Step]
    applied_at: datetime

    def done(self) -> list[Step]:
        """The steps whose action was carried out."""
        return [step for step in self.steps if step.state is StepState.DONE]


def left_behind(steps: Sequence[Step]) -> list[Step]:
    """What reversible steps left half-done, the last one first: those which no later step on their object took back.

    A step whose result is unknown may have happened: it counts as left, and does not count as having taken back.
    """
    left: list[Step] = []
    for step in steps:
        if step.state is StepState.STARTED and step.action.hazard is Hazard.REVERSIBLE and not step.action.takes_back:
            left.append(step)
        if step.state is not StepState.DONE:
            continue
        action = step.action
        taken_back = [
            one for one in left if (one.action.verb(), one.action.object) == (action.takes_back, action.object)
        ]
        left = [one for one in left if one not in taken_back]
        if action.hazard is Hazard.REVERSIBLE and not action.takes_back:
            left.append(step)
    return left[::-1]


@dataclass(frozen=True)
class Population:
    """The pool that a target belongs to: its name, how many members it has, and the uids of those that are down."""

    pool: str
    total: int
    unhealthy: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Healer:
    """A native healer that looks after the target, by its kind (as in `Healers` of the policy).

    `since` is when it may have begun with the present fault.
    """

    kind: str
    since: datetime
