"""The writes of one worker for its run: waiting, deferring, holding and ending, each with its limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from paydown.events import OURSELVES
from paydown.guardrails import effective_mode, escalates, target_scope
from paydown.ledger import Busy, Crowded, Ledger, Outcome, Reason, Run, Status, Version
from paydown.plan import Step, left_behind
from paydown.policy import Mode, Policy, ToilPolicy
from paydown.toil.contract import Toil
from paydown.toil.lookout import Lookout
from paydown.toil.undoing import Undoing

SHORTEST_WAIT = timedelta(seconds=1)
"""Nothing is looked at more often than this, whatever a toil type asks for."""
SHORT_WAIT = timedelta(seconds=12)
"""Waits up to this long are slept through in the worker; longer ones set `due` and give the worker free."""
UNFINISHED = (Outcome.FAILED, Outcome.REFUSED, Outcome.REJECTED)
"""Outcomes of a run that came to no end of its own: what it left is taken back where that is safe."""


@dataclass
class Moves:
    """A run in the hands of its only worker, until `deadline`.

    `joins` is known for a run that was created a moment ago (0): it need not be read before the first look.
    """

    ledger: Ledger
    run: Run
    toil: Toil[Any]
    document: Version[Policy]
    observing: bool
    now: Callable[[], datetime]
    deadline: datetime
    joins: int | None = None
    sleep: Callable[[float], None] = time.sleep
    progress: bool = field(default=False, init=False)

    @cached_property
    def policy(self) -> ToilPolicy:
        """What the toil type may do."""
        return self.document.document.toil(self.toil.name)

    @cached_property
    def lookout(self) -> Lookout:
        """What the guards need to know."""
        return Lookout(self.ledger, self.toil, self.policy)

    def mode(self, labels: Mapping[str, str]) -> Mode:
        """The mode for a target with these labels."""
        return effective_mode(self.policy, labels, self.observing)

    def executed_steps(self) -> list[Step]:
        """The steps of all plans that were begun."""
        read = self.ledger.journal.read
        return [step for number in self.run.executed for step in read(self.run, number, self.lookout.verbs)]

    def left(self) -> list[str]:
        """What it has left half-done up to now, in words."""
        return [str(step.action) for step in left_behind(self.executed_steps())]

    def retry(self, reason: Reason, delay: float) -> Run:
        """Continue after `delay` seconds, doubled with each attempt in a row, at most `max_attempts` times."""
        attempts = 1 if self.progress else self.run.attempts + 1
        if attempts > self.policy.max_attempts:
            return self.end(
                Outcome.FAILED, Reason("attempts_exhausted", f"after {attempts - 1} attempts: {reason.text}")
            )
        due = self.now() + timedelta(seconds=min(900.0, delay * 2 ** (attempts - 1)))
        self.run = self.ledger.runs.keep(self.run, self.now(), due=due, attempts=attempts, reasons=(reason,))
        return self.run

    def wait(self, status: Status, until: datetime, why: str) -> bool:
        """Wait for the world: here if it is short (True: go on), else by `due`; too long in all is an end.

        The lease lasts past the wait: nobody else acts on a target whose run waits for it.
        """
        now = self.now()
        since = self.run.since or now
        if now - since >= timedelta(seconds=self.policy.wait_seconds):
            outcome = Outcome.UNVERIFIED if status is Status.VERIFYING else Outcome.FAILED
            self.end(outcome, Reason("waited_too_long", f"for {(now - since).total_seconds():.0f} s: {why}"))
            return False
        until = max(min(until, since + timedelta(seconds=self.policy.wait_seconds)), now + SHORTEST_WAIT)
        reason = Reason("not_yet", why)
        short = until - now <= SHORT_WAIT and until + SHORT_WAIT <= self.deadline
        due = self.deadline if short else until
        held = {"leased_until": self.lease_end(due)} if self.run.leased_until else {}
        try:
            if self.run.status is not status:
                self.move(status, due, [reason], since=since, **held)
            elif not short or self.run.since is None:
                self.keep(due=due, since=since, reasons=(reason,), **held)
        except (Busy, Crowded):
            # Its lease was over and its place given away: it is let in again when it is due, or waits its turn.
            self.keep(due=until, since=since, reasons=(reason,))
            return False
        if short:
            self.sleep(max(0.0, (until - self.now()).total_seconds()))
        return short

    def defer(self, until: datetime, reasons: Sequence[Reason], **changes: Any) -> bool:
        """Put the run off; after `defer_seconds` of it in a row it is refused, and a person is told."""
        now = self.now()
        since = self.since() if self.run.status is Status.DEFERRED else now
        if now - since >= timedelta(seconds=self.policy.defer_seconds):
            return self.end_now(
                Outcome.REFUSED, Reason("deferred_too_long", f"since {since:%Y-%m-%d %H:%M}Z"), *reasons
            )
        due = max(min(until, since + timedelta(seconds=self.policy.defer_seconds)), now + timedelta(seconds=1))
        if self.run.status is Status.DEFERRED and tuple(reasons) == self.run.reasons:
            self.keep(due=due, **changes)
        else:
            self.move(Status.DEFERRED, due, reasons, since=since, **changes)
        return False

    def hold(self, reasons: Sequence[Reason], **changes: Any) -> bool:
        """Wait for a person."""
        now = self.now()
        self.move(Status.HELD, now + timedelta(seconds=self.policy.hold_seconds), reasons, since=now, **changes)
        return False

    def since(self) -> datetime:
        """When the present kind of waiting began."""
        return self.run.since or self.run.updated or self.run.created

    def lease_end(self, due: datetime | None = None) -> datetime:
        """Until when the lease lasts: some time past the moment at which somebody looks at the run again."""
        return max(self.deadline, due or self.deadline) + timedelta(seconds=self.policy.lease_seconds)

    def keep(self, **changes: Any) -> None:
        """Write changes of the run, whose status stays."""
        if self.progress:
            changes.setdefault("attempts", 0)
        self.run = self.ledger.runs.keep(self.run, self.now(), **changes)

    def move(self, status: Status, due: datetime, reasons: Sequence[Reason] = (), **changes: Any) -> None:
        """A transition to another living status."""
        if self.progress:
            changes.setdefault("attempts", 0)
        self.run = self.ledger.runs.move(self.run, status, self.now(), due, reasons, **changes)

    def end(self, outcome: Outcome, *reasons: Reason, overridden: str = "", **changes: Any) -> Run:
        """The outcome, with what is left half-done; and the run that takes it back, unless people took over."""
        said = list(reasons)
        theirs = bool(overridden) or any(reason.code == "opted_out" for reason in reasons)
        if self.run.executed and outcome is not Outcome.VERIFIED and not isinstance(self.toil, Undoing):
            left = self.left()
            if left:
                changes["evidence"] = {**changes.get("evidence", {}), "left": left}
            if left and outcome in UNFINISHED and not theirs:
                changes["undo"] = (OURSELVES, "it ended half-done")
        if not isinstance(self.toil, Undoing):
            said += self._escalation(outcome)
        if overridden:
            changes["overridden"] = (overridden, self.now() + timedelta(seconds=self.policy.override_seconds))
        self.run = self.ledger.runs.end(self.run, outcome, self.now(), said, **changes)
        return self.run

    def end_now(self, outcome: Outcome, *reasons: Reason, **changes: Any) -> bool:
        """The same, for a phase that then has nothing more to do."""
        self.end(outcome, *reasons, **changes)
        return False

    def _escalation(self, outcome: Outcome) -> list[Reason]:
        if outcome not in (Outcome.FAILED, Outcome.UNVERIFIED):
            return []
        tally = self.ledger.runs.tallies.get(target_scope(self.run.toil, self.run.target))
        before = escalates(tally, self.policy, self.now())
        if before is None:
            return []
        runs = ", ".join(ending.run for ending in before) or "none"
        text = f"{len(before) + 1} runs in a row did not heal it, a person has to look; before this one: {runs}"
        return [Reason("escalated", text)]
