"""Who asked for the events that joined a run: `JOINED#<run that did>` in the partition of the one that they joined.

Whoever asked for a destructive plan cannot approve it, and a ticket asks whether its event began the run or joined it.
An event that nobody asked for leaves nothing here.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from paydown.approving import asking
from paydown.ledger.retention import expiry
from paydown.ledger.run import Run
from paydown.ledger.table import Table, Write

_JOINED = "JOINED#"


def joining(table: Table, run: Run, host: str, now: datetime, retention: timedelta) -> list[Write]:
    """The write which notes who asked for the event of `run`, as it joins the run with the id `host`."""
    asked = asking(run.event)
    if not asked:
        return []
    item = {"pk": f"RUN#{host}", "sk": f"{_JOINED}{run.id}", "event": json.dumps(asked)}
    return [table.put({**item, "expires": expiry(now, retention, living=True)})]


def joined_events(table: Table, run: Run) -> list[dict[str, Any]]:
    """Of each event that joined the run and that somebody asked for, what says who."""
    return [json.loads(item["event"]) for item in table.query(run.partition, _JOINED)]
