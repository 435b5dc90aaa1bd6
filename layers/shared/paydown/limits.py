"""The limits that a policy sets: when something may be done, to how much at once, how often, and whom to ask.

Each has a default that is careful and that nobody can unset; 0 means zero.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Seconds = Annotated[int, Field(ge=60, le=2_592_000)]
Count = Annotated[int, Field(ge=0, le=1_000)]
ToilName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,62}$")]


# A wildcard before the name would let all of an account in, or other accounts, and brackets are wildcards to some. The
# name of a session counts where AWS gives it (roles of IAM Identity Center); elsewhere whoever takes the role chooses.
_NAME = "[A-Za-z0-9+=,.@_-][A-Za-z0-9+=,.@_*?-]*"
_CALLER = re.compile(
    rf"arn:aws[a-z-]*:(iam::[0-9]{{12}}:(user(/{_NAME})+|role/{_NAME})"
    rf"|sts::[0-9]{{12}}:assumed-role/({_NAME}/\*|AWSReservedSSO_{_NAME}/{_NAME}))"
)


class Model(BaseModel):
    """A part of the policy: immutable, and unknown names are refused."""

    # Deferred: only the whole document is ever read, and its validator contains those of its parts.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Window(Model):
    """A span of time, once or recurring: `minutes` long from `start`, and from each recurrence of `rrule`.

    `start` is local time (no offset) in `timezone`, an IANA name; `rrule` is a recurrence rule of RFC 5545, without
    DTSTART. A wall-clock time that a daylight-saving change skips is moved forward by the change; one that comes twice
    is the first of the two; `minutes` are real ones.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    start: datetime
    minutes: Annotated[int, Field(ge=1, le=527_040)]
    timezone: Annotated[str, StringConstraints(max_length=64)] = "UTC"
    rrule: Annotated[str, StringConstraints(max_length=500)] | None = None

    @model_validator(mode="after")
    def _recurs(self) -> Window:
        from paydown.windows import check

        check(self)
        return self


class Freeze(Window):
    """A window in which nothing is begun; of these toil types, or of all if `toils` is not given."""

    toils: Annotated[tuple[ToilName, ...], Field(min_length=1)] | None = None


class BlastRadius(Model):
    """How much of a pool may be down at once, the target included: the smaller of `count` and `percent` of its members.

    The percentage is rounded down, but to no less than one member, so that a small pool is not stuck; and nothing is
    begun that leaves fewer than `min_healthy` members up, so that it is not lost either. Unhealthy members and those
    under remediation all count. 0 in either means that nothing may be done.
    """

    count: Count = 5
    percent: Annotated[int, Field(ge=0, le=100)] = 20
    min_healthy: Count = 1

    def limit(self, total: int) -> int:
        """How many of `total` members may be down."""
        if not self.count or not self.percent:
            return 0
        return min(self.count, max(1, total * self.percent // 100), max(0, total - self.min_healthy))


class Budget(Model):
    """How many runs may act within any span of `window_seconds`: of a toil type, and on one target. A retry is free."""

    runs: Count = 100
    per_target: Count = 10
    window_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3_600


class TotalBudget(Model):
    """How many runs of all toil types may act within any span of `window_seconds`, and how many at the same time."""

    runs: Count = 500
    concurrent: Count = 50
    window_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3_600


class Storm(Model):
    """More than `events` of a toil type within `window_seconds`: nothing is begun until it has been calm for a while.

    Calm is when no such span has had more for `cool_down_seconds`.
    """

    events: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    window_seconds: Annotated[int, Field(ge=60, le=86_400)] = 600
    cool_down_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300

    @property
    def bucket_seconds(self) -> int:
        """The span in which events are counted together: a tenth of the window."""
        return self.window_seconds // 10


class Escalation(Model):
    """After `failures` runs on a target within `window_seconds` that did not heal it, a person has to look."""

    failures: Annotated[int, Field(ge=1, le=20)] = 3
    window_seconds: Seconds = 86_400


class Recurrence(Model):
    """The same fault within `window_seconds` of `Verified` recurs; `suspend_after` of these suspend the toil type.

    They are counted within `suspend_window_seconds`, and anew once a person has resumed the toil type.
    """

    window_seconds: Seconds = 14_400
    suspend_after: Annotated[int, Field(ge=1, le=100)] = 5
    suspend_window_seconds: Seconds = 86_400


class Healers(Model):
    """How long each native healer has for its own work on a target, in seconds, before we look at it; plus a margin."""

    bosh: Seconds = 1_800
    auto_scaling: Seconds = 1_800
    karpenter: Seconds = 1_800
    node_health_check: Seconds = 900
    margin_seconds: Annotated[int, Field(ge=0, le=86_400)] = 120

    def seconds(self, healer: str) -> int:
        """The time of a healer and the margin; of an unknown one, the longest."""
        known: dict[str, int] = {name: value for name, value in self if name != "margin_seconds"}
        return known.get(healer, max(known.values())) + self.margin_seconds


class Person(Model):
    """Somebody who may be asked, as the API (`iam`: patterns of caller ARNs) and ticket systems (`accounts`) know them.

    A pattern is the ARN of a user or a role (`arn:aws:iam::123456789012:role/on-call`), or of a role's sessions
    (`arn:aws:sts::123456789012:assumed-role/on-call/*`); `*` and `?` may stand after the first character of a name.
    `accounts` maps a tracker's name to the user's name there.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@ -]{0,99}$")]
    iam: tuple[Annotated[str, StringConstraints(max_length=2_048)], ...] = ()
    accounts: dict[str, str] = Field(default_factory=dict)

    @field_validator("iam")
    @classmethod
    def _names_somebody(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not _CALLER.fullmatch(pattern):
                raise ValueError(
                    "must be the ARN of a user, a role or a role's sessions (assumed-role/NAME/*), "
                    "whose account and name are given; "
                    "the name of a session counts for roles of IAM Identity Center only"
                )
        return value
