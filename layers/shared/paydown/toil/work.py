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
from datetime import datetime, timedelta
from typing import Any

from paydown.errors import PermanentError, RetryableError
from paydown.guardrails import (
    RECHECK,
    Decision,
    Ending,
    Facts,
    Tally,
    Verdict,
    approved_part,
    effective_mode,
    evaluate,
    recurs,
    toil_scope,
)
from paydown.ledger import Busy, Crowded, Joined, Outcome, Reason, Run, Status
from paydown.plan import NotYet, Overridden, Plan, Record, Step, StepState, Unverified, Verified, left_behind
from paydown.policy import Mode
from paydown.toil.moves import Moves
from paydown.toil.stage import StageResult, StageWorker
from paydown.toil.undoing import Undoing

CRASHES = 5
"""A run whose workers died this often in a row, writing nothing, fails."""
REPLANS = 3
"""How often a worker plans again because an event joined while it was planning."""
ADMISSIONS = 10
"""How often a worker asks to be let in because others were let in meanwhile."""


class Work(Moves):
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
            return self.end_now(Outcome.REJECTED, Reason("rejected", f"by {decision.by}: {decision.why}".rstrip(": ")))
        expires = self.since() + timedelta(seconds=self.policy.hold_seconds)
        if self.now() >= expires:
            return self.end_now(Outcome.REJECTED, Reason("approval_expired", "nobody decided in time"))
        self.keep(due=expires)
        return False

    def _consider(self) -> bool:
        """Plan, and let the guardrails decide."""
        if self.run.status is Status.DEFERRED and (stops := self.lookout.stops()):
            return self.defer(self.now() + RECHECK, [Reason("stopped", stop) for stop in stops])
        target = self._target()
        if target is None:
            return self.end_now(Outcome.REFUSED, Reason("not_in_inventory", f"{self.run.ref} is not in the inventory"))
        for _ in range(REPLANS):
            try:
                return self._plan(target)
            except Joined:
                continue
        return self.defer(self.now() + timedelta(seconds=5), [Reason("joined", "events keep coming for this target")])

    def _target(self) -> Any:
        """The target, if it is still the one that the run is about."""
        target = self.toil.inventory.find(self.run.ref)
        return target if target is not None and target.uid == self.run.target else None

    def _plan(self, target: Any) -> bool:
        joins = self.ledger.runs.joins(self.run) if self.joins is None else self.joins
        self.joins = None
        draft = self.toil.plan(target)
        if isinstance(draft, NotYet):
            return self.defer(draft.until, [Reason("not_yet", draft.why)])
        if isinstance(draft, Overridden):
            return self._stand_back(draft.why)
        plan = Plan.from_draft(draft)
        self._settle(plan)
        if not draft.stages:
            if self.run.executed:
                return self._begin_verifying()
            reason = Reason("nothing_to_do", draft.why)
            return self.end_now(Outcome.SKIPPED, reason, joins=joins, evidence=dict(draft.before))
        population, healer = self.toil.population(target), self.toil.healer(target)
        for _ in range(ADMISSIONS):
            facts = self.lookout.facts(self.run, target, self.now(), population, healer)
            try:
                return self._judge(plan, facts, joins)
            except Crowded:
                continue
        return self.defer(self.now() + timedelta(seconds=5), [Reason("contended", "many runs begin at this moment")])

    def _settle(self, plan: Plan) -> None:
        """Steps of earlier plans whose result is unknown: one that would not be planned any more has happened."""
        wanted = {action.identity for action in plan.actions}
        for number in self.run.executed:
            steps = self.ledger.journal.read(self.run, number, self.lookout.verbs)
            unknown = [step for step in steps if step.state is StepState.STARTED]
            known = [
                replace(step, state=StepState.PLANNED)
                if step.action.identity in wanted
                else replace(step, state=StepState.DONE, why="before an interruption (it is not planned any more)")
                for step in unknown
            ]
            if known:
                self.ledger.journal.write(self.run, number, known, self.now())

    def _judge(self, plan: Plan, facts: Facts, joins: int) -> bool:
        """Let the guards decide on a plan, and do what they say. Raises Crowded if their facts are out of date."""
        mode = effective_mode(self.policy, facts.labels, self.observing)
        verdict = self._verdict(plan, facts)
        if mode is Mode.OBSERVE:
            changes = self._planned(plan, mode)
            return self.end_now(Outcome.OBSERVED, *_reasons(verdict), joins=joins, **changes)
        remainder = False
        if verdict.decision is Decision.HOLD and (part := approved_part(plan, facts, self.policy)).actions:
            plan, remainder = part, True
            verdict = self._verdict(plan, facts)
        changes = self._planned(plan, mode)
        match verdict.decision:
            case Decision.REFUSE:
                return self.end_now(Outcome.REFUSED, *_reasons(verdict), joins=joins, **changes)
            case Decision.HOLD:
                return self.hold(_reasons(verdict), **changes)
            case Decision.DEFER:
                until = verdict.until or self.now() + RECHECK
                return self.defer(until, _reasons(verdict), **changes)
        return self._admit(facts, joins, remainder, changes)

    def _verdict(self, plan: Plan, facts: Facts) -> Verdict:
        document = self.document.document
        freezes = document.freezes_of(self.toil.name)
        return evaluate(plan, facts, self.policy, self.now(), total=document.budget, freezes=freezes)

    def _admit(self, facts: Facts, joins: int, remainder: bool, changes: dict[str, Any]) -> bool:
        now = self.now()
        again = recurs(facts, self.policy, now) if not self.run.paid else None
        changes |= {
            "executed": (*self.run.executed, changes["plan_number"]),
            "remainder": remainder,
            "applied_at": now,
            "attempts": 0,
            "since": None,
            "reasons": self._recurred(facts, again),
            "booked": {"recurred": 1} if again else None,
        }
        tallies = self._entered(facts, now, recurred=again is not None)
        try:
            self.run = self.ledger.runs.admit(
                self.run, now, joins, self.lease_end(), tallies, due=self.deadline, **changes
            )
        except Busy as busy:
            return self.defer(min(busy.until, self.now() + RECHECK), [Reason("target_busy", str(busy))])
        return True

    def _recurred(self, facts: Facts, again: Ending | None) -> tuple[Reason, ...]:
        """What to say when a fault came back: which run had verified it, and whether the toil type is now suspended."""
        if again is None:
            return ()
        said = [Reason("recurred", f"the same fault came back: run {again.run} was verified at {again.at:%H:%M}Z")]
        limit, since = self.policy.recurrence, self.now()
        earlier = [
            one
            for one in facts.toil.recurred
            if one > since - timedelta(seconds=limit.suspend_window_seconds)
            and (facts.resumed_at is None or one > facts.resumed_at)
        ]
        if len(earlier) + 1 >= limit.suspend_after:
            text = f"faults came back {len(earlier) + 1} times: {self.toil.name} does nothing more until it is resumed"
            said.append(Reason("suspended", text))
        return tuple(said)

    def _entered(self, facts: Facts, now: datetime, *, recurred: bool = False) -> list[Tally]:
        """The tallies with this run in them."""
        document = self.document.document
        budget = max(self.policy.budget.window_seconds, document.budget.window_seconds)
        rules = self.policy.recurrence
        memory = max(self.policy.escalation.window_seconds, rules.window_seconds, rules.suspend_window_seconds)
        counted = [facts.everything, facts.toil, facts.on_target, *([facts.pool] if facts.pool else [])]
        entered = [
            tally.entered(
                self.run.id,
                self.run.target,
                now,
                self.lease_end(),
                budget=timedelta(seconds=budget),
                memory=timedelta(seconds=memory),
                pays=not self.run.paid,
            )
            for tally in counted
        ]
        if not recurred:
            return entered
        mine = toil_scope(self.run.toil)
        return [tally.recurring(now) if tally.scope == mine else tally for tally in entered]

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
            "policy_version": self.document.number,
        }

    def _stand_back(self, why: str) -> bool:
        """A person has taken over: nothing more is done here for a while."""
        return self.end_now(Outcome.REFUSED, Reason("overridden", why), overridden=why)

    # -- apply --------------------------------------------------------------------------------------------------------

    def _apply(self) -> bool:
        target = self._target()
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
        return self._begin_verifying()

    def _instead(self, target: Any, steps: Sequence[Step]) -> bool | None:
        """What happens to a run that may not go on with its plan; None if it may, and has its lease and places anew."""
        unknown = [step for step in steps if step.state is StepState.STARTED and not step.action.repeatable]
        if unknown:
            text = ", ".join(f"{step.action.verb()} {step.action.object}" for step in unknown)
            reason = Reason("unknown_result", f"nobody knows whether this happened: {text}")
            return self.hold([reason], **self._asked_again(steps))
        if failed := [step for step in steps if step.state is StepState.FAILED]:
            # The worker that wrote it died before it could end the run.
            return self._failed(failed)
        if effective_mode(self.policy, target.labels, self.observing) is Mode.OBSERVE:
            return self.defer(self.now() + RECHECK, [Reason("observe", "the mode is observe now")])
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
            return self._stand_back(result.overridden)
        if result.retries:
            raise max(result.retries, key=lambda error: error.delay)
        if result.stops:
            left = left_behind(self.executed_steps())
            names = [f"{step.action.verb()} {step.action.object}" for step in left]
            evidence = {"left": names} if names and not isinstance(self.toil, Undoing) else {}
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

    def _begin_verifying(self) -> bool:
        self.move(Status.VERIFYING, self.deadline, since=None)
        return True

    def _verify(self) -> bool:
        target = self._target()
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


def _reasons(verdict: Verdict) -> list[Reason]:
    return [Reason(finding.code, finding.text) for finding in verdict.findings]
