"""What the adversary may do, as a state machine of hypothesis; the witness is asked after each step."""

from __future__ import annotations

import functools
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paydown.approving import Caller, Command, Refused
from paydown.errors import PaydownError
from paydown.events import DiskPressure, Event, ImagePushed
from paydown.ledger import EVERYTHING, Alive, Lost, NotHeld, Run, Status
from paydown.toil.work import Work
from paydown.toil.worker import look_command, wake_command
from tests.properties.adversary import OFF, Hand, Killed, Message, Site, Trap
from tests.properties.choices import LENIENT, LIMITS, TOTAL, index, names, policies, random_trap, toils, traps
from tests.properties.machines import INVENTORY, POOLS, PURGE, REVIVE, TROUBLE, Bug, World, envelope, toils_of
from tests.properties.witness import Witness

FRONT = [name for name, pool in POOLS.items() if pool == "front"]
START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
BOB = "arn:aws:iam::123456789012:user/bob"
RECEIVED = 20
"""How often a message is received before it is a dead letter."""


class Guards(RuleBasedStateMachine):
    """Two toil types, four machines, and somebody who means no good.

    `focus`: the one limit of every policy, instead of those that the adversary chooses.
    """

    focus: dict[str, Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.site = Site(toils_of(self.world), START)
        self.witness = self.world.watch = Witness(self.site)
        self.frozen: list[Hand] = []
        self.accepted: list[tuple[str, Event, list[str]]] = []
        self.events = 0
        self.failed = False
        self.patch = patch("paydown.toil.worker.Work", functools.partial(Work, sleep=self.site.sleep))
        self.patch.start()
        self.site.ledger.inventory.publish(INVENTORY, "test", self.site.time)

    @initialize(changes=policies, seed=st.integers(0, 2**64 - 1))
    def begins(self, changes: dict[str, Any], seed: int) -> None:
        self.chance = random.Random(seed)
        self.publish(changes)
        first = self.chance.choice([REVIVE, PURGE])
        for name in self.chance.sample(sorted(POOLS), 3):
            self._fails(first, name)
            if self.chance.random() < 0.3:
                self._fails(self.chance.choice([REVIVE, PURGE]), name)

    # -- what happens in the world ------------------------------------------------------------------------------------

    @rule(toil=toils, name=names, again=st.booleans())
    def a_machine_fails(self, toil: str, name: str, again: bool) -> None:
        self._fails(toil, name, again=again)
        self._meanwhile()

    def _fails(self, toil: str, name: str, *, again: bool = False) -> None:
        self._fail(toil, name)
        self.events += not again
        self._accept(toil, DiskPressure(key=f"fault-{self.events}", at=self.site.time, host=name), name)

    @rule()
    def the_disks_of_a_pool_fill(self) -> None:
        """One event about several targets: it fans out."""
        for name in FRONT:
            self._fail(PURGE, name)
        self.events += 1
        pushed = {"registry": "registry", "repository": "all", "digest": "md5:" + "0" * 32}
        self._accept(PURGE, ImagePushed(key=f"push-{self.events}", at=self.site.time, **pushed), None)
        self._meanwhile()

    def _fail(self, toil: str, name: str) -> None:
        machine = self.world.machines[name]
        machine.guarded = False
        if toil == REVIVE:
            machine.sick = True
        else:
            self.world.filled += 1
            machine.full = self.world.filled

    def _accept(self, toil: str, event: Event, name: str | None) -> None:
        self.accepted.append((toil, event, [name] if name else FRONT))
        body = look_command(event, f"host/{name}") if name else envelope(event)
        self.site.queue.append(Message(toil, body))

    @rule(name=names, what=st.sampled_from(["busy", "unsettled", "guarded", "heals", "fuller", "fuller"]))
    def a_machine_changes(self, name: str, what: str) -> None:
        machine, now = self.world.machines[name], self.site.time
        match what:
            case "busy":
                machine.busy_until = now + timedelta(seconds=150)
            case "unsettled":
                machine.settled_at = now + timedelta(seconds=150)
            case "guarded":
                machine.guarded = True
            case "heals":
                machine.sick = False
            case "fuller" if machine.full:
                self.world.filled += 2
                machine.full = self.world.filled
        self._meanwhile()

    @rule(phase=st.sampled_from(["plan", "apply", "verify"]), what=st.sampled_from(sorted(TROUBLE)))
    def trouble_comes(self, phase: str, what: str) -> None:
        self.world.trouble[phase].append(TROUBLE[what]())
        self._meanwhile()

    @rule(seconds=st.sampled_from([1, 20, 61, 61, 125, 400, 700]))
    def time_passes(self, seconds: int) -> None:
        self._tick(seconds)

    def _tick(self, seconds: int) -> None:
        """Whatever is due is nudged each minute; the messages wait."""
        self.site.time += timedelta(seconds=seconds)
        self._wake()

    # -- what the adversary does to messages and workers --------------------------------------------------------------

    @precondition(lambda self: self.site.queue)
    @rule(number=index, trap=traps)
    def a_message_is_delivered(self, number: int, trap: Trap | None) -> None:
        """Any of those in the queue; it stays there until its worker has ended well, and may be delivered again."""
        self._start(self.site.queue[number % len(self.site.queue)], trap)

    @precondition(lambda self: self.site.queue)
    @rule(number=index)
    def a_message_is_duplicated(self, number: int) -> None:
        message = self.site.queue[number % len(self.site.queue)]
        self.site.queue.append(Message(message.toil, message.body))

    @rule()
    def a_while_passes(self) -> None:
        self._meanwhile(12)

    def _meanwhile(self, most: int = 8) -> None:
        """Workers are busy, some are trapped, and people look after what is held."""
        chance = self.chance
        for _ in range(chance.randint(1, most)):
            if self.frozen and chance.random() < 0.4:
                self._goes_on(chance.randrange(8), random_trap(chance))
            elif self.site.queue and chance.random() < 0.8:
                self._start(chance.choice(self.site.queue), random_trap(chance))
            elif (held := self._held()) and chance.random() < 0.5:
                self._decide(chance.choice(held), approved=chance.random() < 0.8)
            else:
                self._tick(chance.choice([1, 31, 61, 61, 100, 301]))

    @precondition(lambda self: self.frozen)
    @rule(number=index, trap=traps)
    def a_frozen_worker_goes_on(self, number: int, trap: Trap | None) -> None:
        self._goes_on(number, trap)

    def _goes_on(self, number: int, trap: Trap | None) -> None:
        hand = self.frozen.pop(number % len(self.frozen))
        hand.trap = trap
        hand.advance()
        self._after(hand)

    @precondition(lambda self: self.site.queue)
    @rule(number=index, left=st.sampled_from([31, 33, 35]), off=st.sampled_from([-OFF, OFF]))
    def clocks_disagree_at_the_end(self, number: int, left: int, off: timedelta) -> None:
        """A worker begins its action as late as it may, and is slow; another comes whose clock is off the other way."""
        late = self._start(self.site.queue[number % len(self.site.queue)], Trap("lease", "after", 1, "freeze"), off)
        if late.ended:
            return
        self._passes_until(late, left)
        self._goes_on(self.frozen.index(late), Trap("apply", "before", 1, "freeze"))
        if late.ended:
            return
        self._passes_until(late, 3.5)
        self._wake(-off)
        for message in [one for one in self.site.queue if one is not late.message]:
            self._start(message, None, -off)

    def _passes_until(self, hand: Hand, left: float) -> None:
        """Time passes until a worker has so many seconds left by its own clock."""
        passing = hand.worker.deadline - hand.now() - timedelta(seconds=left)
        self.site.time += max(passing, timedelta(0))

    @precondition(lambda self: self.frozen)
    @rule(number=index)
    def a_frozen_worker_dies(self, number: int) -> None:
        hand = self.frozen.pop(number % len(self.frozen))
        hand.kill()
        self._after(hand)

    # -- what people do -----------------------------------------------------------------------------------------------

    @rule(scope=st.sampled_from([REVIVE, PURGE, EVERYTHING]))
    def somebody_stops(self, scope: str) -> None:
        self.site.ledger.switches.stop(scope, "ann", "", self.site.time)
        self.site.moment += 1
        self.witness.stops.setdefault(scope, self.site.moment)
        self._meanwhile()
        if self.chance.random() < 0.5:
            self._resume(scope)

    @precondition(lambda self: self.witness.stops)
    @rule(number=index)
    def somebody_resumes(self, number: int) -> None:
        self._resume(sorted(self.witness.stops)[number % len(self.witness.stops)])
        self._meanwhile()

    @rule(changes=policies)
    def somebody_publishes(self, changes: dict[str, Any]) -> None:
        self.publish(changes)
        self._meanwhile()

    @precondition(lambda self: self._held())
    @rule(number=index, approved=st.sampled_from([True, True, False]))
    def somebody_decides(self, number: int, approved: bool) -> None:
        held = self._held()
        self._decide(held[number % len(held)], approved=approved)

    def _decide(self, run: Run, *, approved: bool) -> None:
        """On the plan as it is shown, by the way that the API, the command and tickets take."""
        decided = self.site.ledger.approvals.latest(run)
        if decided is not None and decided.plan_number == run.plan_number:
            return  # the first decision counts
        toil = self.site.toils[run.toil]
        steps = self.site.ledger.journal.read(run, run.plan_number, {verb.verb(): verb for verb in toil.does})
        command = Command(approved, run.fingerprint)
        try:
            self.site.ledger.approvals.decide_as(Caller(arn=BOB), run, command, self.site.policy, self.site.time)
        except (NotHeld, Refused):
            return
        self.witness.decided(run, frozenset(step.action.identity for step in steps), approved=approved)

    @precondition(lambda self: self._undoable())
    @rule(number=index, then_stops=st.booleans())
    def somebody_undoes(self, number: int, then_stops: bool) -> None:
        """What has ended, or was put off after it acted: switches that are on do not stop that, later ones do."""
        found = self._undoable()
        try:
            undo = self.site.ledger.runs.undo(found[number % len(found)], "ann", "", self.site.time)
        except (Alive, Lost):
            return
        self.witness.asked_to_undo(undo)
        if then_stops:
            self._tick(1)
            self.site.ledger.switches.stop(EVERYTHING, "ann", "", self.site.time)
            self.site.moment += 1
            self.witness.stops[EVERYTHING] = self.site.moment
            self._tick(1)
            for message in [one for one in self.site.queue if undo.id in one.body]:
                self._start(message, None)
        self._meanwhile()

    def _undoable(self) -> list[Run]:
        """Those that left something half-done, if there are any."""
        known = (self.witness.rows[id] for id in sorted(self.witness.rows))
        found = [
            run
            for run in known
            if run.target in POOLS
            and run.event_type != "UndoRequested"
            and (run.ended or (run.executed and run.status in (Status.DEFERRED, Status.HELD)))
        ]
        cordoned = {name for name, machine in self.world.machines.items() if machine.cordoned}
        return [run for run in found if run.executed and run.target in cordoned] or found

    @rule()
    def it_is_deployed_to_observe_for_a_while(self) -> None:
        self.site.observing = True
        self._meanwhile()
        self.site.observing = False

    # -- the means ----------------------------------------------------------------------------------------------------

    def publish(self, changes: dict[str, Any]) -> None:
        changes = changes if self.focus is None else self.focus
        total = {name: value for name, value in changes.items() if name in TOTAL}
        toil = {**LENIENT, **LIMITS, **{name: value for name, value in changes.items() if name not in TOTAL}}
        people = {"people": [{"name": "bob", "iam": [BOB]}], "approvers": ["bob"]}
        document = {"toils": {REVIVE: toil, PURGE: toil}, "budget": {**TOTAL, **total}, **people}
        self.site.policy = self.site.ledger.policy.publish(document, "test", self.site.time).document

    def _resume(self, scope: str) -> None:
        self.site.ledger.switches.resume(scope, "ann", "", self.site.time)
        del self.witness.stops[scope]

    def _held(self) -> list[Run]:
        return [run for run in self.witness.rows.values() if run.status is Status.HELD]

    def _wake(self, off: timedelta = timedelta(0)) -> None:
        waiting = {message.body for message in self.site.queue}
        for row in list(self.site.ledger.runs.due(self.site.time + off)):
            if (body := wake_command(row["id"])) not in waiting:
                self.site.queue.append(Message(row["toil"], body))

    def _start(self, message: Message, trap: Trap | None, off: timedelta | None = None) -> Hand:
        self.site.moment += 1
        off = OFF * self.chance.choice([-1, -0.5, 0, 0.5, 1]) if off is None else off
        hand = Hand(self.site, message, trap, off)
        hand.advance()
        self._after(hand)
        return hand

    def _after(self, hand: Hand) -> None:
        message, queue = hand.message, self.site.queue
        if not hand.ended:
            self.frozen.append(hand)
        elif hand.error is None:
            queue[:] = [one for one in queue if one is not message]
        elif isinstance(hand.error, (PaydownError, Killed)):
            message.received += 1
            if message.received >= RECEIVED and message in queue:
                queue[:] = [one for one in queue if one is not message]
                self.site.dead.append(message)
        else:
            raise hand.error

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_broken(self) -> None:
        bugs = [error for error in self.site.reported if not isinstance(error, Bug)]
        if bugs:
            self.failed = True
            raise bugs[0]
        if self.witness.broken:
            self.failed = True
            raise self.witness.broken[0]

    def teardown(self) -> None:
        try:
            if not self.failed:
                self._comes_to_rest()
        finally:
            for hand in self.frozen:
                hand.kill()
            self.patch.stop()

    def _comes_to_rest(self) -> None:
        """The adversary stops, and time passes: everything has its outcome then, and nothing is left behind."""
        for scope in list(self.witness.stops):
            self._resume(scope)
        self.world.heal()
        while self.frozen:
            self._goes_on(0, None)
        for _ in range(30):
            self._tick(301)
            for message in list(self.site.queue):
                self._start(message, None)
            if not self.site.queue and not list(self.site.ledger.runs.alive()):
                break
        self.nothing_is_broken()
        self.witness.at_rest([(toil, event.key, name) for toil, event, names in self.accepted for name in names])
