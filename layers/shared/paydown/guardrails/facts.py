"""What was read for the guards: everything that a decision depends on, beside the plan, the policy and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from paydown.plan import Healer, Population

Identity = tuple[str, str, str, str]

UNHEALING = ("Failed", "Unverified")
"""Outcomes of a run that did not heal, whether it acted or could not even plan."""
HEALING = "Verified"
ENDINGS = 50
"""How many endings a target remembers."""


@dataclass(frozen=True)
class Ending:
    """How a run on a target ended: when, with which outcome, which run it was, and the type of the event it began with.

    `event` is empty for a run of a version that did not write it down.
    """

    at: datetime
    outcome: str
    run: str
    event: str = ""


LINGERING = timedelta(hours=1)
"""How long a run keeps its places after the end of its lease: what a worker that died has taken out of service is so
until the run is taken up again, and in a storm that waits behind everything else in the queue."""


@dataclass(frozen=True)
class Tally:
    """What the ledger counts in one scope: everything, a toil type, a pool, or a toil type on one target.

    `working` maps the runs that may act to their target's uid and the end of their lease; they count for as long, and
    `LINGERING`. `spent` holds when runs were let in. Of a target: how runs `ended`, and what a person `overrode` until
    when. Of a toil type: when a fault recurred. `version` rises with each change, so that two who decide on the same
    tally cannot both be let in.
    """

    scope: str
    version: int = 0
    working: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    spent: Sequence[datetime] = ()
    ended: Sequence[Ending] = ()
    recurred: Sequence[datetime] = ()
    overridden: tuple[str, datetime] | None = None

    def others(self, run: str, now: datetime) -> dict[str, str]:
        """The targets that other runs are at work on, by run."""
        return {one: target for one, (target, until) in self.working.items() if one != run and until + LINGERING >= now}

    def spent_within(self, now: datetime, seconds: int) -> list[datetime]:
        """When runs were let in within the last `seconds`, oldest first."""
        return sorted(one for one in self.spent if one > now - timedelta(seconds=seconds))

    def failures(self, now: datetime, seconds: int) -> list[Ending]:
        """The runs within the last `seconds`, and since one healed the target, that did not heal it; oldest first."""
        row: list[Ending] = []
        for ending in sorted(self.ended, key=lambda one: one.at):
            if ending.outcome == HEALING:
                row = []
            elif ending.outcome in UNHEALING and ending.at > now - timedelta(seconds=seconds):
                row.append(ending)
        return row

    def last(self, event: str | None = None) -> Ending | None:
        """The latest ending, or the latest of a run that began with an event of this type, as far as is known."""
        found = (ending for ending in self.ended if event is None or ending.event in (event, ""))
        return max(found, key=lambda one: one.at, default=None)

    def remembering(self, ending: Ending) -> Tally:
        """The tally with one more ending; the oldest are forgotten beyond `ENDINGS`."""
        return replace(self, ended=(*self.ended, ending)[-ENDINGS:])

    def entered(
        self, run: str, target: str, now: datetime, until: datetime, *, budget: timedelta, memory: timedelta, pays: bool
    ) -> Tally:
        """The tally once a run is let in: leases that are over, and what nobody looks at any more, are forgotten.

        `budget` is the longest span in which runs are counted, `memory` the longest for endings and recurrences.
        """
        working = {one: held for one, held in self.working.items() if held[1] + LINGERING >= now and one != run}
        return replace(
            self,
            working={**working, run: (target, until)},
            spent=(*(one for one in self.spent if one > now - budget), *((now,) if pays else ())),
            ended=tuple(one for one in self.ended if one.at > now - memory)[-ENDINGS:],
            recurred=tuple(one for one in self.recurred if one > now - memory)[-200:],
        )

    def recurring(self, now: datetime) -> Tally:
        """The tally once a fault has recurred."""
        return replace(self, recurred=(*self.recurred, now))


EVERYTHING_SCOPE = "*"


def toil_scope(toil: str) -> str:
    """The scope of a toil type."""
    return f"toil/{toil}"


def pool_scope(pool: str) -> str:
    """The scope of a pool, whichever toil types work in it."""
    return f"pool/{pool}"


def target_scope(toil: str, target: str) -> str:
    """The scope of a toil type on one target."""
    return f"target/{toil}/{target}"


@dataclass(frozen=True)
class Facts:
    """What was read for the guards.

    `run` and `target` (uid) say who asks. `stops` are the switches that are on, as explanations, or None when they
    could not be read. `lease` is who else holds the target, and until when. `approved` are the identities of the
    actions that a person approved for this run. `population` is None for a toil type that harms no pool. `events` maps
    the beginnings of spans of `bucket_seconds` to how many events came in them. `resumed_at`: when a person last
    resumed this toil type. `ongoing`: the event, of the type `event`, reports a fault that lasts, and the run `began`
    with it (None: now). `undoing`: the run takes back what another
    left. `paid`: it has been let in before. `waited`: for how long it has been deferred.
    """

    labels: Mapping[str, str]
    run: str = ""
    target: str = ""
    stops: Sequence[str] | None = ()
    lease: tuple[str, datetime] | None = None
    approved: frozenset[Identity] = frozenset()
    everything: Tally = Tally(EVERYTHING_SCOPE)
    toil: Tally = Tally("toil/")
    pool: Tally | None = None
    on_target: Tally = Tally("target/")
    population: Population | None = None
    healer: Healer | None = None
    events: Mapping[datetime, int] = field(default_factory=dict)
    bucket_seconds: int = 60
    resumed_at: datetime | None = None
    ongoing: bool = False
    event: str = ""
    began: datetime | None = None
    undoing: bool = False
    paid: bool = False
    waited: timedelta = timedelta(0)
