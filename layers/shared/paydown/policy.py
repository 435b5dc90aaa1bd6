"""The policy: every setting that a user may tune, in one document that is refused as a whole when a part is wrong.

Plain JSON, checked against these models and published as an immutable version. A toil type that the policy does not
name is not acted on. The `settings` of a toil type are checked against that type's own `Settings`.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from paydown.errors import InvalidDocument
from paydown.plan import Hazard

ToilName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,62}$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Mode(enum.StrEnum):
    """How far a toil type may go."""

    OBSERVE = "observe"
    """Plan and report; change nothing."""
    APPROVE = "approve"
    """Each plan that would change something waits for a person."""
    ENFORCE = "enforce"
    """Act, within the guardrails."""

    @property
    def rank(self) -> int:
        """0 for the most careful mode."""
        return list(Mode).index(self)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Override(_Model):
    """Other limits for the targets that carry all of `labels`; the first override that matches counts."""

    labels: Annotated[dict[str, str], Field(min_length=1)]
    mode: Mode | None = None
    ceiling: Hazard | None = None


class ToilPolicy(_Model):
    """What one toil type may do.

    `ceiling` is the worst hazard that needs no person. `lease_seconds`: how long a lease lasts past the moment at which
    its run is due again. `hold_seconds`: how long a held plan waits for a person. `defer_seconds`: the longest that a
    run may be put off. `wait_seconds`: the longest that it may wait for an action or for its verification.
    `max_attempts`: how often trouble outside is retried. `cool_down_seconds`: how long a fault that goes on after a
    run which did not heal it is left alone. `minutes_saved`: of a person's work, booked for each verified run.
    """

    mode: Mode = Mode.OBSERVE
    ceiling: Hazard = Hazard.REVERSIBLE
    overrides: tuple[Override, ...] = ()
    lease_seconds: Annotated[int, Field(ge=60, le=86_400)] = 300
    hold_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    defer_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    wait_seconds: Annotated[int, Field(ge=1, le=604_800)] = 7_200
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 6
    cool_down_seconds: Annotated[int, Field(ge=60, le=604_800)] = 300
    minutes_saved: Annotated[int, Field(ge=0, le=10_000)] = 0
    settings: dict[str, Any] = Field(default_factory=dict)

    def for_labels(self, labels: dict[str, str]) -> tuple[Mode, Hazard]:
        """Mode and hazard ceiling for a target with these labels."""
        for override in self.overrides:
            if override.labels.items() <= labels.items():
                return override.mode or self.mode, override.ceiling or self.ceiling
        return self.mode, self.ceiling


class TicketRule(_Model):
    """When a ticket is about a toil type, and which target it names.

    `title` and `text` are regular expressions that must be found (ignoring case) in the ticket; `target` is a ref such
    as `host/{target}` or `node/prod/{target}`, where `{target}` is the group of that name in one of the two.
    """

    name: ToilName
    toil: ToilName
    target: Annotated[str, StringConstraints(pattern=r"^(host|node|cluster)/.{1,200}$")]
    tracker: Annotated[str, StringConstraints(max_length=255)] | None = None
    title: Expression | None = None
    text: Expression | None = None
    creators: tuple[str, ...] | None = None

    @field_validator("title", "text")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
        return value


class TicketPolicy(_Model):
    """How tickets are matched: the first rule that matches counts."""

    rules: tuple[TicketRule, ...] = ()


class Policy(_Model):
    """The whole document. `retention_days`: how long ended runs and their journals are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Paydown policy")

    schema_version: Literal[1] = 1
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = 400
    toils: dict[ToilName, ToilPolicy] = Field(default_factory=dict)
    tickets: TicketPolicy = TicketPolicy()

    @classmethod
    def parse(cls, document: Any) -> Policy:
        """The policy in plain JSON data. Raises InvalidDocument with the path of every fault."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InvalidDocument.from_validation("policy", error) from None
