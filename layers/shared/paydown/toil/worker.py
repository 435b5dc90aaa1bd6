"""From a message to a run: what every toil function does with what reaches it.

A message is an event (an EventBridge envelope), or a command: `look` (an event and the one target to look at) or `wake`
(a run that is due). A command carries no authority: it makes Paydown look, never act beyond its policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from paydown.errors import InvalidEvent, PaydownError
from paydown.events import EVENTS, Event, UndoRequested
from paydown.guardrails import resting
from paydown.inventory import Inventory, Target
from paydown.ledger import Ledger, Lost, Outcome, Reason, Run, Version, run_id
from paydown.policy import Policy, ToilPolicy
from paydown.toil.contract import Scene, Toil
from paydown.toil.hearing import hear
from paydown.toil.undoing import Undoing
from paydown.toil.work import Work

COMMAND_VERSION = 1
NO_TARGET = "-"

Send = Callable[[str, Sequence[str]], None]
"""Sends message bodies to the queue of a toil type: (toil, bodies)."""
Report = Callable[[str, Exception], None]
"""Tells the log of an unexpected exception: (run id, exception)."""


def look_command(event: Event, ref: str, *, counted: bool = False) -> str:
    """The message that makes a toil type look at one target because of an event.

    `counted`: the event has many targets, and was counted once for all of them.
    """
    detail = event.model_dump(mode="json")
    command = {
        "paydown": COMMAND_VERSION,
        "command": "look",
        "detail_type": event.detail_type(),
        "detail": detail,
        "target": ref,
        **({"counted": True} if counted else {}),
    }
    return json.dumps(command)


def wake_command(id: str) -> str:
    """The message that makes a toil type look after one of its runs."""
    return json.dumps({"paydown": COMMAND_VERSION, "command": "wake", "run_id": id})


@dataclass
class Worker:
    """What one invocation of a toil function works with, until `deadline`: one policy, one inventory."""

    toil: type[Toil[Any]]
    ledger: Ledger
    observing: bool
    send: Send
    report: Report
    now: Callable[[], datetime]
    deadline: datetime
    fan_out: bool = True

    def handle(self, message: Any) -> list[Run]:
        """Do what a message says; the runs that it touched. Raises InvalidEvent for one that cannot become a run."""
        if not isinstance(message, dict):
            raise InvalidEvent("message", [("", "must be a JSON object")])
        if "paydown" in message:
            return self._command(message)
        from paydown.sources.aws import from_envelope

        event = from_envelope(message)
        hear(self.ledger, self.toil.name, message, self.now())
        return [] if event is None else self._event(event)

    def _command(self, message: dict[str, Any]) -> list[Run]:
        if message["paydown"] != COMMAND_VERSION:
            raise InvalidEvent("message", [("paydown", f"version {COMMAND_VERSION} is known here")])
        match message.get("command"):
            case "wake" if isinstance(message.get("run_id"), str):
                run = self._take(message["run_id"])
                return [] if run is None else [self._advance(run)]
            case "look":
                kind = EVENTS.get(str(message.get("detail_type")))
                if kind is None:
                    raise InvalidEvent("message", [("detail_type", "is no event that is known here")])
                event = kind.from_detail(message.get("detail") or {})
                target = self._inventory.find(str(message.get("target")))
                return (
                    [self._book(event, "target_unknown", "the named target is not in the inventory")]
                    if target is None
                    else [self._look(event, target, counted=message.get("counted") is True)]
                )
        raise InvalidEvent("message", [("command", "must be `wake` with a `run_id`, or `look`")])

    def _take(self, id: str) -> Run | None:
        """The run, if it is due; or if it rests although its toil type is stopped: it is put off, and says so."""
        runs = self.ledger.runs
        taken = runs.take(id, self.now(), self.deadline, self.toil.name)
        if taken is None and self.ledger.switches.stops(self.toil.name):
            taken = runs.take(id, self.now(), self.deadline, self.toil.name, resting=True)
        return taken

    def _event(self, event: Event) -> list[Run]:
        self.toil.learns(event, self._inventory, self.ledger.images, self.now())
        targets = list(self.toil.targets(event, self._inventory))
        if not targets:
            return [self._book(event, "no_target", "the event is about nothing in the inventory")]
        if len(targets) > 1 and self.fan_out:
            # A storm is many events: one that is about many targets is none.
            self.ledger.runs.tallies.count_event(self.toil.name, self.now(), self._policy[1].storm.bucket_seconds)
            self.send(self.toil.name, [look_command(event, target.ref, counted=True) for target in targets])
            return []
        return [self._look(event, target, counted=number > 0) for number, target in enumerate(targets)]

    def _look(self, event: Event, target: Target, *, counted: bool = False) -> Run:
        """Begin the run of an event and a target, unless it is a repeat or joins another, and work on it."""
        policy = self._policy[1]
        created = self.ledger.runs.create(
            self.toil.name,
            target.uid,
            target.ref,
            event,
            self.now(),
            self.deadline,
            timedelta(seconds=policy.cool_down_seconds),
            None if counted else policy.storm.bucket_seconds,
            lambda failures: timedelta(seconds=resting(policy, failures)),
        )
        return self._advance(created.run, joins=0) if created.new else created.run

    def _advance(self, run: Run, joins: int | None = None) -> Run:
        version, policy = self._policy
        try:
            toil = self._toil(run, version.document, policy)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            reason = Reason("invalid_settings", f"toils.{self.toil.name}.settings: {faults}")
            return self.ledger.runs.end(run, Outcome.REFUSED, self.now(), [reason])
        work = Work(self.ledger, run, toil, version, self.observing, self.now, self.deadline, joins)
        try:
            return work.proceed()
        except Lost:
            return run
        except PaydownError:
            raise
        except Exception as error:  # noqa: BLE001 -- a bug must neither lose the run nor repeat it for ever
            self.report(run.id, error)
            return work.retry(Reason("error", f"{type(error).__name__} in {self.toil.name}"), 30)

    def _toil(self, run: Run, policy: Policy, mine: ToilPolicy) -> Toil[Any]:
        toil = self.toil(self._scene(run, policy, mine))
        return Undoing(toil, self.ledger) if run.event_type == UndoRequested.detail_type() else toil

    def _scene(self, run: Run, policy: Policy, mine: ToilPolicy) -> Scene:
        undoing = run.event_type == UndoRequested.detail_type()
        kind: type[Event] = UndoRequested if undoing else EVENTS.get(run.event_type, Event)
        return Scene(
            run_id=run.id,
            event=kind.model_validate(run.event),
            inventory=self._inventory,
            policy=policy,
            settings=self.toil.Settings.model_validate(mine.settings),
            observing=self.observing,
            now=self.now,
            nudge=lambda toil, event, ref: self.send(toil, [look_command(event, ref)]),
            has_run=lambda toil, event, target: self.ledger.runs.get(run_id(event.key, target.uid, toil)) is not None,
            images=self.ledger.images,
            promotions=self.ledger.promotions,
        )

    def _book(self, event: Event, code: str, text: str) -> Run:
        """An event that has no target ends at once, on the record."""
        begun = Run.begin(self.toil.name, NO_TARGET, NO_TARGET, event, self.now())
        run = replace(begun, status=Outcome.SKIPPED, reasons=(Reason(code, text),))
        self.ledger.runs.record(run, self.now())
        return run

    @cached_property
    def _policy(self) -> tuple[Version[Policy], ToilPolicy]:
        """The policy in force, and this toil type's part of it. Nothing happens without one."""
        version = self._documents[0]
        return version, version.document.toil(self.toil.name)

    @cached_property
    def _inventory(self) -> Inventory:
        return self._documents[1].document

    @cached_property
    def _documents(self) -> tuple[Version[Policy], Version[Inventory]]:
        return self.ledger.documents()
