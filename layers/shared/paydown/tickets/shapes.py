"""What all ticket systems have in common. A ticket's text is hostile: bounded here, quoted where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from paydown.errors import PermanentError

TITLE_LIMIT = 2_000
TEXT_LIMIT = 20_000
NAME_LIMIT = 255
"""Characters; what is longer is cut."""
TITLE_SHOWN = 250
"""Characters of a title that we give: GitHub takes 256."""

Secrets = Callable[[str], Any]
"""The value of a secret, by its name."""

_MARKER = re.compile(r"paydown-run: [A-Za-z0-9][A-Za-z0-9_./:-]{0,200}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class TicketNotFound(PermanentError):
    """There is no such ticket, or we may not see it."""


@dataclass(frozen=True)
class Message:
    """One comment on a ticket, by whom the system says."""

    author: str
    text: str


@dataclass(frozen=True)
class Comment:
    """One comment with what the system vouches for. `author` is its user's exact name, empty when it cannot be shown.

    `edited`: it was changed since it was written, or is signed with another name, as far as the system tells. `ours`:
    we wrote it. `at`: when it was written, in UTC.
    """

    author: str
    text: str
    edited: bool
    ours: bool
    at: datetime | None


@dataclass(frozen=True)
class Ticket:
    """A ticket as it is now.

    `text` is its description. `queues` are the keywords (Roundup) or labels (GitHub) that it carries. `status` is the
    system's own word for where it stands; `resolved` is what that means. `messages` are the latest comments, oldest
    first, at most as many as were asked for.
    """

    id: str
    title: str
    text: str
    status: str
    resolved: bool
    queues: tuple[str, ...]
    creator: str
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Queued:
    """A ticket in a queue, as a list shows it. `at` is when it last changed, in UTC."""

    id: str
    title: str
    creator: str
    at: datetime


class TicketSystem(Protocol):
    """One ticket system.

    A `marker` is `paydown-run: ` and an id of letters, digits and `_./:-`. It makes a comment convergent: a ticket that
    already carries a comment of ours with this marker does not get another. `body` is plain text, shown as it is. Each
    method that writes returns whether it changed the ticket. All raise TicketNotFound, PermanentError, RetryableError.
    """

    def read(self, ticket_id: str, messages: int = 0) -> Ticket:
        """The ticket, with at most `messages` of its latest comments."""
        ...

    def queued(self, queue: str, since: datetime) -> list[Queued]:
        """The tickets in a queue that are not resolved and changed at `since` or later."""
        ...

    def comment_of(self, ticket_id: str, comment_id: str) -> Comment:
        """The comment with this id. Raises TicketNotFound if it is on another ticket."""
        ...

    def comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """Add a comment; the ticket's status stays as it is."""
        ...

    def edit_comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """Let the comment with this marker say `body`: it is rewritten, or added if it is missing."""
        ...

    def comment_and_resolve(self, ticket_id: str, body: str, marker: str) -> bool:
        """Comment and resolve; where the marker stands, both have happened.

        So a repeat does nothing, and a person who has reopened the ticket meanwhile is not overruled.
        """
        ...

    def resolve(self, ticket_id: str) -> bool:
        """Close the ticket as done."""
        ...

    def reopen(self, ticket_id: str) -> bool:
        """Open the ticket again if it is resolved."""
        ...

    def create(self, title: str, text: str, marker: str) -> str:
        """The id of our ticket with this marker, which is made if it is missing."""
        ...

    def find(self, marker: str) -> str | None:
        """The id of the ticket that `create` made with this marker."""
        ...


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text without control and direction-changing characters (line breaks and tabs stay), at most `limit` long."""
    clean = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def exactly(name: str) -> str:
    """The name if it is shown as it is; else empty, since it could pass for another one."""
    return name if name.isprintable() and len(name) <= NAME_LIMIT else ""


def checked_marker(marker: str) -> str:
    """The marker, if it has the form that `TicketSystem` asks for. Raises PermanentError."""
    if not _MARKER.fullmatch(marker):
        raise PermanentError("the marker of a comment must be 'paydown-run: ' and an id")
    return marker


def checked_id(ticket_id: str) -> str:
    """The id, if it is a number: it becomes part of an address. Raises TicketNotFound."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", ticket_id, re.ASCII):
        raise TicketNotFound(f"no ticket has the id {plain(ticket_id, 40)!r}")
    return ticket_id


def credentials(secret: Secrets, name: str, *fields: str) -> Mapping[str, str]:
    """The secret `name` as a mapping that has these fields. Raises PermanentError, which never shows the content."""
    content = secret(name)
    if not isinstance(content, dict) or not all(isinstance(content.get(field), str) for field in fields):
        raise PermanentError(f"the secret {name} must be a JSON object with {' and '.join(fields)}")
    return {key: value for key, value in content.items() if isinstance(value, str)}
