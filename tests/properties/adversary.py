"""Workers that an adversary stops anywhere: each is a thread that runs only while it is told to.

Exactly one thread runs at a time, so that an example is repeated exactly. A trap catches a worker at its n-th call of a
kind, before or after the call happened: it crashes there, is frozen (others go on, time passes, later it may too), is
told that the table is throttled, or does not get the answer to what did happen.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from paydown.errors import PaydownError
from paydown.ledger import Ledger
from paydown.toil.worker import Worker
from tests.properties.memory_table import MemoryDynamo, memory_ledger, throttled

OFF = timedelta(seconds=2)
"""How far the clock of a worker may be from the true time, either way."""
PATIENCE = 60.0
"""Seconds of real time after which a thread that should run is taken for hanging."""


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


@dataclass(frozen=True)
class Trap:
    """What happens at the `count`-th call of `operation`, `before` or `after` it.

    Operations are those of the table, `lease` (a transaction in which the lease is written) and `apply`.
    """

    operation: str
    phase: str
    count: int
    effect: str


class Hand:
    """One invocation of a toil function, in the adversary's hands. Its clock is `off` the true time."""

    def __init__(self, site: Site, message: Message, trap: Trap | None, off: timedelta = timedelta(0)) -> None:
        self.site = site
        self.off = off
        self.message = message
        self.trap = trap
        self.policy: Any = None
        """The policy that this invocation reads, and the pool as it reads it."""
        self.population: Any = None
        self.floor = site.moment
        """A switch that was on before this moment is seen before the next action."""
        self.error: BaseException | None = None
        self.ended = False
        self.killed = False
        self._calls: dict[tuple[str, str], int] = {}
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.worker = Worker(
            toil=site.toils[message.toil],
            ledger=site.ledger,
            observing=site.observing,
            send=site.send,
            report=site.report,
            now=self.now,
            deadline=self.now() + timedelta(seconds=58),
        )

    def now(self) -> datetime:
        """The clock of this invocation; what is bound to it finds this invocation."""
        return self.site.time + self.off

    def advance(self) -> None:
        """Let it run until it ends or is frozen."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        if not self._back.acquire(timeout=PATIENCE):
            frame = sys._current_frames()[self._thread.ident or 0]
            raise RuntimeError("a worker hangs:\n" + "".join(traceback.format_stack(frame)[-12:]))

    def kill(self) -> None:
        """Let it die where it is frozen."""
        self.killed = True
        self.advance()

    def pause(self) -> None:
        """The thread of this invocation waits until it is told to go on, or dies."""
        self._back.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def reached(self, operation: str, phase: str) -> None:
        """The thread of this invocation is before or after a call; the trap may close."""
        if self.killed:
            raise Killed
        number = self._calls[operation, phase] = self._calls.get((operation, phase), 0) + 1
        trap = self.trap
        if trap is None or (trap.operation, trap.phase, trap.count) != (operation, phase, number):
            return
        self.trap = None
        match trap.effect:
            case "crash":
                self.killed = True
                raise Killed
            case "freeze":
                self.pause()
            case "error" if operation != "apply":
                raise throttled(operation)

    def _run(self) -> None:
        self.site.local.hand = self
        try:
            self.worker.handle(json.loads(self.message.body))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the one who waits is told
            self.error = error
        finally:
            self.ended = True
            self._back.release()


class Site:
    """What the invocations share: table, true time, queue; and who watches them."""

    def __init__(self, toils: dict[str, Any], start: datetime) -> None:
        self.toils = toils
        self.time = start
        self.moment = 0
        """Counts everything that happens, to tell before from after."""
        self.observing = False
        self.policy: Any = None
        """The one in force."""
        self.queue: list[Message] = []
        self.dead: list[Message] = []
        self.reported: list[Exception] = []
        self.local = threading.local()
        self.client = MemoryDynamo()
        self.ledger: Ledger = memory_ledger(self.client)
        self.client.reached = self._reached
        self.read: Callable[[Hand, str, Any], None] = lambda hand, operation, request: None

    @property
    def hand(self) -> Hand | None:
        """The invocation whose thread this is; None in the adversary's own."""
        return getattr(self.local, "hand", None)

    def sleep(self, seconds: float) -> None:
        """What workers do instead of sleeping."""
        self.time += timedelta(seconds=seconds)

    def send(self, toil: str, bodies: Any) -> None:
        """Put commands into a toil type's queue."""
        self.queue += [Message(toil, body) for body in bodies]

    def report(self, _: str, error: Exception) -> None:
        """What a worker tells the log."""
        self.reported.append(error)

    def _reached(self, operation: str, phase: str, request: Any) -> None:
        if (hand := self.hand) is None:
            return
        self.moment += 1
        if phase == "before":
            self.time += timedelta(milliseconds=1)
        else:
            self.read(hand, operation, request)
        documents = operation in ("get", "get_all") and any(pk.startswith("DOC#") for pk, _ in request)
        if not documents:  # they are read under a lock that all workers of this process share, unlike real ones
            hand.reached(operation, phase)
        if operation == "transact" and any("LEASE#" in _key(write) for write in request):
            hand.reached("lease", phase)


def _key(write: Any) -> str:
    ((_, inside),) = write.items()
    return str(inside.get("Item", inside.get("Key"))["pk"]["S"])


@dataclass
class Message:
    """One message of a queue; `body` is JSON text."""

    toil: str
    body: str
    received: int = 0


def failed(hand: Hand) -> bool:
    """Whether the message of an ended invocation comes back."""
    return isinstance(hand.error, (PaydownError, Killed))
