"""How a run is let in: it is planned, the guards are asked, and it gets its lease and its places, or waits its turn."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from paydown.guardrails import (
    RECHECK,
    Decision,
    Ending,
    Facts,
    Tally,
    Verdict,
    approved_part,
    evaluate,
    patience,
    recurrences,
    recurs,
)
from paydown.ledger import Busy, Crowded, Joined, Outcome, Reason, Status
from paydown.plan import NotYet, Overridden, Plan, StepState
from paydown.policy import Mode
from paydown.toil.moves import Moves

REFUSING = ("opted_out", "invalid_settings")
"""Codes of drafts that end a run whatever it has done so far: nothing more is to be done, or can be."""
REPLANS = 3
"""How often a worker plans again because an event joined while it was planning."""
ADMISSIONS = 10
"""How often a worker asks to be let in because others were let in meanwhile."""


class Admission(Moves):
    """`consider` takes a run from its plan to its first action, or to whatever stands against that."""

    def consider(self) -> bool:
        """Plan, and let the guardrails decide."""
        if self.run.status is Status.DEFERRED and (stops := self.lookout.stops()):
            return self.defer(self.now() + RECHECK, [Reason("stopped", stop) for stop in stops])
        target = self.target()
        if target is None:
            return self.end_now(Outcome.REFUSED, Reason("not_in_inventory", f"{self.run.ref} is not in the inventory"))
        for _ in range(REPLANS):
            try:
                return self._plan(target)
            except Joined:
                continue
        return self.defer(self.now() + timedelta(seconds=5), [Reason("joined", "events keep coming for this target")])

    def target(self) -> Any:
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
            return self.stand_back(draft.why)
        plan = Plan.from_draft(draft)
        self._settle(plan)
        if not draft.stages:
            reason = Reason(draft.code, draft.why)
            if draft.code in REFUSING:
                return self.end_now(Outcome.REFUSED, reason, joins=joins)
            if self.run.executed:
                return self.begin_verifying()
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
        mode = self.mode(facts.labels)
        verdict = self._verdict(plan, facts)
        if mode is Mode.OBSERVE and self.run.executed:
            # It has acted already: to end it as observed would be untrue, and leave half-done what it began.
            return self.defer(self.now() + RECHECK, [Reason("observe", "the mode is observe now")])
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
            again_at = min(busy.until, now + patience(facts.run, facts.waited))
            return self.defer(again_at, [Reason("target_busy", str(busy))])
        return True

    def _recurred(self, facts: Facts, again: Ending | None) -> tuple[Reason, ...]:
        """What to say when a fault came back: which run had verified it, and whether the toil type is now suspended."""
        if again is None:
            return ()
        said = [Reason("recurred", f"the same fault came back: run {again.run} was verified at {again.at:%H:%M}Z")]
        times = recurrences(facts.toil, self.policy, self.now(), facts.resumed_at) + 1
        if times >= self.policy.recurrence.suspend_after:
            text = f"faults came back {times} times: {self.toil.name} does nothing more until it is resumed"
            said.append(Reason("suspended", text))
        return tuple(said)

    def _entered(self, facts: Facts, now: datetime, *, recurred: bool) -> list[Tally]:
        """The tallies with this run in them."""
        document = self.document.document
        budget = max(self.policy.budget.window_seconds, document.budget.window_seconds)
        rules = self.policy.recurrence
        memory = max(self.policy.escalation.window_seconds, rules.window_seconds, rules.suspend_window_seconds)
        of_toil = facts.toil.recurring(now) if recurred else facts.toil
        counted = [facts.everything, of_toil, facts.on_target, *([facts.pool] if facts.pool else [])]
        return [
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

    def stand_back(self, why: str) -> bool:
        """A person has taken over: nothing more is done here for a while."""
        return self.end_now(Outcome.REFUSED, Reason("overridden", why), overridden=why)

    def begin_verifying(self) -> bool:
        """Everything is done: see whether it helped. True: that can begin at once."""
        self.move(Status.VERIFYING, self.deadline, since=None)
        return True


def _reasons(verdict: Verdict) -> list[Reason]:
    return [Reason(finding.code, finding.text) for finding in verdict.findings]
