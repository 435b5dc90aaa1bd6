"""What people decided about held plans. Authority comes only from here: a message merely wakes the run.

Decisions lie in partitions of their own (`APPROVAL#<run>`), so that the roles of the functions that act can be kept
from writing there. Each names the person, how somebody vouched for them, and the fingerprint of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from paydown.approving import Caller, Command, Refused, judge
from paydown.ledger.joined import joined_events
from paydown.ledger.retention import RETENTION, expiry
from paydown.ledger.run import Run, Status, stamp
from paydown.ledger.table import ConditionFailed, Table
from paydown.policy import Policy

_DECISION = 0
"""Where the decision itself stands in the transaction."""


class NotHeld(Refused):
    """The run is not held, not with this plan, or somebody decided already: the first decision counts."""


@dataclass(frozen=True)
class Decision:
    """A person's decision on plan `plan_number`, whose fingerprint was `fingerprint`.

    `proof` is how they were authenticated: `iam:<arn>` or `ticket:<tracker>/<user>`.
    """

    approved: bool
    by: str
    at: str
    plan_number: int
    fingerprint: str
    why: str
    proof: str = ""


class Approvals:
    """The decisions of one ledger. `retention` is how long they are kept after their runs ended, or a little longer."""

    def __init__(self, table: Table, retention: timedelta = RETENTION) -> None:
        self.table = table
        self.retention = retention

    def decide_as(
        self, caller: Caller, run: Run, command: Command, policy: Policy, now: datetime, receipt: str = ""
    ) -> Decision:
        """Record what a caller decided, if the policy lets them; the same decision of the same caller is a repeat.

        With a `receipt` (what the decision came with, such as a comment's id) it is found again by `received`. Raises
        Refused.
        """
        recorded = self.latest(run)
        if recorded is not None and recorded.plan_number == run.plan_number:
            same = (caller.proof, command.approved) == (recorded.proof, recorded.approved)
            if same and recorded.fingerprint.startswith(command.fingerprint):
                return recorded
        person = judge(policy, run, caller, command, now, joined_events(self.table, run.id))
        return self.decide(
            run,
            run.fingerprint,
            approved=command.approved,
            by=person.name,
            why=command.why,
            now=now,
            proof=caller.proof,
            receipt=receipt,
        )

    def decide(
        self,
        run: Run,
        fingerprint: str,
        *,
        approved: bool,
        by: str,
        why: str,
        now: datetime,
        proof: str = "",
        receipt: str = "",
    ) -> Decision:
        """Record a decision on the plan that a run is held with, and make the run due.

        The caller has made sure who the person is, and that the policy lists them. Raises NotHeld with the code
        `decided_already`, `not_held` or `wrong_fingerprint`.
        """
        at = now.isoformat(timespec="seconds")
        decision = Decision(approved, by, at, run.plan_number, fingerprint, why, proof)
        expires = expiry(now, self.retention, living=True)
        item = {"pk": _partition(run), "sk": _sort_key(run.plan_number), **vars(decision), "expires": expires}
        writes = [
            self.table.put(item, "attribute_not_exists(pk)"),
            self.table.update(
                run.partition,
                "RUN",
                # The sequence too: a worker that is about to let the plan expire must notice, and look again.
                "SET #due = :now, #sequence = #sequence + :one",
                "#status = :held AND #fingerprint = :fingerprint AND #plan_number = :number",
                now=stamp(now),
                one=1,
                held=Status.HELD.value,
                fingerprint=fingerprint,
                number=run.plan_number,
            ),
        ]
        if receipt:
            key = {"pk": f"APPROVAL#{receipt}", "sk": "RECEIPT"}
            writes.append(self.table.put({**key, "run": run.id, "plan_number": run.plan_number, "expires": expires}))
        try:
            self.table.transact(writes)
        except ConditionFailed as failed:
            raise self._refusal(run, failed.indexes) from None
        return decision

    def latest(self, run: Run) -> Decision | None:
        """The decision on the newest plan of the run that anybody decided on."""
        for item in self.table.query(_partition(run), newest_first=True, limit=1):
            return _decision(item)
        return None

    def all(self, run: Run) -> list[Decision]:
        """The decisions on all plans of the run, the newest first."""
        return [_decision(item) for item in self.table.query(_partition(run), newest_first=True)]

    def received(self, receipt: str) -> tuple[str, Decision] | None:
        """The run and the decision that this receipt stands for."""
        found = self.table.get(f"APPROVAL#{receipt}", "RECEIPT")
        if found is None:
            return None
        item = self.table.get(f"APPROVAL#{found['run']}", _sort_key(int(found["plan_number"])))
        return (str(found["run"]), _decision(item)) if item else None

    def _refusal(self, run: Run, failed: Sequence[int]) -> NotHeld:
        if _DECISION in failed:
            return NotHeld(
                "decided_already", f"somebody decided on this plan of run {run.id} already: the first counts"
            )
        item = self.table.get(run.partition, "RUN")
        if item is not None and item["status"] == Status.HELD:
            return NotHeld("wrong_fingerprint", f"run {run.id} is held with another plan now: look again")
        return NotHeld("not_held", f"run {run.id} is not held any more")


def _partition(run: Run) -> str:
    return f"APPROVAL#{run.id}"


def _sort_key(plan_number: int) -> str:
    return f"PLAN#{plan_number:04}"


def _decision(item: Mapping[str, Any]) -> Decision:
    return Decision(
        approved=item["approved"],
        by=item["by"],
        at=item["at"],
        plan_number=int(item["plan_number"]),
        fingerprint=item["fingerprint"],
        why=item["why"],
        proof=item.get("proof", ""),
    )
