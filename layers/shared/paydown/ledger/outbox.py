"""The log of transitions as what others are told: each entry is one `Remediation …` event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from paydown.events import RemediationChanged
from paydown.ledger.run import Outcome
from paydown.ledger.table import Item

if TYPE_CHECKING:
    from paydown.ledger import Ledger

EVIDENCE_BYTES = 64 * 1024
"""Evidence beyond this stays in the ledger: the bus takes 256 KB for an event with all that belongs to it."""
AROUND = timedelta(minutes=1)
"""How much the clock that wrote an entry and the one that tells of its delivery may differ."""


def transition(item: dict[str, Any]) -> RemediationChanged:
    """What a log entry of the ledger says, as an event."""
    evidence = item.get("evidence", "{}")
    return RemediationChanged(
        key=f"{item['run']}:{item['sk']}",
        at=item["at"],
        run_id=item["run"],
        toil=item["toil"],
        target=item["ref"],
        status=item["status"],
        reasons=tuple((code, text) for code, text in item["reasons"]),
        actions=item.get("actions", 0),
        evidence=json.loads(evidence) if len(evidence) <= EVIDENCE_BYTES else {"too_large": len(evidence)},
        ticket=item.get("ticket"),
        cause=item["key"],
        rule=item.get("event_type", ""),
        sequence=int(item["sk"].removeprefix("LOG#")),
        plan_number=item.get("plan_number", 0),
        fingerprint=item.get("fingerprint", ""),
        hazard=item.get("hazard", ""),
    )


def entries_between(ledger: Ledger, first: datetime, last: datetime, now: datetime) -> Iterator[Item]:
    """The log entries written between two times, and a minute around them, run by run.

    A run that made a transition then has either ended since, or is alive now: nothing is scanned.
    """
    since, until = first - AROUND, last + AROUND
    ended = (entry.run for entry in ledger.history.ended(Outcome, since, now + AROUND))
    seen: set[str] = set()
    for runs in (ended, (row["id"] for row in ledger.runs.alive())):
        for run in runs:
            if run in seen:
                continue
            seen.add(run)
            for item in ledger.runs.log(run):
                if since <= datetime.fromisoformat(item["at"]) <= until:
                    yield item
