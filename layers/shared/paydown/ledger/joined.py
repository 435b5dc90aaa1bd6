"""Who asked for the events that joined a run: `JOINED#<run that did>` in the partition of the one that they joined.

Whoever asked for a destructive plan cannot approve it, and a ticket is told what came of it, whether its event began
the run or joined it. An event that nobody asked for leaves nothing here. Nothing joins a run that has looked at its
target: by then, all that did stand here.
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


def joined_events(table: Table, run: str) -> list[dict[str, Any]]:
    """Of each event that joined the run with this id and that somebody asked for, what says who (`asking`)."""
    return [json.loads(item["event"]) for item in table.query(f"RUN#{run}", _JOINED)]


def joined_tickets(table: Table, run: str) -> list[str]:
    """The tickets (`tracker/id`) whose events joined the run with this id."""
    found = (event.get("ticket") for event in joined_events(table, run))
    return [f"{ticket['tracker']}/{ticket['id']}" for ticket in found if ticket]
