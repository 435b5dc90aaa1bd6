"""A toil type for the tests of the contract: it switches off the lamps that burn in a room."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from paydown.events import Event, ImagePushed, TicketCreated
from paydown.inventory import Host, Inventory
from paydown.ledger import Ledger, Run
from paydown.plan import (
    Action,
    Done,
    Draft,
    Hazard,
    Healer,
    Moot,
    NotYet,
    Overridden,
    Population,
    Record,
    Unverified,
    Verified,
)
from paydown.toil import Pace, Toil, ToilSettings
from paydown.toil.worker import Worker

ROOMS = {
    "hosts": [
        {
            "uid": f"room-{number}",
            "name": f"room-{number}",
            "reach": {"via": "unix", "path": "/run/room"},
            "builds": ["registry/rooms/*"],
            "labels": {"floor": str(number)},
        }
        for number in (1, 2)
    ]
}


class SwitchOff(Action):
    """Switch one lamp off."""

    hazard: Hazard = Hazard.DISRUPTIVE


@dataclass
class World:
    """The lamps that burn, and what happened to them. A test changes the fields to make trouble."""

    burning: set[str] = field(default_factory=set)
    hazards: dict[str, Hazard] = field(default_factory=dict)
    switched: list[str] = field(default_factory=list)
    apply_raises: list[BaseException] = field(default_factory=list)
    plan_raises: list[BaseException] = field(default_factory=list)
    busy_until: dict[str, datetime] = field(default_factory=dict)
    young_until: datetime | None = None
    dark_at: datetime | None = None
    ignored: set[str] = field(default_factory=set)
    while_planning: Any = None
    while_applying: Any = None
    population: Population | None = None
    healer: Healer | None = None
    guarded: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


WORLD = World()


class SwitchOffLamps(Toil[Host]):
    name = "switch_off_lamps"
    listens_to = (ImagePushed, TicketCreated)
    does = (SwitchOff,)
    parallel = 1

    class Settings(ToilSettings):
        brightness: int = 1

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Host]:
        return inventory.hosts_that_build(event.registry, event.repository)

    def plan(self, target: Host) -> Draft | NotYet:
        if WORLD.plan_raises:
            raise WORLD.plan_raises.pop(0)
        if WORLD.young_until and self.now() < WORLD.young_until:
            return NotYet(WORLD.young_until, "too young")
        lamps = sorted(WORLD.burning - WORLD.ignored)
        if WORLD.while_planning:
            WORLD.while_planning()
        return Draft.of(
            [
                SwitchOff(
                    object=f"lamp/{lamp}",
                    precondition=f"burning {lamp}",
                    hazard=WORLD.hazards.get(lamp, Hazard.DISRUPTIVE),
                )
                for lamp in lamps
                if not lamp.startswith("late")
            ],
            [
                SwitchOff(object=f"lamp/{lamp}", precondition=f"burning {lamp}")
                for lamp in lamps
                if lamp.startswith("late")
            ],
            burning=len(lamps),
        )

    def population(self, target: Host) -> Population | None:
        return WORLD.population

    def healer(self, target: Host) -> Healer | None:
        return WORLD.healer

    def undo(self, action: SwitchOff, target: Host) -> Done | Moot:
        lamp = action.object.removeprefix("lamp/")
        if lamp in WORLD.needed:
            return Moot("somebody sleeps")
        if lamp in WORLD.burning:
            return Moot("it burns")
        WORLD.burning.add(lamp)
        return Done()

    def apply(self, action: SwitchOff, target: Host) -> Done | Moot | NotYet | Overridden:
        lamp = action.object.removeprefix("lamp/")
        if WORLD.while_applying:
            WORLD.while_applying(lamp)
        with WORLD.lock:
            if WORLD.apply_raises:
                raise WORLD.apply_raises.pop(0)
            if lamp in WORLD.guarded:
                return Overridden(f"a person keeps {lamp} burning")
            if lamp in WORLD.busy_until and self.now() < WORLD.busy_until[lamp]:
                return NotYet(WORLD.busy_until[lamp], "somebody reads")
            if lamp not in WORLD.burning:
                return Moot("it does not burn")
            WORLD.burning.remove(lamp)
            WORLD.switched.append(lamp)
            return Done({"lamp": lamp})

    def pace(self) -> Pace:
        return Pace(self.parallel)

    def verify(self, target: Host, record: Record) -> Verified | Unverified | NotYet:
        if WORLD.dark_at and self.now() < WORLD.dark_at:
            return NotYet(WORLD.dark_at, "they still glow")
        left = WORLD.burning & {step.action.object.removeprefix("lamp/") for step in record.steps}
        if left:
            return Unverified(f"{len(left)} burn", {"left": sorted(left)})
        return Verified({"dark": len(record.done())}, {"lamps": len(record.done())})


POLICY = {
    "toils": {
        "switch_off_lamps": {
            "mode": "enforce",
            "ceiling": "disruptive",
            "minutes_saved": 5,
            "max_attempts": 3,
            "cool_down_seconds": 0,
        },
    }
}


def pushed(key: str = "push-1", repository: str = "rooms/one", at: str = "2026-11-22T02:59:00Z") -> ImagePushed:
    return ImagePushed(key=key, at=at, registry="registry", repository=repository, digest="sha256:" + "0" * 64)


@dataclass
class Plant:
    """A ledger with policy and inventory, and workers for it."""

    ledger: Ledger
    clock: Any
    toil: type[Toil[Any]] = SwitchOffLamps
    observing: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)
    reported: list[Exception] = field(default_factory=list)
    seconds: float = 58

    def publish(self, **changes: Any) -> None:
        toil = {**POLICY["toils"]["switch_off_lamps"], **changes}
        self.ledger.policy.publish({"toils": {"switch_off_lamps": toil}}, "test", self.clock())
        self.ledger.inventory.publish(ROOMS, "test", self.clock())

    def worker(self) -> Worker:
        return Worker(
            toil=self.toil,
            ledger=self.ledger,
            observing=self.observing,
            send=lambda toil, bodies: self.sent.extend((toil, body) for body in bodies),
            report=lambda run_id, error: self.reported.append(error),
            now=self.clock,
            deadline=self.clock() + timedelta(seconds=self.seconds),
        )

    def look(self, event: Event | None = None, room: str = "host/room-1") -> Run:
        event = event or pushed()
        command = {
            "paydown": 1,
            "command": "look",
            "detail_type": event.detail_type(),
            "detail": event.model_dump(mode="json"),
            "target": room,
        }
        (run,) = self.worker().handle(command)
        return run

    def wake(self, run: Run) -> Run:
        self.worker().handle({"paydown": 1, "command": "wake", "run_id": run.id})
        found = self.ledger.runs.get(run.id)
        assert found is not None
        return found

    def codes(self, run: Run) -> list[str]:
        return [reason.code for reason in run.reasons]

    def states(self, run: Run) -> list[str]:
        return [step["state"] for step in self.ledger.journal.items(run.id)]
