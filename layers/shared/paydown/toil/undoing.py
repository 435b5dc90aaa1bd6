"""Taking back what a run left half-done: a run like any other, whose plan is made from that run's journal.

It begins in the ledger alone (`Runs.undo`, or with the end of the run): the row is the authority, and no message can
make one. What is safe to take back, the toil type's own `undo` decides, looking at the world.
"""

from __future__ import annotations

from typing import Any

from paydown.errors import PermanentError
from paydown.events import UndoRequested
from paydown.inventory import Target
from paydown.ledger import Ledger, Verbs
from paydown.plan import (
    Action,
    Applied,
    Draft,
    Hazard,
    Population,
    Record,
    Seen,
    StepState,
    Unverified,
    Verified,
    left_behind,
)
from paydown.toil.contract import Toil


class Undo(Action):
    """Take back one step of another run: `step` is its action as that run's journal has it, in JSON."""

    hazard: Hazard = Hazard.REVERSIBLE
    step: str
    step_verb: str


class Undoing(Toil[Target]):
    """Stands in for a toil type in a run that takes back what another run of the type left."""

    name = "undoing"
    listens_to = (UndoRequested,)
    does = (Undo,)

    def __init__(self, toil: Toil[Any], ledger: Ledger) -> None:
        super().__init__(toil.scene)
        self.toil = toil
        self.ledger = ledger
        self.verbs: Verbs = {action.verb(): action for action in toil.does}
        self.name = toil.name  # type: ignore[misc]  # whose switches, policy and ledger rows count

    @classmethod
    def targets(cls, event: Any, inventory: Any) -> list[Target]:
        """None: such a run begins in the ledger, with its target."""
        return []

    def plan(self, target: Target) -> Draft:
        """The last step first, one at a time."""
        request = self.event
        if not isinstance(request, UndoRequested):
            raise PermanentError("only a request to undo can be planned from a journal")
        run = self.ledger.runs.get(request.run_id)
        if run is None or run.target != target.uid:
            raise PermanentError(f"there is no run {request.run_id} on this target")
        read = self.ledger.journal.read
        steps = [step for number in run.executed for step in read(run, number, self.verbs)]
        undos = [
            Undo(
                object=step.action.object,
                precondition=f"{step.action.verb()} was done by run {run.id}",
                note=step.action.note,
                step=step.action.model_dump_json(),
                step_verb=step.action.verb(),
            )
            for step in left_behind(steps)
        ]
        return Draft.of(*[[undo] for undo in undos], why=f"run {run.id} left nothing half-done that can be taken back")

    def population(self, target: Target) -> Population | None:
        """None: it gives back, and takes no member from any pool."""
        return None

    def apply(self, action: Undo, target: Target) -> Applied:
        """As the toil type takes it back."""
        return self.toil.undo(self.verbs[action.step_verb].model_validate_json(action.step), target)

    def verify(self, target: Target, record: Record) -> Seen:
        """Whether all of it was taken back; the toil type's `undo` has read the world for each."""
        left = [f"{step.action.object}: {step.why}" for step in record.steps if step.state is StepState.MOOT]
        evidence = {"undone": len(record.done()), "left": left}
        if left:
            return Unverified(f"left as it is: {'; '.join(left[:5])}", evidence)
        return Verified(evidence)
