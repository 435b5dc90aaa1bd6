"""The world of the properties: machines that fall sick or full, and two toil types that tend them.

Its effects are convergent as the contract demands: each looks at its precondition at the moment at which it happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from paydown.errors import RetryableError
from paydown.events import DiskPressure, Event, ImagePushed
from paydown.inventory import Host, Inventory
from paydown.plan import (
    Action,
    Done,
    Draft,
    Hazard,
    Moot,
    NotYet,
    Overridden,
    Population,
    Record,
    Unverified,
    Verified,
)
from paydown.toil import Toil

POOLS = {"m-1": "front", "m-2": "front", "m-3": "front", "m-4": "back"}
INVENTORY = {
    "hosts": [
        {
            "uid": name,
            "name": name,
            "reach": {"via": "unix", "path": "/run/none"},
            "builds": ["registry/all"] if pool == "front" else [],
            "labels": {"pool": pool},
        }
        for name, pool in POOLS.items()
    ]
}
REVIVE, PURGE = "revive", "purge"


class Bug(Exception):
    """A bug of a toil type, made on purpose."""


class Cordon(Action):
    """Take a machine out of service."""

    hazard: Hazard = Hazard.REVERSIBLE


class Uncordon(Action):
    """Give it back."""

    takes_back = "cordon"
    hazard: Hazard = Hazard.REVERSIBLE


class Reboot(Action):
    """Boot a machine anew: not to be done twice."""

    repeatable = False
    hazard: Hazard = Hazard.DISRUPTIVE


class Wipe(Action):
    """Wipe a machine's full scratch disk: each second time, data is lost."""

    hazard: Hazard = Hazard.DESTRUCTIVE


@dataclass
class Machine:
    """One machine as it is."""

    sick: bool = False
    full: int = 0
    """Which time its disk is full; 0 when it is not."""
    boot: int = 1
    cordoned: bool = False
    guarded: bool = False
    """A person has taken over."""
    busy_until: datetime | None = None
    settled_at: datetime | None = None


@dataclass
class World:
    """All machines, trouble to come (by phase), and what was done: (run, verb, machine, precondition)."""

    machines: dict[str, Machine] = field(default_factory=lambda: {name: Machine() for name in POOLS})
    trouble: dict[str, list[Exception]] = field(default_factory=lambda: {"plan": [], "apply": [], "verify": []})
    done: list[tuple[str, str, str, str]] = field(default_factory=list)
    filled: int = 0
    watch: Any = None
    """Is told of each call: `begins(toil, action, target)`, `within(toil, phase)`, `ends(toil)`, `population(...)`."""

    def heal(self) -> None:
        """No trouble any more: what is planned can be done at once."""
        for machine in self.machines.values():
            machine.busy_until = machine.settled_at = None
        for errors in self.trouble.values():
            errors.clear()


class Tending(Toil[Host]):
    """What both toil types do; each heals one kind of fault."""

    name = "tending"
    listens_to = (DiskPressure, ImagePushed)
    does = (Cordon, Uncordon, Reboot, Wipe)
    world: ClassVar[World]

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Host]:
        if isinstance(event, ImagePushed):
            return inventory.hosts_that_build(event.registry, event.repository)
        return inventory.hosts_named(event.host) if isinstance(event, DiskPressure) else []

    def machine(self, target: Host) -> Machine:
        return self.world.machines[target.uid]

    def plan(self, target: Host) -> Draft | NotYet | Overridden:
        self._trouble("plan")
        machine = self.machine(target)
        if machine.guarded:
            return Overridden("a person works on it")
        cordon = [] if machine.cordoned else [Cordon(object=target.uid, precondition=f"boot {machine.boot}")]
        reboot = [Reboot(object=target.uid, precondition=f"boot {machine.boot}")]
        hazard = Hazard.DESTRUCTIVE if machine.full % 2 else Hazard.DISRUPTIVE
        wipe = [Wipe(object=target.uid, precondition=f"filling {machine.full}", hazard=hazard)]
        uncordon = [Uncordon(object=target.uid, precondition="cordoned")]
        if self.name == REVIVE and machine.sick:
            return Draft.of(cordon, reboot, uncordon)
        if self.name == PURGE and machine.full:
            return Draft.of(cordon, wipe, uncordon)
        return Draft.of(uncordon if machine.cordoned else [])

    def population(self, target: Host) -> Population | None:
        mine = [name for name, pool in POOLS.items() if pool == POOLS[target.uid]]
        sick = frozenset(name for name in mine if self.world.machines[name].sick)
        return self.world.watch.population(self, Population(POOLS[target.uid], len(mine), sick))  # type: ignore[no-any-return]  # what it was given

    def apply(self, action: Action, target: Host) -> Done | Moot | NotYet | Overridden:
        self.world.watch.begins(self, action, target.uid)
        try:
            self._trouble("apply")
            self.world.watch.within(self, "before")
            result = self._effect(action, self.machine(target))
            if isinstance(result, Done):
                self.world.done.append((self.run_id, action.verb(), action.object, action.precondition))
            self.world.watch.within(self, "after")
            return result
        finally:
            self.world.watch.ends(self)

    def _effect(self, action: Action, machine: Machine) -> Done | Moot | NotYet | Overridden:
        if machine.guarded:
            return Overridden("a person works on it")
        if machine.busy_until is not None and self.now() < machine.busy_until:
            return NotYet(machine.busy_until, "it is busy")
        match action:
            case Cordon() if not machine.cordoned:
                machine.cordoned = True
            case Uncordon() if machine.cordoned:
                machine.cordoned = False
            case Reboot() if action.precondition == f"boot {machine.boot}":
                machine.boot += 1
                machine.sick = False
            case Wipe() if action.precondition == f"filling {machine.full}":
                machine.full = 0
            case _:
                return Moot("its precondition no longer holds")
        return Done()

    def verify(self, target: Host, record: Record) -> Verified | Unverified | NotYet:
        self._trouble("verify")
        machine = self.machine(target)
        if machine.settled_at is not None and self.now() < machine.settled_at:
            return NotYet(machine.settled_at, "it starts")
        ill = machine.sick if self.name == REVIVE else bool(machine.full)
        return Unverified("the fault goes on") if ill else Verified({"done": len(record.done())})

    def undo(self, action: Action, target: Host) -> Done | Moot:
        self.world.watch.begins(self, action, target.uid, undo=True)
        try:
            machine = self.machine(target)
            if machine.sick:
                return Moot("it is not ready")
            machine.cordoned = False
            return Done()
        finally:
            self.world.watch.ends(self)

    def _trouble(self, phase: str) -> None:
        if self.world.trouble[phase]:
            raise self.world.trouble[phase].pop(0)


def toils_of(world: World) -> dict[str, type[Tending]]:
    """The two toil types, in this world."""
    return {name: type(name.title(), (Tending,), {"name": name, "world": world}) for name in (REVIVE, PURGE)}


TROUBLE: dict[str, Callable[[], Exception]] = {
    "retryable": lambda: RetryableError("the line is dead", delay=20),
    "bug": lambda: Bug("on purpose"),
}


def envelope(event: Event) -> str:
    """The event as the bus delivers it."""
    detail = event.model_dump(mode="json")
    return json.dumps({"source": "paydown", "detail-type": event.detail_type(), "detail": detail})
