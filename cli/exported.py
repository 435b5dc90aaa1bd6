"""One run as `paydown export` tells it: the models that make each line, and its published schema.

Times are ISO 8601 in UTC. New members may be added within a schema version; none changes its meaning or goes away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Why(_Part):
    """A reason: a stable code, and an explanation for people."""

    code: str
    text: str


class Target(_Part):
    """What the run was about: what the inventory called it, and its uid."""

    ref: str
    uid: str


class Cause(_Part):
    """The event that caused the run, whole; `type` is its detail-type."""

    type: str
    key: str
    detail: Mapping[str, Any]


class Transition(_Part):
    """An entry of the run's log."""

    sequence: int
    at: str
    status: str
    reasons: tuple[Why, ...]
    plan_number: int
    fingerprint: str | None
    evidence: Mapping[str, Any]


class Step(_Part):
    """An action of a plan, and what became of it. Actions of the same stage may be done at the same time."""

    stage: int
    verb: str
    object: str
    precondition: str
    hazard: str
    note: str
    state: str
    why: str
    evidence: Mapping[str, Any]
    at: str


class PlanMade(_Part):
    """A plan that the run made; `executed` if it was begun."""

    number: int
    executed: bool
    steps: tuple[Step, ...]


class Decided(_Part):
    """What a person decided about a plan; `proof` is how they were authenticated."""

    approved: bool
    by: str
    at: str
    plan_number: int
    fingerprint: str
    why: str
    proof: str = ""


class ExportedRun(_Part):
    """A run with everything that the ledger keeps of it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    toil: str
    target: Target
    status: str = Field(description="where it stands, or how it ended")
    ended: bool
    event: Cause
    attempt: int = Field(description="which attempt at the same fault it is, from 1")
    tries: int
    created: str
    updated: str | None
    due: str | None
    applied_at: str | None
    mode: str | None
    hazard: str | None
    fingerprint: str | None
    policy_version: int
    reasons: tuple[Why, ...]
    before: Mapping[str, Any] = Field(description="what was measured before anything was done")
    evidence: Mapping[str, Any]
    log: tuple[Transition, ...]
    plans: tuple[PlanMade, ...]
    decisions: tuple[Decided, ...]
