"""A finding and what a sighting makes of it: pure, so that it can be shown for any order of events.

`paydown.ledger.findings` keeps them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from paydown.ledger.run import stamp

EDIT_SECONDS = 300
"""Tickets are brought up to date when a finding was seen 1, 2, 4, 8, … times, and when it is seen so much later."""
REMIND_SECONDS = 86_400
"""What is told at once is told again after so many seconds, if it goes on."""
COARSE_SECONDS = 60
"""A finding of a whole toil type is counted once in so many seconds: a storm must not become a storm of writes."""
MOST_HOLDS = 20
"""Holds that a finding remembers as told at the most."""
MOST_TICKETS = 20
"""Tickets that carry a comment on one finding at the most."""


@dataclass(frozen=True)
class Identity:
    """What makes two findings the same one: `rule` is the type of the event that caused the run."""

    toil: str
    target: str
    rule: str

    @property
    def id(self) -> str:
        """16 hex digits of SHA-256."""
        return hashlib.sha256(f"{self.toil}\0{self.target}\0{self.rule}".encode()).hexdigest()[:16]

    @property
    def partition(self) -> str:
        """Where the items of this finding lie."""
        return f"FINDING#{self.id}"


def order_of(at: datetime, sequence: int, run: str) -> str:
    """What sorts transitions: by time, then within a run by number; the same for each delivery of one."""
    return f"{stamp(at):013}#{sequence:06}#{run}"


def hold_key(fingerprint: str, run: str, sequence: int) -> str:
    """What names one hold of a run, by the plan and the transition that began it."""
    return f"hold/{fingerprint[:12]}/{run}/{sequence}"


def is_hold(key: str) -> bool:
    """Whether something that was told is a hold."""
    return key.startswith("hold/")


def same_plan(key: str, hold: str) -> bool:
    """Whether something that was told is a hold of the same plan as `hold`."""
    return is_hold(key) and key.split("/")[1] == hold.split("/")[1]


@dataclass(frozen=True)
class Sighting:
    """One event that says that something is wrong.

    `label` is the run's status, or the code of a reason that people are told of. `text` is what they read, `story` the
    facts that only a ticket of its own tells. `asked`: tickets (`tracker/id`) that get an answer. `speaks`: it is for
    at once. `wants_ticket`: a person has to look. `reopens`: what was resolved is open again. `coarse`: of a whole toil
    type or pool, whose sightings are counted once a minute. `calm_after`: a pause after which it is a new finding.
    `asks`: somebody decides by what it shows, so that tickets show it at once. `hold`: which hold this is (`hold_key`),
    and `past`: holds that were told and wait no more: each hold is told, unless one of the same plan still waits.
    """

    identity: Identity
    order: str
    at: datetime
    label: str
    run: str
    text: str
    asked: tuple[str, ...] = ()
    speaks: bool = False
    wants_ticket: bool = False
    reopens: bool = False
    coarse: bool = False
    calm_after: timedelta | None = None
    asks: bool = False
    hold: str = ""
    past: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finding:
    """A finding as it stands. Times are UTC; `count` and `labels` count since it was opened for the `episode`th time.

    `told`: which labels (of holds: which ones) were told at once, and when last.
    `ticket`: its own ticket (`tracker/id`), which it keeps for
    when it comes back; `wants_ticket`: it is in use. `asked`: the tickets of people that carry a comment on it;
    `reopened`: those of them that we opened again. `closed`: the order of the latest event which said that it is
    `over`, and why.
    """

    identity: Identity
    version: int = 0
    open: bool = False
    episode: int = 0
    label: str = ""
    run: str = ""
    text: str = ""
    count: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    since: datetime | None = None
    latest: str = ""
    seen_at: datetime | None = None
    closed: str = ""
    over: str = ""
    told: Mapping[str, datetime] = field(default_factory=dict)
    wants_ticket: bool = False
    ticket: str = ""
    asked: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    written: int = 0
    written_at: datetime | None = None
    snoozed_until: datetime | None = None
    snoozed_by: str = ""
    snoozed_why: str = ""

    def is_snoozed(self, now: datetime) -> bool:
        """Whether it is to be quiet."""
        return self.snoozed_until is not None and self.snoozed_until > now

    @property
    def tickets(self) -> tuple[str, ...]:
        """The tickets that say something about it now."""
        own = (self.ticket,) if self.ticket and self.wants_ticket else ()
        return tuple(dict.fromkeys((*own, *self.asked)))


@dataclass(frozen=True)
class Task:
    """What an event calls for: to `speak` at once, and to `write` on tickets; `reopen` and `close` say how."""

    speak: bool = False
    write: bool = False
    reopen: bool = False
    close: bool = False
    new: bool = True
    """False: the event was counted before."""


NOTHING = Task()


def seen(finding: Finding, sighting: Sighting, now: datetime) -> tuple[Finding, Task] | None:
    """The finding after a sighting, and what that calls for; None if it is not worth a write."""
    if sighting.order <= finding.closed:
        return finding, NOTHING
    base = finding
    if not finding.open or _calmed(finding, sighting):
        base = replace(
            finding, open=True, episode=finding.episode + 1, count=0, labels={}, since=sighting.at, latest="", told={},
            wants_ticket=False, asked=(), reopened=(), written=0, written_at=None, over="",
        )  # fmt: skip
    elif sighting.coarse and sighting.label in base.labels and not _older(base.seen_at, sighting.at, COARSE_SECONDS):
        return None
    comes_back = bool(base.ticket) and not base.wants_ticket and (sighting.wants_ticket or sighting.reopens)
    after = replace(
        base,
        count=base.count + 1,
        labels={**base.labels, sighting.label: base.labels.get(sighting.label, 0) + 1},
        since=min(base.since or sighting.at, sighting.at),
        asked=tuple(dict.fromkeys((*base.asked, *sighting.asked)))[:MOST_TICKETS],
        wants_ticket=base.wants_ticket or sighting.wants_ticket or comes_back,
    )
    if sighting.order > base.latest:
        latest, seen_at = sighting.order, sighting.at
        after = replace(after, label=sighting.label, run=sighting.run, text=sighting.text, latest=latest)
        after = replace(after, seen_at=seen_at)
    if sighting.reopens:
        after = replace(after, reopened=tuple(dict.fromkeys((*base.reopened, *sighting.asked))))
    quiet = finding.is_snoozed(now)
    speak = sighting.speaks and not quiet and not _is_told(base, sighting, now)
    if speak:
        after = replace(after, told=_told(base, sighting, now))
    news = after.asked != base.asked or (not quiet and _is_news(base, after, sighting, now))
    write = news and bool(after.tickets or after.wants_ticket)
    if write:
        after = replace(after, written=after.count, written_at=now)
    return after, Task(speak=speak, write=write, reopen=write and (sighting.reopens or comes_back))


def over(finding: Finding, order: str, why: str) -> tuple[Finding, Task]:
    """The finding after an event which says that it is not there any more."""
    if order <= finding.closed:
        return finding, NOTHING
    if not finding.open or order < finding.latest:
        return replace(finding, closed=order), NOTHING
    return replace(finding, open=False, closed=order, over=why), Task(write=bool(finding.tickets), close=True)


def _is_news(base: Finding, after: Finding, sighting: Sighting, now: datetime) -> bool:
    """Whether what tickets say is out of date by so much that it is written anew."""
    return (
        sighting.label not in base.labels
        or sighting.reopens
        or sighting.asks
        or after.wants_ticket != base.wants_ticket
        or after.count & (after.count - 1) == 0
        or _older(base.written_at, now, EDIT_SECONDS)
    )


def _is_told(finding: Finding, sighting: Sighting, now: datetime) -> bool:
    if not sighting.hold:
        return not _older(finding.told.get(sighting.label), now, REMIND_SECONDS)
    same = [key for key in finding.told if same_plan(key, sighting.hold) and key not in sighting.past]
    return any(not _older(finding.told[key], now, REMIND_SECONDS) for key in same)


def _told(finding: Finding, sighting: Sighting, now: datetime) -> Mapping[str, datetime]:
    if not sighting.hold:
        return {**finding.told, sighting.label: now}
    holds = sorted((key for key in finding.told if is_hold(key)), key=lambda key: finding.told[key])
    forgotten = {*holds[: max(0, len(holds) - MOST_HOLDS + 1)], *sighting.past}
    return {**{key: time for key, time in finding.told.items() if key not in forgotten}, sighting.hold: now}


def _calmed(finding: Finding, sighting: Sighting) -> bool:
    pause = sighting.calm_after
    return pause is not None and _older(finding.seen_at, sighting.at, pause.total_seconds())


def _older(time: datetime | None, now: datetime, seconds: float) -> bool:
    return time is None or (now - time).total_seconds() >= seconds
