"""HTTP to one ticket system: as `paydown.clients.web`, and what is not there is a ticket that is not there."""

from __future__ import annotations

from paydown.clients import web
from paydown.clients.web import Answer, said
from paydown.tickets.shapes import TicketNotFound

__all__ = ["Answer", "Web", "said"]


class Web(web.Web):
    """Calls to the addresses of one ticket system."""

    absent = TicketNotFound
