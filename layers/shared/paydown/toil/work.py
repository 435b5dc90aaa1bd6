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

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from paydown.errors import PermanentError, RetryableError
from paydown.guardrails import OPTED_OUT, RECHECK, Facts, needing_a_person, opted_out
from paydown.ledger import Busy, Crowded, Outcome, Reason, Run, Status
from paydown.plan import Action, NotYet, Plan, Record, Step, StepState, Unverified, Verified
from paydown.policy import Mode
from paydown.toil.admission import Admission
from paydown.toil.stage import StageResult, StageWorker
from paydown.toil.undoing import Undoing

CRASHES = 5
"""A run whose workers died this often in a row, writing nothing, fails."""


class Work(Admission):
    """`proceed` takes a run as far as it goes now."""

    def proceed(self) -> Run:
        """Work until the run ends, waits or runs out of time. Raises Lost when another worker has it."""
        try:
            if self.run.takes > CRASHES:
                return self.end(Outcome.FAILED, Reason("crashed", f"{self.run.takes - 1} workers died over it"))
            while not self.run.ended and self._go_on():
                pass
        except RetryableError as error:
            self.retry(Reason("retry", str(error)), error.delay)
        except PermanentError as error:
            self.end(Outcome.FAILED, Reason("permanent", str(error)))
        return self.run

    def _go_on(self) -> bool:
        """One phase; True if the next can begin at once."""
        match self.run.status:
            case Status.HELD:
                return self._decided() and self.consider()
            case Status.PLANNED | Status.DEFERRED:
                return self.consider()
            case Status.APPLYING | Status.WAITING:
                return self._apply()
            case Status.VERIFYING:
                return self._verify()
        return False

    def _decided(self) -> bool:
        """Whether a held run was approved; if it was not, it ends here or goes on waiting."""
        decision = self.ledger.approvals.latest(self.run)
        if decision is not None and decision.plan_number == self.run.plan_number:
            if decision.approved:
                return True
            return self.end_now(Outcome.REJECTED, Reason("rejected", f"by {decision.by}: {decision.why}".rstrip(": ")))
        expires = self.since() + timedelta(seconds=self.policy.hold_seconds)
        if self.now() >= expires:
            return self.end_now(Outcome.REJECTED, Reason("approval_expired", "nobody decided in time"))
        self.keep(due=expires)
        return False

    # -- apply --------------------------------------------------------------------------------------------------------

    def _apply(self) -> bool:
        target = self.target()
        if target is None:
            return self.end_now(
                Outcome.FAILED, Reason("not_in_inventory", f"{self.run.ref} left the inventory meanwhile")
            )
        number = self.run.executed[-1]
        steps = self.ledger.journal.read(self.run, number, self.lookout.verbs)
        if (instead := self._instead(target, steps)) is not None:
            return instead
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
            self.move(
                Status.DEFERRED, self.deadline, [Reason("remainder", "planning what was not approved")], remainder=False
            )
            return True
        return self.begin_verifying()

    def _instead(self, target: Any, steps: Sequence[Step]) -> bool | None:
        """What happens to a run that may not go on with its plan; None if it may, and has its lease and places anew."""
        unknown = [step for step in steps if step.state is StepState.STARTED and not step.action.repeatable]
        if unknown:
            text = ", ".join(str(step.action) for step in unknown)
            reason = Reason("unknown_result", f"nobody knows whether this happened: {text}")
            return self.hold([reason], **self._asked_again(steps))
        if failed := [step for step in steps if step.state is StepState.FAILED]:
            # The worker that wrote it died before it could end the run.
            return self._failed(failed)
        if opted_out(target.labels):
            return self.end_now(Outcome.REFUSED, Reason("opted_out", OPTED_OUT))
        if self.mode(target.labels) is Mode.OBSERVE:
            return self.defer(self.now() + RECHECK, [Reason("observe", "the mode is observe now")])
        if asking := self._asking_now(target, steps):
            # The policy has become stricter: planned afresh, it is held.
            text = "the policy wants a person for what is left: " + ", ".join(map(str, asking[:3]))
            return self.defer(self.now(), [Reason("needs_approval", text)])
        lost = not self.run.scopes  # version 0.1 let it in, and knew no places
        try:
            self.run = self.ledger.runs.renew(self.run, self.now(), self.lease_end())
        except Busy as busy:
            return self.defer(min(busy.until, self.now() + RECHECK), [Reason("target_busy", str(busy))])
        except Crowded:
            lost = True
        if lost:
            # Others were let in while nobody looked at it: it is planned afresh, and all the guards are asked again.
            self.move(Status.DEFERRED, self.deadline, [Reason("place_lost", "its place was given to others meanwhile")])
            return True
        return None

    def _asking_now(self, target: Any, steps: Sequence[Step]) -> list[Action]:
        """What has not ended of a plan and may not happen before a person approves it, as the policy is by now."""
        left = Plan((tuple(step.action for step in steps if not step.state.ended),))
        facts = Facts(labels=target.labels, undoing=isinstance(self.toil, Undoing))
        if not needing_a_person(left, facts, self.policy):
            return []
        return needing_a_person(left, replace(facts, approved=self.lookout.approved(self.run)), self.policy)

    def _asked_again(self, steps: Sequence[Step]) -> dict[str, Any]:
        """What has not ended of a plan, as a plan of its own: an earlier approval does not decide on it."""
        left = [step for step in steps if not step.state.ended]
        numbers = sorted({step.stage for step in left})
        stages = tuple(tuple(step.action for step in left if step.stage == stage) for stage in numbers)
        plan = Plan(stages, self.run.before)
        number = self.run.plan_number + 1
        self.ledger.journal.write_plan(self.run, number, plan, self.now())
        return {
            "plan_number": number,
            "fingerprint": plan.fingerprint,
            "hazard": plan.hazard.value,
            "actions": len(plan.actions),
        }

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
            if not self.wait(Status.WAITING, until, result.waits[0].why):
                return False

    def _fine(self, result: StageResult) -> bool:
        """Whether a stage came to its end, or at most waits; otherwise the run is ended, deferred, or due again."""
        if result.bug is not None:
            raise result.bug
        if result.failures:
            return self._failed(result.failures)
        if result.overridden:
            return self.stand_back(result.overridden)
        if result.retries:
            raise max(result.retries, key=lambda error: error.delay)
        if result.stops:
            left = [] if isinstance(self.toil, Undoing) else self.left()
            evidence = {"left": left} if left else {}
            return self.defer(
                self.now() + RECHECK, [Reason("stopped", stop) for stop in result.stops], evidence=evidence
            )
        if result.out_of_time:
            self.keep(due=self.now())
            return False
        return True

    def _failed(self, steps: Sequence[Step]) -> bool:
        return self.end_now(Outcome.FAILED, *(Reason("permanent", step.why) for step in steps[:5]))

    # -- verify -------------------------------------------------------------------------------------------------------

    def _verify(self) -> bool:
        target = self.target()
        if target is None:
            return self.end_now(
                Outcome.UNVERIFIED, Reason("not_in_inventory", f"{self.run.ref} left the inventory meanwhile")
            )
        record = Record(self.run.before, self.executed_steps(), self.run.applied_at or self.run.created)
        seen = self.toil.verify(target, record)
        match seen:
            case Verified():
                booked = {"runs": 1, "minutes": self.policy.minutes_saved, **seen.saved}
                if isinstance(self.toil, Undoing):
                    booked = {"undone": 1}
                self.end(Outcome.VERIFIED, evidence=dict(seen.evidence), booked=booked)
            case Unverified():
                self.end(Outcome.UNVERIFIED, Reason("unverified", seen.why), evidence=dict(seen.evidence))
            case NotYet():
                return self.wait(Status.VERIFYING, seen.until, seen.why)
        return False
