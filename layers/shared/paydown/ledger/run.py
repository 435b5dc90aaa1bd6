"""A run: one event, one target, one toil type, and where it stands."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.events import Event, TicketRef

SCHEMA_VERSION = 1
DUE_SHARDS = 4
"""Partitions of the `due` index: one alone would take 1,000 writes a second at most."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Status(enum.StrEnum):
    """Where a living run stands."""

    PLANNED = "Planned"
    DEFERRED = "Deferred"
    HELD = "Held"
    APPLYING = "Applying"
    WAITING = "Waiting"
    VERIFYING = "Verifying"


class Outcome(enum.StrEnum):
    """How a run ended, once."""

    VERIFIED = "Verified"
    UNVERIFIED = "Unverified"
    FAILED = "Failed"
    REFUSED = "Refused"
    REJECTED = "Rejected"
    SKIPPED = "Skipped"
    OBSERVED = "Observed"


FAILURES = (Outcome.FAILED, Outcome.UNVERIFIED)
"""Outcomes after which the next attempt waits the longer, the more there were."""
UNHEALED = (*FAILURES, Outcome.REFUSED, Outcome.SKIPPED)
"""Outcomes after which a fault that goes on is a new reason to act (once it has cooled down)."""


@dataclass(frozen=True)
class Reason:
    """Why something was decided: a stable code, and an explanation for people."""

    code: str
    text: str


def run_id(key: str, target: str, toil: str, attempt: int = 1) -> str:
    """The id of a run: 32 hex digits of SHA-256 over event key, target uid and toil type, `-2` … for later attempts."""
    digest = hashlib.sha256(f"{key}\x00{target}\x00{toil}".encode()).hexdigest()[:32]
    return digest if attempt == 1 else f"{digest}-{attempt}"


