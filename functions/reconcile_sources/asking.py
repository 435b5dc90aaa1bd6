"""Alertmanagers and ticket systems: what they say now that their webhooks should have said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from functions.reconcile_sources.desk import Desk, State, digest_of
from paydown.clients.alertmanager import open_alertmanager
from paydown.errors import InvalidEvent
from paydown.events import TicketCreated, TicketRef
from paydown.inventory import Alertmanager, Tracker
from paydown.sources.alertmanager import read_alerts
from paydown.sources.webhook import MAX_ITEMS
from paydown.tickets import open_tracker

Secret = Callable[[str], Any]

OVERLAP = timedelta(minutes=10)
"""How much earlier than its last pass a ticket system is asked for: clocks differ, and lists lag."""


def alertmanager(entry: Alertmanager, state: State, desk: Desk, secret: Secret) -> int:
    """Tell of the alerts that fire, each once, with the key that its webhook has. Returns how many were untold."""
    alerts = open_alertmanager(entry, secret).firing(entry.receiver)
    found = 0
    faults: list[tuple[str, str]] = []
    for first in range(0, len(alerts), MAX_ITEMS):
        batch = read_alerts(alerts[first : first + MAX_ITEMS], entry.cluster)
        found += desk.tell_untold("alertmanager", batch.events)
        faults += batch.faults
    if faults:
        raise InvalidEvent(f"{len(faults)} fault(s) in the alerts of {entry.name}", faults[:5])
    return found


def tracker(entry: Tracker, state: State, desk: Desk, secret: Secret) -> int:
    """Tell of the tickets that came to the automation queue since the last pass. Returns how many were untold.

    The first pass only remembers the time. A ticket is found once: if a person takes it out of the queue and puts it in
    again, only the webhook tells.
    """
    since = state.get("since")
    found = 0
    if since is not None:
        tickets = open_tracker(entry, secret).queued(entry.queue, datetime.fromisoformat(since) - OVERLAP)
        events = [
            TicketCreated(
                key=f"{entry.system}:found:{digest_of(entry.name, ticket.id, entry.queue)}",
                at=ticket.at,
                ticket=TicketRef(tracker=entry.name, id=ticket.id),
                title=ticket.title,
                queue=entry.queue,
                creator=ticket.creator or None,
            )
            for ticket in tickets
        ]
        found = desk.tell_untold(entry.system, events)
    state["since"] = desk.now.isoformat()
    return found
