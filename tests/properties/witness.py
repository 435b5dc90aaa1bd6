"""Watches the world and every write of the ledger, and says which invariant broke. It trusts no decision of the core.

It knows only what was written (rows of leases, runs, tallies and logs), what each invocation read of policy and pool,
and what people decided; the limits are counted anew.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from paydown.guardrails import EVERYTHING_SCOPE, Identity, effective_mode, target_scope, toil_scope
from paydown.ledger import Outcome, Run, run_id
from paydown.ledger.run import time_of
from paydown.ledger.table import Item, plain
from paydown.plan import Action, Hazard, Population
from paydown.policy import Mode
from paydown.toil.contract import ACTION_SECONDS
from tests.properties.adversary import OFF, Hand, Site
from tests.properties.machines import POOLS, Tending

CALL = timedelta(seconds=ACTION_SECONDS)
OUTCOMES = {outcome.value for outcome in Outcome}


class Broken(AssertionError):
    """An invariant does not hold: `name` says which."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(f"{name}: {text}")


@dataclass(frozen=True)
class Lease:
    """Who may act on a target, and until when."""

    run: str
    toil: str
    until: datetime


@dataclass
class Call:
    """A call of `apply` that has begun and not ended."""

    run: str
    target: str
    began: datetime


@dataclass
class Witness:
    """`broken` collects what broke: an exception inside a worker would be taken for a bug of the toil type."""

    site: Site
    broken: list[Broken] = field(default_factory=list)
    leases: dict[str, Lease] = field(default_factory=dict)
    rows: dict[str, Run] = field(default_factory=dict)
    entered_under: dict[str, Any] = field(default_factory=dict)
    spent: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    tallied: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    outcomes: Counter[str] = field(default_factory=Counter)
    calls: dict[Hand, Call] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    """Which switches are on, and since which moment."""
    undos: dict[str, int] = field(default_factory=dict)
    """Since which moment a person wants a run to take something back, in spite of the switches that were on."""
    decisions: dict[str, tuple[bool, frozenset[Identity]]] = field(default_factory=dict)
    unknown: set[tuple[str, Identity, str]] = field(default_factory=set)
    """What began in a run and must not begin again before a person says so."""

    def __post_init__(self) -> None:
        self.site.client.committed = self.committed
        self.site.read = self.read

    def breaks(self, name: str, text: str) -> None:
        """Remember that an invariant broke."""
        self.broken.append(Broken(name, text))

    # -- what an invocation reads -------------------------------------------------------------------------------------

    def read(self, hand: Hand, operation: str, request: Any) -> None:
        """An invocation has read something: the first policy it reads is the one it must obey."""
        if hand.policy is None and operation in ("get", "get_all") and ("DOC#policy", "CURRENT") in request:
            hand.policy = self.site.policy

    def population(self, toil: Tending, population: Population) -> Population:
        """An invocation has read its pool."""
        hand_of(toil).population = population
        return population

    # -- what is written ----------------------------------------------------------------------------------------------

    def committed(self, keys: Sequence[tuple[str, str]]) -> None:
        """A transaction happened."""
        hand = self.site.hand
        items = {key: self._item(key) for key in keys}
        rows = {key[0]: Run.from_item(item) for key, item in items.items() if key[1] == "RUN" and item}
        paying = [run for run in rows.values() if run.paid and not self.rows.get(run.id, run).paid]
        for (pk, sk), item in items.items():
            if sk == "LEASE":
                self._lease(pk.removeprefix("LEASE#"), item, hand, rows)
            elif sk.startswith("LOG#") and item and item["status"] in OUTCOMES:
                self.outcomes[item["run"]] += 1
                if self.outcomes[item["run"]] > 1:
                    self.breaks("one outcome", f"run {item['run']} ended twice, now {item['status']}")
            elif sk.startswith("STEP#") and item and item["verb"] == "reboot":
                self._step(pk.removeprefix("RUN#"), item)
            elif sk == "TALLY" and item:
                self._tally(pk.removeprefix("TALLY#"), item, paying)
        for run in paying:
            self._pays(run, hand)
        self.rows |= {run.id: run for run in rows.values()}

    def _item(self, key: tuple[str, str]) -> Item | None:
        found = self.site.client.items.get(key[0], {}).get(key[1])
        return plain(found) if found else None

    def _lease(self, target: str, item: Item | None, hand: Hand | None, rows: dict[str, Run]) -> None:
        now, old = self.site.time, self.leases.get(target)
        if item is None:
            if old is not None and not any(run.id == old.run for run in rows.values()):
                self.breaks("one lease", f"the lease of {old.run} on {target} was given back by another")
            self.leases.pop(target, None)
            return
        run = self.rows.get(item["run"]) or rows[f"RUN#{item['run']}"]
        new = Lease(item["run"], run.toil, time_of(item["until"]))
        if old is not None and old.run != new.run and old.until >= now + OFF:  # who takes it may be ahead
            self.breaks("one lease", f"{new.run} took {target} from {old.run}, whose lease lasts until {old.until}")
        self.leases[target] = new
        if old is None or old.run != new.run or old.until < now:
            self._enters(target, new, hand, again=old is not None and old.run == new.run)

    def _enters(self, target: str, lease: Lease, hand: Hand | None, *, again: bool) -> None:
        """A run may act from now on: how many are there, and how much of the pool is down?

        One that comes back (`again`) to a place which nobody took meanwhile keeps to the policy that let it in, too.
        """
        if hand is None or hand.policy is None or self._undoing(lease.run):
            return
        under = [hand.policy, *([self.entered_under[lease.run]] if again and lease.run in self.entered_under else [])]
        if not again:
            self.entered_under[lease.run] = hand.policy
        at_work = {one: held for one, held in self.leases.items() if held.until >= self.site.time}
        at_work[target] = lease
        of_toil = [held for held in at_work.values() if held.toil == lease.toil]
        if len(of_toil) > max(policy.toil(lease.toil).max_concurrent for policy in under):
            self.breaks("concurrency", f"{len(of_toil)} runs of {lease.toil} are at work")
        if len(at_work) > max(policy.budget.concurrent for policy in under):
            self.breaks("concurrency", f"{len(at_work)} runs are at work")
        if hand.population is not None:
            mine = {one for one, held in at_work.items() if POOLS[one] == POOLS[target]}
            down = hand.population.unhealthy | {one for one in mine if not self._undoing(at_work[one].run)}
            limit = max(policy.toil(lease.toil).blast_radius.limit(hand.population.total) for policy in under)
            if len(down) > limit:
                self.breaks("blast radius", f"{sorted(down)} of {POOLS[target]} are down, {limit} may be")

    def _pays(self, run: Run, hand: Hand | None) -> None:
        """A run was let in for the first time: does it fit into each sliding window, in true time?

        Two clocks may differ by twice `OFF`, and a window be shorter by that.
        """
        now = self.site.time
        for scope in (EVERYTHING_SCOPE, toil_scope(run.toil), target_scope(run.toil, run.target)):
            self.spent[scope].append(now)
        if hand is None or hand.policy is None or self._undoing(run.id):
            return
        mine, total = hand.policy.toil(run.toil).budget, hand.policy.budget
        for scope, most, seconds in (
            (EVERYTHING_SCOPE, total.runs, total.window_seconds),
            (toil_scope(run.toil), mine.runs, mine.window_seconds),
            (target_scope(run.toil, run.target), mine.per_target, mine.window_seconds),
        ):
            since = now - timedelta(seconds=seconds) + 2 * OFF
            within = [one for one in self.spent[scope] if one > since]
            if len(within) > most:
                self.breaks("budget", f"{len(within)} runs were let in within {seconds} s in {scope}, {most} may be")

    def _tally(self, scope: str, item: Item, paying: list[Run]) -> None:
        """Only a run that is let in for the first time adds to what is spent, and once."""
        spent = Counter(int(one) for one in item.get("spent", ()))
        added = sum((spent - self.tallied[scope]).values())
        self.tallied[scope] = spent
        if added != len(paying):
            self.breaks("a retry pays once", f"{added} runs paid in {scope}, {len(paying)} were let in first")

    def _step(self, run: str, item: Item) -> None:
        """An action that must not be repeated begins, or something is known of it."""
        action = json.loads(item["action"])
        identity = ("reboot", action["object"], action["precondition"], action["hazard"])
        if item["state"] != "started":
            self.unknown.discard((run, identity, item["sk"]))
            return
        if any(one[:2] == (run, identity) for one in self.unknown):
            self.breaks("unknown result", f"{identity} of {run} begins again, and nobody knows of the first time")
        self.unknown.add((run, identity, item["sk"]))

    def _undoing(self, run: str) -> bool:
        return run in self.rows and self.rows[run].event_type == "UndoRequested"

    # -- what is done -------------------------------------------------------------------------------------------------

    def begins(self, toil: Tending, action: Action, target: str, *, undo: bool = False) -> None:
        """An action begins."""
        hand, run, now = hand_of(toil), toil.run_id, self.site.time
        what = f"{action.verb()} {action.object} of {run}"
        lease = self.leases.get(target)
        if lease is None or lease.run != run or lease.until < now + CALL:
            self.breaks("one lease", f"{what} begins at {now}, and the lease is {lease}")
        for other in self.calls.values():
            if other.target == target and other.began + CALL > now:
                self.breaks("one lease", f"{what} begins while {other.run} is in a call")
        self.calls[hand] = Call(run, target, now)
        labels = toil.inventory.find(f"host/{target}").labels  # type: ignore[union-attr]  # it stays in the inventory
        if effective_mode(hand.policy.toil(toil.name), labels, hand.worker.observing) is Mode.OBSERVE:
            self.breaks("observe", f"{what} begins in observe mode")
        for scope, since in self.stops.items():
            if scope in ("*", toil.name) and self.undos.get(run, -1) < since < hand.floor:
                self.breaks("a stop stops", f"{what} begins, though {scope} was stopped before")
        if not undo:
            self._approved(run, action, what)

    def _approved(self, run: str, action: Action, what: str) -> None:
        approved, identities = self.decisions.get(run, (False, frozenset()))
        covered = approved and action.identity in identities
        mode, ceiling = self.entered_under[run].toil(self.rows[run].toil).for_labels({})
        asked = action.hazard is Hazard.DESTRUCTIVE or mode is Mode.APPROVE or action.hazard.rank > ceiling.rank
        if asked and not covered:
            self.breaks("approval", f"{what} begins, and nobody approved it")

    def asked_to_undo(self, run: Run) -> None:
        """A person has asked for this run, which takes back what another left: from now on each switch stops it."""
        self.site.moment += 1
        self.undos[run.id] = self.site.moment

    def within(self, toil: Tending, phase: str) -> None:
        """An action takes its time, `before` and `after` its effect."""
        self.site.time += timedelta(seconds=1)
        hand_of(toil).reached("apply", phase)

    def ends(self, toil: Tending) -> None:
        """An action has ended, or its worker died in it."""
        hand = hand_of(toil)
        self.calls.pop(hand, None)
        self.site.moment += 1
        hand.floor = self.site.moment

    def decided(self, run: Run, identities: frozenset[Identity], *, approved: bool) -> None:
        """A person decided on a plan as it was shown; too late is as good as never."""
        assert run.since is not None
        live = self.site.time < run.since + timedelta(seconds=self.site.policy.toil(run.toil).hold_seconds)
        self.decisions[run.id] = (approved and live, identities)
        self.unknown = {one for one in self.unknown if one[0] != run.id}

    # -- what must be so in the end -----------------------------------------------------------------------------------

    def at_rest(self, accepted: Sequence[tuple[str, str, str]]) -> None:
        """The adversary has stopped, and time has passed. `accepted`: toil type, key and target of what was sent."""
        runs = self.site.ledger.runs
        if alive := [runs.get(row["id"]) for row in runs.alive()]:
            raise Broken("one outcome", f"still alive: {alive}")
        for toil, key, target in accepted:
            run = runs.get(run_id(key, target, toil))
            if (run is None or not run.ended) and not any(key in message.body for message in self.site.dead):
                raise Broken("one outcome", f"{toil} {key} {target} has none: {run}")
        for run in self.rows.values():
            if (times := self.outcomes[run.id]) != 1:
                raise Broken("one outcome", f"{run.id} is {run.status}, and ended {times} times")
        if held := [target for target, lease in self.leases.items() if lease.until >= self.site.time]:
            raise Broken("one lease", f"given back by nobody: {held}")


def hand_of(toil: Any) -> Hand:
    """The invocation in which a toil type works: its clock belongs to it."""
    return toil.scene.now.__self__  # type: ignore[no-any-return]  # `Hand.now`, bound
