"""What a living run has done that wants taking back."""

from __future__ import annotations

from cli.toils import NotInstalledError, toil_type
from paydown.events import UndoRequested
from paydown.ledger import Ledger, Run
from paydown.plan import left_behind


def half_done(ledger: Ledger, run: Run) -> list[str]:
    """Its steps that want taking back, in words; of a run that takes back, nothing."""
    if not run.executed or run.event_type == UndoRequested.detail_type():
        return []
    try:
        verbs = {action.verb(): action for action in toil_type(run.toil).does}
    except NotInstalledError as error:
        return [f"unknown: {error}"]
    steps = [step for number in run.executed for step in ledger.journal.read(run, number, verbs)]
    return [str(step.action) for step in left_behind(steps)]
