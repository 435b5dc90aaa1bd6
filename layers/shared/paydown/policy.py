"""The policy: every setting that a user may tune, in one document that is refused as a whole when a part is wrong.

Plain JSON, checked against these models and published as an immutable version. A toil type that the policy does not
name is not acted on. The `settings` of a toil type are checked against that type's own `Settings`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from paydown.errors import InvalidDocument
from paydown.limits import (
    BlastRadius,
    Budget,
    Escalation,
    Freeze,
    Healers,
    Model,
    Person,
    Recurrence,
    Storm,
    TotalBudget,
    Window,
)
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


class Override(Model):
    """Other limits for the targets that carry all of `labels`; the first override that matches counts."""

    labels: Annotated[dict[str, str], Field(min_length=1)]
    mode: Mode | None = None
    ceiling: Hazard | None = None


class ToilPolicy(Model):
    """What one toil type may do.

    `ceiling` is the worst hazard that needs no person. `lease_seconds`: how long a lease lasts past the moment at which
    its run is due again. `hold_seconds`: how long a held plan waits for a person. `defer_seconds`: the longest that a
    run may be put off. `wait_seconds`: the longest that it may wait for an action or for its verification.
    `max_attempts`: how often trouble outside is retried. `cool_down_seconds`: how long a target is left alone after a
    run acted on it, and a fault that goes on after a run which did not heal it; doubled with each failure in a row, up
    to `back_off_seconds`. `max_concurrent`: how many targets it may work on at once. `windows`: when it may begin; any
    time if there are none. `override_seconds`: how long a target is left alone after a person undid what was done to
    it. `approvers` names people of the policy who may decide on its plans. `minutes_saved`: of a person's work, booked
    for each verified run.
    """

    mode: Mode = Mode.OBSERVE
    ceiling: Hazard = Hazard.REVERSIBLE
    overrides: tuple[Override, ...] = ()
    approvers: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    blast_radius: BlastRadius = Field(default_factory=BlastRadius.model_construct)
    max_concurrent: Annotated[int, Field(ge=0, le=200)] = 5
    budget: Budget = Field(default_factory=Budget.model_construct)
    storm: Storm = Field(default_factory=Storm.model_construct)
    escalation: Escalation = Field(default_factory=Escalation.model_construct)
    recurrence: Recurrence = Field(default_factory=Recurrence.model_construct)
    healers: Healers = Field(default_factory=Healers.model_construct)
    lease_seconds: Annotated[int, Field(ge=60, le=86_400)] = 300
    hold_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    defer_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    wait_seconds: Annotated[int, Field(ge=1, le=604_800)] = 7_200
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 6
    cool_down_seconds: Annotated[int, Field(ge=0, le=604_800)] = 300
    back_off_seconds: Annotated[int, Field(ge=0, le=604_800)] = 3_600
    override_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    minutes_saved: Annotated[int, Field(ge=0, le=10_000)] = 0
    settings: dict[str, Any] = Field(default_factory=dict)

    def for_labels(self, labels: Mapping[str, str]) -> tuple[Mode, Hazard]:
        """Mode and hazard ceiling for a target with these labels."""
        for override in self.overrides:
            if override.labels.items() <= labels.items():
                return override.mode or self.mode, override.ceiling or self.ceiling
        return self.mode, self.ceiling


class TicketRule(Model):
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


class TicketPolicy(Model):
    """How tickets are matched: the first rule that matches counts."""

    rules: tuple[TicketRule, ...] = ()


class Notifications(Model):
    """Who is told what, beside tickets.

    What needs a person at once (`Held`, `Failed`, `Unverified`, suspension, escalation, a storm) goes to the SNS topic
    of the deployment and to each of `webhooks`: names of secrets that hold `{"url": …}` of a Slack-compatible webhook.
    The rest goes into a digest at `digest_hour` UTC. `tracker` is where tickets are opened for what nobody asked for.
    `at_once` replaces the statuses that speak at once. A finding that nobody has reported for `stale_days` is closed.
    """

    tracker: Annotated[str, StringConstraints(max_length=255)] | None = None
    webhooks: tuple[Annotated[str, StringConstraints(min_length=1, max_length=255)], ...] = ()
    at_once: tuple[Literal["Held", "Failed", "Unverified", "Refused", "Rejected", "Verified", "Observed"], ...] = (
        "Held",
        "Failed",
        "Unverified",
    )
    digest_hour: Annotated[int, Field(ge=0, le=23)] = 6
    stale_days: Annotated[int, Field(ge=1, le=365)] = 30


class SourcePolicy(Model):
    """What is expected of a sender: that it is heard of at least every `expect_every_seconds`."""

    expect_every_seconds: Annotated[int, Field(ge=60, le=31_536_000)]


class Policy(Model):
    """The whole document.

    `retention_days`: how long ended runs and their journals are kept. `budget` bounds all toil types together.
    `people` are those who may be named as approvers; `approvers` decide where a toil type names none of its own: nobody
    does if neither does. `freezes`: when nothing is begun. `sources`: the senders whose silence is a fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, title="Paydown policy")

    schema_version: Literal[1] = 1
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = 400
    people: tuple[Person, ...] = ()
    approvers: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    budget: TotalBudget = Field(default_factory=TotalBudget.model_construct)
    toils: dict[ToilName, ToilPolicy] = Field(default_factory=dict)
    tickets: TicketPolicy = Field(default_factory=TicketPolicy.model_construct)
    notifications: Notifications = Field(default_factory=Notifications.model_construct)
    sources: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")], SourcePolicy] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _knows_its_people(self) -> Policy:
        names = [person.name for person in self.people]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"people: {', '.join(sorted(twice))} stands there twice")
        listed = {"approvers": self.approvers} | {
            f"toils.{name}.approvers": toil.approvers for name, toil in self.toils.items()
        }
        for path, approvers in listed.items():
            if unknown := [name for name in approvers if name not in names]:
                raise ValueError(f"{path}: {', '.join(unknown)} is not among the people")
        return self

    @model_validator(mode="after")
    def _freezes_what_there_is(self) -> Policy:
        for number, freeze in enumerate(self.freezes):
            if unknown := [name for name in freeze.toils or () if name not in self.toils]:
                raise ValueError(f"freezes.{number}.toils: {', '.join(unknown)} is not among the toils")
        return self

    def toil(self, name: str) -> ToilPolicy:
        """What a toil type may do: it only observes if the policy does not name it."""
        return self.toils.get(name, ToilPolicy())

    def freezes_of(self, toil: str) -> tuple[Freeze, ...]:
        """The freezes that a toil type is under."""
        return tuple(freeze for freeze in self.freezes if freeze.toils is None or toil in freeze.toils)

    def approvers_of(self, toil: str) -> tuple[Person, ...]:
        """The people who may decide on the plans of a toil type."""
        names = self.toil(toil).approvers or self.approvers
        return tuple(person for person in self.people if person.name in names)

    @classmethod
    def parse(cls, document: Any) -> Policy:
        """The policy in plain JSON data. Raises InvalidDocument with the path of every fault."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InvalidDocument.from_validation("policy", error) from None
