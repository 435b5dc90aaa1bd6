"""A ticket system in memory, as convergent as the real ones, that counts how often it is written to."""

from __future__ import annotations

from dataclasses import dataclass, field

from paydown.tickets import Message, Ticket, TicketNotFound


@dataclass
class FakeTickets:
    """`comments` by (ticket, marker); `made` maps the marker of a ticket that we made to (title, text)."""

    comments: dict[tuple[str, str], str] = field(default_factory=dict)
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)
    writes: int = 0
    trouble: Exception | None = None
    gone: set[str] = field(default_factory=set)
    broken: dict[str, Exception] = field(default_factory=dict)

    def comment(self, ticket_id: str, body: str, marker: str) -> bool:
        self._look(ticket_id)
        new = (ticket_id, marker) not in self.comments
        if new:
            self.writes += 1
            self.comments[ticket_id, marker] = body
        return new

    def edit_comment(self, ticket_id: str, body: str, marker: str) -> bool:
        self._look(ticket_id)
        changed = self.comments.get((ticket_id, marker)) != body
        if changed:
            self.writes += 1
            self.comments[ticket_id, marker] = body
        return changed

    def comment_and_resolve(self, ticket_id: str, body: str, marker: str) -> bool:
        new = self.comment(ticket_id, body, marker)
        if new:
            self.resolved.add(ticket_id)
        return new

    def reopen(self, ticket_id: str) -> bool:
        self._look(ticket_id)
        was = ticket_id in self.resolved
        self.writes += was
        self.resolved.discard(ticket_id)
        return was

    def create(self, title: str, text: str, marker: str) -> str:
        self._look("")
        if marker not in self.made:
            self.writes += 1
            self.made[marker] = (title, text)
        return str(100 + list(self.made).index(marker))

    def of(self, ticket_id: str) -> list[str]:
        """The comments on one ticket."""
        return [body for (ticket, _), body in self.comments.items() if ticket == ticket_id]

    def _look(self, ticket_id: str) -> None:
        if self.trouble:
            raise self.trouble
        if ticket_id in self.broken:
            raise self.broken[ticket_id]
        if ticket_id in self.gone:
            raise TicketNotFound(ticket_id)


class Tickets(FakeTickets):
    """Its tickets can be read and found."""

    def find(self, marker: str) -> str | None:
        return str(100 + list(self.made).index(marker)) if marker in self.made else None

    def read(self, ticket_id: str, messages: int = 0) -> Ticket:
        said = tuple(Message("paydown", text) for text in self.of(ticket_id))
        return Ticket(ticket_id, "", "", "", False, (), "", said)