@dataclass(frozen=True)
class Run:
    """The ledger's row of a run. Times are UTC; `due` is when somebody must look at it again (None once it has ended).

    `fence` rises with each worker that takes the run up, and `sequence` with each transition; every write names both,
    so that a worker which was replaced can write nothing any more. `takes` counts the workers since the last orderly
    write: a number above one is a crash. `plan_number` counts the plans made; those in `executed` were begun.
    """

    id: str
    toil: str
    target: str
    ref: str
    event_type: str
    event: Mapping[str, Any]
    key: str
    created: datetime
    status: Status | Outcome = Status.PLANNED
    due: datetime | None = None
    fence: int = 1
    sequence: int = 1
    takes: int = 1
    attempts: int = 0
    attempt: int = 1
    plan_number: int = 0
    executed: tuple[int, ...] = ()
    remainder: bool = False
    owns_open: bool = False
    leased_until: datetime | None = None
    scopes: tuple[str, ...] = ()
    """The tallies in which the run has a place, while it holds its lease."""
    paid: bool = False
    """Whether it was let in before: budgets are paid once."""
    fingerprint: str = ""
    hazard: str = ""
    actions: int = 0
    before: Mapping[str, Any] = field(default_factory=dict)
    mode: str = ""
    policy_version: int = 0
    reasons: tuple[Reason, ...] = ()
    since: datetime | None = None
    """When the present kind of waiting (deferred, held, waiting, verifying) began: its limit counts from here."""
    applied_at: datetime | None = None
    updated: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    history: str = ""
    """Where the row of a run that version 0.1 began lies in the history; later runs have entries of their own there."""

    @property
    def ended(self) -> bool:
        """Whether the run has its outcome."""
        return isinstance(self.status, Outcome)

    @property
    def ticket(self) -> TicketRef | None:
        """The ticket that asked for this run, if one did."""
        found = self.event.get("ticket")
        return TicketRef.model_validate(found) if found else None

    @property
    def partition(self) -> str:
        """Where the items of this run lie."""
        return f"RUN#{self.id}"

    def item(self) -> dict[str, Any]:
        """The row as stored. Nested data is JSON text: it is read as a whole or not at all."""
        return {
            "pk": self.partition,
            "sk": "RUN",
            "schema": SCHEMA_VERSION,
            "id": self.id,
            "toil": self.toil,
            "target": self.target,
            "ref": self.ref,
            "event_type": self.event_type,
            "event": json.dumps(self.event),
            "key": self.key,
            "created": self.created.isoformat(timespec="microseconds"),
            "history": self.history or None,
            "status": self.status.value,
            "due": stamp(self.due),
            "due_shard": f"DUE#{int(self.id[:8], 16) % DUE_SHARDS}" if self.due else None,
            "fence": self.fence,
            "sequence": self.sequence,
            "takes": self.takes,
            "attempts": self.attempts,
            "attempt": self.attempt,
            "plan_number": self.plan_number,
            "executed": list(self.executed),
            "remainder": self.remainder,
            "owns_open": self.owns_open,
            "leased_until": stamp(self.leased_until),
            "scopes": list(self.scopes),
            "paid": self.paid,
            "fingerprint": self.fingerprint,
            "hazard": self.hazard,
            "actions": self.actions,
            "before": json.dumps(self.before),
            "mode": self.mode,
            "policy_version": self.policy_version,
            "reasons": [[reason.code, reason.text] for reason in self.reasons],
            "since": stamp(self.since),
            "applied_at": stamp(self.applied_at),
            "updated": stamp(self.updated),
            "evidence": json.dumps(self.evidence),
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Run:
        """The run in a row. Rows of an older version that lack a field take its default."""
        status = item["status"]
        return cls(
            id=item["id"],
            toil=item["toil"],
            target=item["target"],
            ref=item["ref"],
            event_type=item["event_type"],
            event=json.loads(item["event"]),
            key=item["key"],
            created=datetime.fromisoformat(item["created"]),
            status=Outcome(status) if status in set(Outcome) else Status(status),
            due=moment(item.get("due")),
            fence=item["fence"],
            sequence=item["sequence"],
            takes=item.get("takes", 0),
            attempts=item.get("attempts", 0),
            attempt=item.get("attempt", 1),
            plan_number=item.get("plan_number", 0),
            executed=tuple(int(number) for number in item.get("executed", ())),
            remainder=item.get("remainder", False),
            owns_open=item.get("owns_open", False),
            leased_until=moment(item.get("leased_until")),
            scopes=tuple(item.get("scopes", ())),
            paid=item.get("paid", bool(item.get("executed"))),
            fingerprint=item.get("fingerprint", ""),
            hazard=item.get("hazard", ""),
            actions=item.get("actions", 0),
            before=json.loads(item.get("before", "{}")),
            mode=item.get("mode", ""),
            policy_version=item.get("policy_version", 0),
            reasons=tuple(Reason(code, text) for code, text in item.get("reasons", ())),
            since=moment(item.get("since")),
            applied_at=moment(item.get("applied_at")),
            updated=moment(item.get("updated")),
            evidence=json.loads(item.get("evidence", "{}")),
            history=item.get("history", ""),
        )

    @classmethod
    def begin(cls, toil: str, target: str, ref: str, event: Event, now: datetime, attempt: int = 1) -> Run:
        """A run of this event that nobody has seen yet."""
        return cls(
            id=run_id(event.key, target, toil, attempt),
            toil=toil,
            target=target,
            ref=ref,
            event_type=event.detail_type(),
            event=event.model_dump(mode="json"),
            key=event.key,
            created=now,
            attempt=attempt,
            updated=now,
        )


def stamp(time: datetime | None) -> int | None:
    """Whole milliseconds since 1970, as stored; never later than the time, so that what is due now is due at once."""
    return None if time is None else (time - _EPOCH) // _MILLISECOND


def moment(milliseconds: int | None) -> datetime | None:
    """The time that `stamp` stored, if one was."""
    return None if milliseconds is None else time_of(milliseconds)


def time_of(milliseconds: int) -> datetime:
    """The time that `stamp` stored."""
    return _EPOCH + int(milliseconds) * _MILLISECOND
