"""One worker's work on one run: plan, guard, apply, verify, book. The run's whole life is decided here.

::

    Planned ──┬──────────────────────────────► Skipped · Observed · Refused
       ▲      ├─► Deferred ─┐ (until due)
       │      └─► Held ─────┤ (until somebody decides, or it expires) ─► Rejected
       └────────────────────┘
    Planned · Deferred · Held ─► Applying ◄─► Waiting ─► Verifying ─► Verified · Unverified
                                    └──── a stop ────► Deferred                  (Failed from anywhere)

Every exit leaves the run with an outcome or with `due`; a worker that dies anywhere leaves it due when its time is
over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from paydown.errors import PermanentError, RetryableError
from paydown.guardrails import (
    RECHECK,
    Decision,
    Verdict,
    approved_part,
    effective_mode,
    evaluate,
)
from paydown.ledger import Busy, Joined, Ledger, Outcome, Reason, Run, Status
from paydown.plan import NotYet, Plan, Record, Step, StepState, Unverified, Verified
from paydown.policy import Mode, ToilPolicy
from paydown.toil.contract import Toil
from paydown.toil.lookout import Lookout
from paydown.toil.stage import StageResult, StageWorker

SHORTEST_WAIT = timedelta(seconds=1)
"""Nothing is looked at more often than this, whatever a toil type asks for."""
SHORT_WAIT = timedelta(seconds=12)
"""Waits up to this long are slept through in the worker; longer ones set `due` and give the worker free."""
CRASHES = 5
"""A run whose workers died this often in a row, writing nothing, fails."""
REPLANS = 3
"""How often a worker plans again because an event joined while it was planning."""


@dataclass
class Work:
    """A run in the hands of its only worker. `proceed` takes it as far as it goes now.

    `joins` is known for a run that was created a moment ago (0): it need not be read before the first look.
    """

    ledger: Ledger
    run: Run
    toil: Toil[Any]
    policy: ToilPolicy
    policy_version: int
    observing: bool
    now: Callable[[], datetime]
    deadline: datetime
    joins: int | None = None
    sleep: Callable[[float], None] = time.sleep
    progress: bool = field(default=False, init=False)

    @cached_property
    def lookout(self) -> Lookout:
        """What the guards need to know."""
        return Lookout(self.ledger, self.toil)

    def proceed(self) -> Run:
        """Work until the run ends, waits or runs out of time. Raises Lost when another worker has it."""
        try:
            if self.run.takes > CRASHES:
                return self._end(Outcome.FAILED, Reason("crashed", f"{self.run.takes - 1} workers died over it"))
            while not self.run.ended and self._go_on():
                pass
        except RetryableError as error:
            self.retry(Reason("retry", str(error)), error.delay)
        except PermanentError as error:
            self._end(Outcome.FAILED, Reason("permanent", str(error)))
        return self.run

    def retry(self, reason: Reason, delay: float) -> Run:
        """Continue after `delay` seconds, doubled with each attempt in a row, at most `max_attempts` times."""
        attempts = 1 if self.progress else self.run.attempts + 1
        if attempts > self.policy.max_attempts:
            return self._end(
                Outcome.FAILED, Reason("attempts_exhausted", f"after {attempts - 1} attempts: {reason.text}")
            )
        due = self.now() + timedelta(seconds=min(900.0, delay * 2 ** (attempts - 1)))
        self.run = self.ledger.runs.keep(self.run, self.now(), due=due, attempts=attempts, reasons=(reason,))
        return self.run

    def _go_on(self) -> bool:
        """One phase; True if the next can begin at once."""
        match self.run.status:
            case Status.HELD:
                return self._decided() and self._consider()
            case Status.PLANNED | Status.DEFERRED:
                return self._consider()
            case Status.APPLYING | Status.WAITING:
                return self._apply()
            case Status.VERIFYING:
                return self._verify()
        return False

    # -- plan and guard -----------------------------------------------------------------------------------------------

    def _decided(self) -> bool:
        """Whether a held run was approved; if it was not, it ends here or goes on waiting."""
        decision = self.ledger.approvals.latest(self.run)
        if decision is not None and decision.plan_number == self.run.plan_number:
            if decision.approved:
                return True
            self._end(Outcome.REJECTED, Reason("rejected", f"by {decision.by}: {decision.why}".rstrip(": ")))
            return False
        expires = self._since() + timedelta(seconds=self.policy.hold_seconds)
        if self.now() >= expires:
            self._end(Outcome.REJECTED, Reason("approval_expired", "nobody decided in time"))
        else:
            self._keep(due=expires)
        return False

    def _consider(self) -> bool:
        """Plan, and let the guardrails decide."""
        if self.run.status is Status.DEFERRED and (stops := self.lookout.stops()):
            return self._defer(self.now() + RECHECK, [Reason("stopped", stop) for stop in stops])
        target = self.toil.inventory.find(self.run.ref)
        if target is None or target.uid != self.run.target:
            return self._end_now(Outcome.REFUSED, Reason("not_in_inventory", f"{self.run.ref} is not in the inventory"))
        for _ in range(REPLANS):
            try:
                return self._plan(target)
            except Joined:
                continue
        return self._defer(self.now() + timedelta(seconds=5), [Reason("joined", "events keep coming for this target")])

    def _plan(self, target: Any) -> bool:
        joins = self.ledger.runs.joins(self.run) if self.joins is None else self.joins
        self.joins = None
        draft = self.toil.plan(target)
        if isinstance(draft, NotYet):
            return self._defer(draft.until, [Reason("not_yet", draft.why)])
        if not draft.stages:
            if self.run.executed:
                return self._begin_verifying()
            reason = Reason("nothing_to_do", draft.why)
            return self._end_now(Outcome.SKIPPED, reason, joins=joins, evidence=dict(draft.before))
        plan = Plan.from_draft(draft)
        facts = self.lookout.facts(self.run, target, self.now())
        mode = effective_mode(self.policy, facts.labels, self.observing)
        verdict = evaluate(plan, facts, self.policy, self.now())
        if mode is Mode.OBSERVE:
            changes = self._planned(plan, mode)
            return self._end_now(Outcome.OBSERVED, *_reasons(verdict), joins=joins, **changes)
        remainder = False
        if verdict.decision is Decision.HOLD and (part := approved_part(plan, facts, self.policy)).actions:
            plan, remainder = part, True
            verdict = evaluate(plan, facts, self.policy, self.now())
        changes = self._planned(plan, mode)
        match verdict.decision:
            case Decision.REFUSE:
                return self._end_now(Outcome.REFUSED, *_reasons(verdict), joins=joins, **changes)
            case Decision.HOLD:
                return self._hold(_reasons(verdict), **changes)
            case Decision.DEFER:
                until = verdict.until or self.now() + RECHECK
                return self._defer(until, _reasons(verdict), **changes)
        return self._admit(joins, remainder, changes)

    def _admit(self, joins: int, remainder: bool, changes: dict[str, Any]) -> bool:
        changes |= {
            "executed": (*self.run.executed, changes["plan_number"]),
            "remainder": remainder,
            "applied_at": self.now(),
            "attempts": 0,
            "since": None,
        }
        try:
            self.run = self.ledger.runs.admit(
                self.run, self.now(), joins, self._lease_end(), due=self.deadline, **changes
            )
        except Busy as busy:
            return self._defer(min(busy.until, self.now() + RECHECK), [Reason("target_busy", str(busy))])
        return True

    def _planned(self, plan: Plan, mode: Mode) -> dict[str, Any]:
        """Write the plan down, unless it is the one already written and not begun, and say what changes in the run."""
        run, number = self.run, self.run.plan_number
        if run.fingerprint != plan.fingerprint or number == 0 or number in run.executed:
            number += 1
            self.ledger.journal.write_plan(run, number, plan, self.now())
        return {
            "plan_number": number,
            "fingerprint": plan.fingerprint,
            "hazard": plan.hazard.value,
            "actions": len(plan.actions),
            "before": dict(plan.before),
            "mode": mode.value,
            "policy_version": self.policy_version,
        }

    # -- apply --------------------------------------------------------------------------------------------------------

    def _apply(self) -> bool:
        target = self.toil.inventory.find(self.run.ref)
        if target is None or target.uid != self.run.target:
            return self._end_now(
                Outcome.FAILED, Reason("not_in_inventory", f"{self.run.ref} left the inventory meanwhile")
            )
        if effective_mode(self.policy, target.labels, self.observing) is Mode.OBSERVE:
            return self._defer(self.now() + RECHECK, [Reason("observe", "the mode is observe now")])
        try:
            self.run = self.ledger.runs.renew(self.run, self.now(), self._lease_end())
        except Busy as busy:
            self._keep(due=self.now() + RECHECK, reasons=(Reason("target_busy", str(busy)),))
            return False
        number = self.run.executed[-1]
        steps = self.ledger.journal.read(self.run, number, self.lookout.verbs)
        unknown = [step for step in steps if step.state is StepState.STARTED and not step.action.repeatable]
        if unknown:
            text = ", ".join(f"{step.action.verb()} {step.action.object}" for step in unknown)
            return self._hold([Reason("unknown_result", f"nobody knows whether this happened: {text}")])
        worker = StageWorker(
            self.toil,
            target,
            write=lambda written: self.ledger.journal.write(self.run, number, written, self.now()),
            stops=self.lookout.stops,
            now=self.now,
            deadline=self.deadline,
        )
        for stage in sorted({step.stage for step in steps}):
            mine = [step for step in steps if step.stage == stage]
            if all(step.state.ended for step in mine):
                continue
            if not self._carry_out(worker, mine):
                return False
        if self.run.remainder:
            # What was approved is done; the rest is planned afresh, and held with the difference.
            self._move(
                Status.DEFERRED, self.deadline, [Reason("remainder", "planning what was not approved")], remainder=False
            )
            return True
        return self._begin_verifying()

    def _carry_out(self, worker: StageWorker, steps: Sequence[Step]) -> bool:
        """One stage, over its short waits; True when it has ended and the next may begin."""
        while True:
            result = worker.carry_out(steps)
            self.progress = self.progress or result.progress
            if not self._fine(result):
                return False
            if result.finished:
                if self.run.since is not None:
                    self.run = self.ledger.runs.keep(self.run, self.now(), since=None, due=self.deadline)
                return True
            steps = list(result.steps.values())
            until = min(wait.until for wait in result.waits)
            if not self._wait(Status.WAITING, until, result.waits[0].why):
                return False

    def _fine(self, result: StageResult) -> bool:
        """Whether a stage came to its end, or at most waits; otherwise the run is ended, deferred, or due again."""
        if result.bug is not None:
            raise result.bug
        if result.failures:
            self._end(Outcome.FAILED, *(Reason("permanent", step.why) for step in result.failures[:5]))
            return False
        if result.retries:
            raise max(result.retries, key=lambda error: error.delay)
        if result.stops:
            self._defer(self.now() + RECHECK, [Reason("stopped", stop) for stop in result.stops])
            return False
        if result.out_of_time:
            self._keep(due=self.now())
            return False
        return True

    # -- verify -------------------------------------------------------------------------------------------------------

    def _begin_verifying(self) -> bool:
        self._move(Status.VERIFYING, self.deadline, since=None)
        return True

    def _verify(self) -> bool:
        target = self.toil.inventory.find(self.run.ref)
        if target is None or target.uid != self.run.target:
            return self._end_now(
                Outcome.UNVERIFIED, Reason("not_in_inventory", f"{self.run.ref} left the inventory meanwhile")
            )
        read = self.ledger.journal.read
        steps = [step for number in self.run.executed for step in read(self.run, number, self.lookout.verbs)]
        record = Record(self.run.before, steps, self.run.applied_at or self.run.created)
        seen = self.toil.verify(target, record)
        match seen:
            case Verified():
                booked = {"runs": 1, "minutes": self.policy.minutes_saved, **seen.saved}
                self._end(Outcome.VERIFIED, evidence=dict(seen.evidence), booked=booked)
            case Unverified():
                self._end(Outcome.UNVERIFIED, Reason("unverified", seen.why), evidence=dict(seen.evidence))
            case NotYet():
                return self._wait(Status.VERIFYING, seen.until, seen.why)
        return False

    # -- waiting, and the writes --------------------------------------------------------------------------------------

    def _wait(self, status: Status, until: datetime, why: str) -> bool:
        """Wait for the world: here if it is short (True: go on), else by `due`; too long in all is an end."""
        now = self.now()
        since = self.run.since or now
        if now - since >= timedelta(seconds=self.policy.wait_seconds):
            outcome = Outcome.UNVERIFIED if status is Status.VERIFYING else Outcome.FAILED
            self._end(outcome, Reason("waited_too_long", f"for {(now - since).total_seconds():.0f} s: {why}"))
            return False
        until = max(min(until, since + timedelta(seconds=self.policy.wait_seconds)), now + SHORTEST_WAIT)
        reason = Reason("not_yet", why)
        short = until - now <= SHORT_WAIT and until + SHORT_WAIT <= self.deadline
        due = self.deadline if short else until
        if self.run.status is not status:
            self._move(status, due, [reason], since=since)
        elif not short or self.run.since is None:
            self._keep(due=due, since=since, reasons=(reason,))
        if short:
            self.sleep(max(0.0, (until - self.now()).total_seconds()))
        return short

    def _defer(self, until: datetime, reasons: Sequence[Reason], **changes: Any) -> bool:
        """Put the run off; after `defer_seconds` of it in a row it is refused."""
        now = self.now()
        since = self._since() if self.run.status is Status.DEFERRED else now
        if now - since >= timedelta(seconds=self.policy.defer_seconds):
            return self._end_now(
                Outcome.REFUSED, Reason("deferred_too_long", f"since {since:%Y-%m-%d %H:%M}Z"), *reasons
            )
        due = max(min(until, since + timedelta(seconds=self.policy.defer_seconds)), now + timedelta(seconds=1))
        if self.run.status is Status.DEFERRED and tuple(reasons) == self.run.reasons:
            self._keep(due=due, **changes)
        else:
            self._move(Status.DEFERRED, due, reasons, since=since, **changes)
        return False

    def _hold(self, reasons: Sequence[Reason], **changes: Any) -> bool:
        now = self.now()
        self._move(Status.HELD, now + timedelta(seconds=self.policy.hold_seconds), reasons, since=now, **changes)
        return False

    def _since(self) -> datetime:
        return self.run.since or self.run.updated or self.run.created

    def _lease_end(self) -> datetime:
        return self.deadline + timedelta(seconds=self.policy.lease_seconds)

    def _keep(self, **changes: Any) -> None:
        if self.progress:
            changes.setdefault("attempts", 0)
        self.run = self.ledger.runs.keep(self.run, self.now(), **changes)

    def _move(self, status: Status, due: datetime, reasons: Sequence[Reason] = (), **changes: Any) -> None:
        if self.progress:
            changes.setdefault("attempts", 0)
        self.run = self.ledger.runs.move(self.run, status, self.now(), due, reasons, **changes)

    def _end(self, outcome: Outcome, *reasons: Reason, **changes: Any) -> Run:
        self.run = self.ledger.runs.end(self.run, outcome, self.now(), reasons, **changes)
        return self.run

    def _end_now(self, outcome: Outcome, *reasons: Reason, **changes: Any) -> bool:
        self._end(outcome, *reasons, **changes)
        return False


def _reasons(verdict: Verdict) -> list[Reason]:
    return [Reason(finding.code, finding.text) for finding in verdict.findings]
