"""The journal of a run: one item for each action of each plan, written before and after the action happens.

A plan is written as a whole before its run refers to it. While the run acts, each write also checks the run's fence in
the same transaction, so that a worker which was replaced can write nothing any more. Only the worker's main thread
writes: transactions on one row that run in parallel would conflict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from paydown.ledger.retention import RETENTION, expiry
from paydown.ledger.run import Run
from paydown.ledger.table import TRANSACTION_LIMIT, ConditionFailed, Item, Table
from paydown.ledger.transitions import Lost
from paydown.plan import Action, Plan, Step, StepState

Verbs = Mapping[str, type[Action]]
"""The actions that a toil type knows, by verb: what a journalled plan is read back with."""


class Journal:
    """The steps of runs. `retention` is how long they are kept once their run has ended."""

    def __init__(self, table: Table, retention: timedelta = RETENTION) -> None:
        self.table = table
        self.retention = retention

    def write_plan(self, run: Run, number: int, plan: Plan, now: datetime) -> list[Step]:
        """Write the steps of plan `number` of a run. Raises Lost."""
        steps: list[Step] = []
        for stage, actions in enumerate(plan.stages):
            steps += [Step(len(steps) + offset, stage, action) for offset, action in enumerate(actions)]
        self.write(run, number, steps, now)
        return steps

    def write(self, run: Run, number: int, steps: Sequence[Step], now: datetime) -> None:
        """Write the present state of steps, some at a time, each batch with the run's fence. Raises Lost."""
        size = TRANSACTION_LIMIT - 1
        for first in range(0, len(steps), size):
            fence = self.table.check(run.partition, "RUN", "#fence = :fence", fence=run.fence)
            puts = [self.table.put(self._item(run, number, step, now)) for step in steps[first : first + size]]
            try:
                self.table.transact([fence, *puts])
            except ConditionFailed:
                raise Lost(run.id) from None

    def read(self, run: Run, number: int, verbs: Verbs) -> list[Step]:
        """The steps of plan `number`, in order."""
        return [_step(item, verbs) for item in self.table.query(run.partition, f"STEP#{number:04}#")]

    def items(self, run_id: str) -> Iterator[Item]:
        """The steps of all plans, for people: `plan`, `stage`, `verb`, `object`, `state`, `evidence` and so on."""
        yield from map(shown, self.table.query(f"RUN#{run_id}", "STEP#"))

    def _item(self, run: Run, number: int, step: Step, now: datetime) -> dict[str, Any]:
        return {
            "pk": run.partition,
            "sk": f"STEP#{number:04}#{step.index:06}",
            "stage": step.stage,
            "verb": step.action.verb(),
            "action": step.action.model_dump_json(),
            "state": step.state.value,
            "evidence": json.dumps(step.evidence),
            "why": step.why,
            "at": now.isoformat(timespec="milliseconds"),
            "expires": expiry(now, self.retention, living=True),
        }


def shown(item: Item) -> Item:
    """A step as people are shown it."""
    action = json.loads(item["action"])
    return {
        "plan": int(item["sk"].split("#")[1]),
        "stage": item["stage"],
        "verb": item["verb"],
        "object": action["object"],
        "precondition": action["precondition"],
        "hazard": action["hazard"],
        "note": action.get("note", ""),
        "state": item["state"],
        "why": item.get("why", ""),
        "evidence": json.loads(item["evidence"]),
        "at": item["at"],
    }


def _step(item: Item, verbs: Verbs) -> Step:
    return Step(
        index=int(item["sk"].rsplit("#", 1)[1]),
        stage=item["stage"],
        action=verbs[item["verb"]].model_validate_json(item["action"]),
        state=StepState(item["state"]),
        evidence=json.loads(item["evidence"]),
        why=item.get("why", ""),
    )
