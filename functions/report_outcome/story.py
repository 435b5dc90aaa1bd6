"""The whole story, for a ticket that asks a person to look: what was tried, what came of it, and what was left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from functions.report_outcome.meaning import named_runs
from functions.report_outcome.report import LINES, clock, flat, line
from paydown.events import RemediationChanged
from paydown.ledger import Ledger, Run

RUNS = 10
"""Earlier runs that are told of at the most."""
STEPS = 30
STORY_LIMIT = 18_000
"""Characters: a ticket takes 20,000."""


def story(ledger: Ledger, change: RemediationChanged) -> str:
    """The present run and those that its reasons name, oldest first, as the ledger tells them."""
    ids = [*named_runs(change)[-RUNS:], change.run_id]
    runs = [run for run in map(ledger.runs.get, ids) if run is not None]
    lines: list[str] = ["What happened, oldest first:"]
    for run in sorted(runs, key=lambda run: run.created):
        lines += ["", *_chapter(ledger, run)]
    text = "\n".join(lines)
    return text if len(text) <= STORY_LIMIT else f"{text[: STORY_LIMIT - 60]}\n… the record of the runs has the rest"


def _chapter(ledger: Ledger, run: Run) -> Iterator[str]:
    yield f"Run {run.id}, begun {clock(run.created)} for {line(run.event_type)} {line(run.key)}: {run.status}"
    for reason in run.reasons[:LINES]:
        yield f"  - {line(reason.text)} ({line(reason.code)})"
    entries = [f"{line(entry['status'])} {str(entry['at'])[11:19]}Z" for entry in ledger.runs.log(run.id)]
    yield f"  went: {', '.join(entries[-LINES:])}"
    steps = list(ledger.journal.items(run.id))
    for step in steps[:STEPS]:
        why = f": {line(step['why'])}" if step["why"] else ""
        yield f"  {line(step['state'])}: {line(step['verb'])} {line(step['object'])}{why}"
    if len(steps) > STEPS:
        yield f"  and {len(steps) - STEPS} more actions"
    evidence: dict[str, Any] = dict(run.evidence)
    left = evidence.pop("left", [])
    yield from list(flat("", json.loads(json.dumps({"evidence": evidence}))))[:LINES] if evidence else ()
    for one in left if isinstance(left, (list, tuple)) else (left,):
        yield f"  left half-done: {line(one)}"
