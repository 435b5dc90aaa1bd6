"""What people decided about held plans. Authority comes only from here: a message merely wakes the run.

Decisions lie in partitions of their own (`APPROVAL#<run>`), so that the roles of the functions that act can be kept
from writing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from paydown.errors import PaydownError
from paydown.ledger.run import Run, Status, stamp
from paydown.ledger.table import ConditionFailed, Table


class NotHeld(PaydownError):
    """The run is not held, not with this plan, or somebody decided already: the first decision counts."""


@dataclass(frozen=True)
class Decision:
    """A person's decision on plan `plan_number`, whose fingerprint was `fingerprint`."""

    approved: bool
    by: str
    at: str
    plan_number: int
    fingerprint: str
    why: str


class Approvals:
    """The decisions of one ledger. The caller has made sure who the person is and that the policy lists them."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def decide(self, run: Run, fingerprint: str, *, approved: bool, by: str, why: str, now: datetime) -> Decision:
        """Record a decision on the plan that a run is held with, and make the run due. Raises NotHeld."""
        decision = Decision(approved, by, now.isoformat(timespec="seconds"), run.plan_number, fingerprint, why)
        item = {
            "pk": _partition(run),
            "sk": f"PLAN#{run.plan_number:04}",
            "approved": approved,
            "by": by,
            "at": decision.at,
            "fingerprint": fingerprint,
            "plan_number": run.plan_number,
            "why": why,
        }
        try:
            self.table.transact(
                [
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
            )
        except ConditionFailed:
            raise NotHeld(f"run {run.id} is not held with plan {fingerprint[:12]}, or was decided already") from None
        return decision

    def latest(self, run: Run) -> Decision | None:
        """The decision on the newest plan of the run that anybody decided on."""
        for item in self.table.query(_partition(run), newest_first=True, limit=1):
            return Decision(
                item["approved"], item["by"], item["at"], int(item["plan_number"]), item["fingerprint"], item["why"]
            )
        return None


def _partition(run: Run) -> str:
    return f"APPROVAL#{run.id}"
