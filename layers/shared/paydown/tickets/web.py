"""HTTP to one ticket system: as `paydown.clients.web`, and what is not there is a ticket that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paydown.clients import web
from paydown.clients.web import Answer, NotThere, said
from paydown.tickets.shapes import TicketNotFound

__all__ = ["Answer", "Web", "said"]


class Web(web.Web):
    """Calls to the addresses of one ticket system."""

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
        content: bytes | None = None,
    ) -> Answer:
        """See `paydown.clients.web.Web.call`; raises TicketNotFound in the place of NotThere."""
        try:
            return super().call(method, path, body, headers, also, content)
        except NotThere as error:
            raise TicketNotFound(str(error)) from None
