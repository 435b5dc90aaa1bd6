"""What came of the demo: `.paydown/demo.json`, and a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.live import plain
from paydown.ledger import Run


@dataclass(frozen=True)
class Result:
    """One run: what was sent, what was to come of it, what came of it, and what was seen.

    `expected` is one outcome or several; `flaws` says what else is not as it should be.
    """

    toil: str
    event: str
    target: str
    outcome: str
    seconds: float
    expected: tuple[str, ...]
    evidence: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    flaws: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether everything came as expected."""
        return self.outcome in self.expected and not self.flaws

    @classmethod
    def of(
        cls,
        run: Run,
        event: str,
        expected: tuple[str, ...],
        evidence: dict[str, Any] | None = None,
        flaws: Sequence[str] = (),
    ) -> Result:
        """The result of a run that has ended."""
        ended = run.updated or run.created
        why = {"why": "; ".join(reason.text for reason in run.reasons)} if run.reasons else {}
        return cls(
            toil=run.toil,
            event=event,
            target=run.ref,
            outcome=run.status.value,
            seconds=max(0.0, round((ended - run.created).total_seconds(), 1)),
            expected=expected,
            evidence={**run.evidence, **why, **(evidence or {})},
            run=run.id,
            flaws=tuple(flaws),
        )


def write(results: Sequence[Result], path: Path) -> None:
    """The results as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        {
            "toil": result.toil,
            "event": result.event,
            "target": result.target,
            "outcome": result.outcome,
            "seconds": result.seconds,
            "evidence": result.evidence,
            "expected": list(result.expected),
            "flaws": list(result.flaws),
            "run": result.run,
        }
        for result in results
    ]
    path.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")


def table(results: Sequence[Result]) -> str:
    """The results as text; a line that is not as expected is marked, and says why."""
    rows = [("toil", "event", "target", "outcome", "s", "")]
    rows += [(one.toil, one.event, one.target, one.outcome, f"{one.seconds:.1f}", _remark(one)) for one in results]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        cells[4] = row[4].rjust(widths[4])
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join(lines)


def _remark(result: Result) -> str:
    if not result.right:
        wrong = [] if result.outcome in result.expected else [f"expected {' or '.join(result.expected)}"]
        return "WRONG: " + "; ".join([*wrong, *result.flaws, str(result.evidence.get("why", ""))])
    if "why" in result.evidence:
        return plain(result.evidence["why"], 80)
    shown = [f"{name} {value}" for name, value in result.evidence.items() if isinstance(value, int | float)]
    return plain(", ".join(shown), 80)
