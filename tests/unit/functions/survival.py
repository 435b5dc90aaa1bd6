"""A worker that dies where it is told to, in a world and with a ledger that outlive it.

A point is a write to the ledger or a call that changes the world. A worker dies before or after one of them, and from
then on reaches neither; the next worker finds what it left.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import pytest

from paydown.events import EVENTS
from paydown.ledger import Ledger, Run, Status
from paydown.ledger.table import plain
from paydown.toil.worker import Worker
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.ledgers import Clock

ENFORCE = {"mode": "enforce", "ceiling": "disruptive", "blast_radius": {"count": 9, "percent": 100, "min_healthy": 0}}
ROUNDS = 12
"""Minutes after which every run must have ended."""


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


class World(Protocol):
    """What a toil type acts on; what is done to it lasts.

    `settings` are those of the policy by toil type, `rules` those for tickets.
    """

    inventory: ClassVar[Mapping[str, Any]]
    settings: ClassVar[Mapping[str, Mapping[str, Any]]]
    rules: ClassVar[Sequence[Mapping[str, Any]]]

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        """Stands where the toil type looks for the real one."""

    def effects(self) -> Iterable[tuple[object, str]]:
        """The calls that change it: (object, method)."""

    def summary(self) -> Mapping[str, Any]:
        """What a person would see of it, but for times."""


@dataclass
class Plant:
    """A world, a ledger and the workers of one toil type; one dies at the `at`-th point, before or after it."""

    monkeypatch: pytest.MonkeyPatch
    toil: Any
    make: type[World]
    at: int = 0
    after: bool = False
    clock: Clock = field(default_factory=Clock)
    observing: bool = False
    points: int = 0
    died: bool = False
    dead: bool = False
    working: bool = False
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn, self.inside = threading.Lock(), threading.local()
        self.client = MemoryDynamo()
        self.client.reached = self._writes
        self.ledger: Ledger = memory_ledger(self.client)
        self.world = self.make(self.monkeypatch, self.ledger, self.clock)
        toils = {name: {**ENFORCE, "settings": settings} for name, settings in self.make.settings.items()}
        policy = {"toils": toils, "tickets": {"rules": list(self.make.rules)}}
        self.ledger.policy.publish(policy, "test", self.clock())
        self.ledger.inventory.publish(dict(self.make.inventory), "test", self.clock())
        for thing, method in self.world.effects():
            setattr(thing, method, self._deadly(getattr(thing, method)))

    # -- dying --------------------------------------------------------------------------------------------------------

    def _before(self) -> int:
        """The number of the point that is reached; 0 if it is nobody's work."""
        with self.turn:
            if not self.working:
                return 0
            if self.dead:
                raise Killed
            self.points += 1
            if self.points == self.at and not self.after:
                self._die()
            return self.points

    def _after(self, number: int) -> None:
        with self.turn:
            if number and number == self.at and self.after:
                self._die()

    def _die(self) -> None:
        self.died = self.dead = True
        raise Killed

    def _deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*args: Any, **options: Any) -> Any:
            if getattr(self.inside, "a_point", False):
                return call(*args, **options)
            number = self._before()
            self.inside.a_point = True
            try:
                result = call(*args, **options)
            finally:
                self.inside.a_point = False
            self._after(number)
            return result

        return reached

    def _writes(self, operation: str, phase: str, _: Any) -> None:
        if operation not in ("transact", "update"):
            return
        if phase == "before":
            self.write = self._before()
        else:
            self._after(self.write)

    # -- living -------------------------------------------------------------------------------------------------------

    def send(self, toil: str, bodies: Sequence[str]) -> None:
        """The other toil type gets the command, and begins its run."""
        self.working = False
        for body in bodies:
            command = json.loads(body)
            target = self.ledger.inventory.current().document.find(command["target"])
            event = EVENTS[command["detail_type"]].from_detail(command["detail"])
            assert target is not None
            now = self.clock()
            self.ledger.runs.create(toil, target.uid, target.ref, event, now, now, timedelta(0))
            self.sent.append(command["target"])
        self.working = True

    def handle(self, message: dict[str, Any]) -> bool:
        """Whether its worker lives on."""
        worker = Worker(
            toil=self.toil,
            ledger=self.ledger,
            observing=self.observing,
            send=self._deadly(self.send),
            report=_unexpected,
            now=self.clock,
            deadline=self.clock() + timedelta(seconds=58),
            fan_out=False,
        )
        self.working, self.dead = True, False
        try:
            worker.handle(message)
        except Killed:
            return False
        finally:
            self.working = False
        return True

    def live(self, message: dict[str, Any]) -> None:
        """The message comes, again if its worker died; what is due is nudged, and what is held is approved."""
        if not self.handle(message):
            self.clock.tick(91)
            self.handle(message)
        for _ in range(ROUNDS):
            if all(run.ended for run in self.runs()):
                return
            self.clock.tick(61)
            for run in self.runs():
                if run.status is Status.HELD and self.ledger.approvals.latest(run) is None:
                    decide = self.ledger.approvals.decide
                    decide(run, run.fingerprint, approved=True, by="ann", why="", now=self.clock())
            for row in list(self.ledger.runs.due(self.clock())):
                if row["toil"] == self.toil.name:
                    self.handle({"paydown": 1, "command": "wake", "run_id": row["id"]})

    def runs(self) -> list[Run]:
        """Those of the toil type, by when they began and what they are about."""
        items = [items["RUN"] for pk, items in self.client.items.items() if pk.startswith("RUN#") and "RUN" in items]
        runs = [Run.from_item(plain(item)) for item in items]
        return sorted((run for run in runs if run.toil == self.toil.name), key=lambda run: (run.created, run.target))

    def summary(self) -> dict[str, Any]:
        """World and ledger, but for times, and for what only the lost answer told (bytes)."""
        items = {(pk, sk): plain(item) for pk, under in self.client.items.items() for sk, item in under.items()}
        account = [
            {name: value for name, value in month.items() if name != "bytes"}
            for month in self.ledger.account(self.toil.name)
        ]
        told = {
            run.target: (run.status, [reason.code for reason in run.reasons], run.fingerprint, len(run.executed))
            for run in self.runs()
        }
        return {
            **self.world.summary(),
            "sent": set(self.sent),
            "runs": told,
            "states": Counter(item["state"] for (_, sk), item in items.items() if sk.startswith("STEP#")),
            "account": account,
            "leases": [key for key in items if key[1] == "LEASE"],
            "working": [item["working"] for (_, sk), item in items.items() if sk == "TALLY" and item["working"]],
        }


def _unexpected(run: str, error: Exception) -> None:
    raise error


def again(message: dict[str, Any]) -> dict[str, Any]:
    """A new event of the same content."""
    detail = {**message["detail"], "key": f"{message['detail'].get('key')}-again"}
    if "state" in detail:  # CloudWatch's own: its state's time tells one alarm from the next
        detail["state"] = {**detail["state"], "timestamp": "2026-07-01T09:46:00.000+0000"}
    return {**message, "id": "another", "time": "2026-07-01T10:46:00Z", "detail": detail}
