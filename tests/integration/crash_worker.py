"""A worker in a process of its own, which kills itself at the write to the ledger that it is told.

It is forked from a warm test, takes commands from the queues as the deployed function does, and ends when there are
none. The ledger and the queues are the emulator's; the world lies in a file, which tells of each effect once it has
happened.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, partialmethod
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import FunctionType
from typing import Any

from cli.toils import toil_type
from paydown.clients.aws import client
from paydown.ledger import Ledger, Table
from paydown.toil import handler as handler_module
from paydown.toil.moves import Moves
from tests.unit.functions.survival import World
from tests.unit.ledgers import Clock

PREFIX = "crash"
"""Of the queues: `crash-toil-<toil type>`."""
STRIDE = 10
"""Writes between two killings of one life: each of the first so many is where one begins to die."""
FAILED = 3
"""How a worker ends that could not handle a message."""


CODE = (FunctionType, type(threading.Lock()), type(threading.RLock()))
"""What a world has that is no state of it."""


class WorldFile:
    """The state of a world as bytes in a file, read into the very objects that stand in the real ones' places.

    `fixed` are things that the world refers to and that are no part of it.
    """

    def __init__(self, path: Path, world: World, fixed: Mapping[str, Any]) -> None:
        self.path, self.turn = path, threading.RLock()
        own = {name: thing for name, thing in vars(world).items() if hasattr(thing, "__dict__")}
        self.things = {"": world, **{name: thing for name, thing in own.items() if name not in fixed}}
        self.named = {**self.things, **fixed}
        self.names = {id(thing): name for name, thing in self.named.items()}
        self.effects = list(world.effects())
        self.calls = {(id(thing), method) for thing, method in self.effects}
        self.save()

    def save(self) -> None:
        """At once as a whole: the process may be killed at any moment."""
        state = {
            name: {
                key: value
                for key, value in vars(thing).items()
                if (id(thing), key) not in self.calls and not isinstance(value, CODE)
            }
            for name, thing in self.things.items()
        }
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as file:
            pickler = pickle.Pickler(file)
            pickler.persistent_id = lambda thing: self.names.get(id(thing))  # type: ignore[method-assign]  # meant for it
            pickler.dump(state)
        draft.replace(self.path)

    def load(self) -> None:
        """The world becomes what the file says."""
        with self.path.open("rb") as file:
            unpickler = pickle.Unpickler(file)  # noqa: S301 -- our own file
            unpickler.persistent_load = self.named.__getitem__  # type: ignore[method-assign]  # meant for it
            state = unpickler.load()
        for name, kept in state.items():
            vars(self.things[name]).update(kept)

    def keep_effects(self) -> None:
        """From now on each effect is in the file before its caller knows of it."""
        for thing, method in self.effects:
            setattr(thing, method, partial(self._kept, getattr(thing, method)))

    def _kept(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self.turn:
            result = call(*args, **options)
            self.save()
            return result


@dataclass
class Killing:
    """When to die: at the `at`-th write (0: never) and each `STRIDE`-th from there on, before or after it.

    `writes` counts through all processes; `slept` are the seconds that the present one has waited, by its own clock.
    """

    at: int = 0
    after: bool = False
    writes: Any = field(default_factory=lambda: RawValue("i", 0))
    slept: Any = field(default_factory=lambda: RawValue("d", 0.0))
    counting: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)

    def arm(self) -> None:
        """In the worker's process only: each write to the ledger is a place to die at."""
        for name in ("transact", "add"):
            setattr(Table, name, self._deadly(getattr(Table, name)))

    def sleep(self, clock: Clock, seconds: float) -> None:
        """In place of `time.sleep`: the clock goes on, and nobody waits."""
        clock.tick(seconds)
        self.slept.value += seconds

    def _deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **options: Any) -> Any:
            number = self._number()
            self._die(number, after=False)
            try:
                return call(*args, **options)
            finally:
                self._die(number, after=True)

        return write

    def _number(self) -> int:
        with self.turn:
            self.writes.value += self.counting
            return int(self.writes.value) if self.counting else 0

    def _die(self, number: int, *, after: bool) -> None:
        if self.at and number >= self.at and (number - self.at) % STRIDE == 0 and after == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Context:
    """What AWS Lambda tells a function."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def work(toil: str, file: WorldFile, ledger: Ledger, clock: Clock, killing: Killing, log: Path) -> None:
    """Take commands until there are none, for `toil`, and for the others of the policy, whose writes do not count."""
    with log.open("ab") as lines:
        os.dup2(lines.fileno(), 1)
        os.dup2(lines.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ |= {"PAYDOWN_LEDGER_TABLE": ledger.table.name, "PAYDOWN_QUEUE_PREFIX": PREFIX, "PAYDOWN_MODE": "Enforce"}
    handler_module.utc_now, time.sleep = clock, partial(killing.sleep, clock)
    Moves.__init__ = partialmethod(Moves.__init__, sleep=time.sleep)  # type: ignore[assignment]  # its default is older
    ledger.table._client = client("dynamodb")  # a connection cannot be shared with the process that forked this one
    sqs = client("sqs")
    file.load()
    file.keep_effects()
    killing.arm()
    toils = sorted(type(file.things[""]).settings)
    queues = {name: sqs.get_queue_url(QueueName=f"{PREFIX}-toil-{name}")["QueueUrl"] for name in toils}
    handlers = {name: handler_module.handler_for(toil_type(name)) for name in toils}
    busy = True
    while busy:
        busy = False
        for name, queue in queues.items():
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1).get("Messages", []):
                busy, killing.counting = True, name == toil
                record = {"messageId": message["MessageId"], "body": message["Body"]}
                if handlers[name]({"Records": [record]}, Context())["batchItemFailures"]:
                    sys.exit(FAILED)
                killing.counting = False
                file.save()
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
