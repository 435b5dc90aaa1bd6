"""Ticket systems: read a ticket, comment on it once, resolve and reopen it.

`open_tracker` gives the one that an inventory's tracker names; all of them behave as `TicketSystem` says. A further
system is one file here and one line below.
"""

from __future__ import annotations

from paydown.inventory import Tracker
from paydown.tickets.shapes import Comment, Message, Queued, Secrets, Ticket, TicketNotFound, TicketSystem, plain

__all__ = [
    "Comment",
    "Message",
    "Queued",
    "Secrets",
    "Ticket",
    "TicketNotFound",
    "TicketSystem",
    "open_tracker",
    "plain",
]


def open_tracker(tracker: Tracker, secret: Secrets) -> TicketSystem:
    """The ticket system of a tracker; nothing is sent before its first use.

    `secret` returns the value of the secret of a name, as `paydown.clients.aws.secret` does: `{"username", "password"}`
    for Roundup, `{"token"}` for GitHub, with `login` added where the token is a GitHub App's, which cannot ask for its
    own name.
    """
    if tracker.system == "roundup":
        from paydown.tickets.roundup import open_roundup

        return open_roundup(tracker, secret)
    from paydown.tickets.github import open_github

    return open_github(tracker, secret)
