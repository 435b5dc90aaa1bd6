"""Roundup (2.x), through its REST interface.

An issue is edited under its ETag. A comment is a message whose `messageid` is made from marker and issue, so that the
look-up is one exact search. Needs the classic template's statuses `resolved` and `chatting`.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Tracker
from paydown.tickets.shapes import (
    NAME_LIMIT,
    TEXT_LIMIT,
    TITLE_LIMIT,
    TITLE_SHOWN,
    Comment,
    Message,
    Queued,
    Secrets,
    Ticket,
    TicketNotFound,
    checked_id,
    checked_marker,
    credentials,
    exactly,
    plain,
)
from paydown.tickets.web import Answer, Web, said

RESOLVED = "resolved"
REOPENED = "chatting"
"""What Roundup itself makes of a resolved issue on which somebody writes."""
ATTEMPTS = 7
MOMENT = "%Y-%m-%d.%H:%M:%S"
PAGE = 100
PAGES = 30


@dataclass(frozen=True)
class _Issue:
    etag: str
    status: str | None
    messages: tuple[str, ...]
    attributes: Mapping[str, Any]


class RoundupTickets:
    """One tracker; `user` is the name under which `web` logs in."""

    def __init__(self, web: Web, user: Callable[[], str], sleep: Callable[[float], None] = time.sleep) -> None:
        self._web = web
        self._user = user
        self._sleep = sleep

    def read(self, ticket_id: str, messages: int = 0) -> Ticket:
        """See TicketSystem. The description is the issue's first message."""
        issue = self._issue(ticket_id)
        first, rest = issue.messages[:1], issue.messages[1:]
        return Ticket(
            id=ticket_id,
            title=plain(str(issue.attributes.get("title") or ""), TITLE_LIMIT),
            text="".join(self._message(one).text for one in first),
            status=issue.status or "",
            resolved=issue.status == RESOLVED,
            queues=tuple(plain(str(keyword["name"]), NAME_LIMIT) for keyword in issue.attributes.get("keyword") or ()),
            creator=_username(issue.attributes.get("creator")),
            messages=tuple(self._message(one) for one in (rest[-messages:] if messages else ())),
        )

    def queued(self, queue: str, since: datetime) -> list[Queued]:
        """See TicketSystem. A queue is a keyword."""
        # Roundup takes the time for one in our user's time zone, so it is asked for a day more, and then we compare.
        earliest = quote(f"from {(since - timedelta(days=1)).astimezone(UTC).strftime(MOMENT)}")
        fields = "title,creator,activity,status&@verbose=2&@sort=activity"
        path = f"issue?keyword={quote(queue, safe='')}&activity={earliest}&@fields={fields}"
        found: list[Queued] = []
        for page in range(1, PAGES + 1):
            collection = self._call("GET", f"{path}&@page_size={PAGE}&@page_index={page}").data["data"]["collection"]
            found += [_queued(issue) for issue in collection if (issue.get("status") or {}).get("name") != RESOLVED]
            if len(collection) < PAGE:
                break
        return [one for one in found if one.at >= since]

    def comment_of(self, ticket_id: str, comment_id: str) -> Comment:
        """See TicketSystem. Its creator counts: a message's `author` is whoever its creator says, and anybody may edit.

        Roundup does not tell when the content alone was changed: our detector refuses that for decisions.
        """
        if checked_id(comment_id) not in self._issue(ticket_id).messages:
            raise TicketNotFound(f"message {comment_id} is not on issue {ticket_id}")
        answer = self._call(
            "GET", f"msg/{comment_id}?@verbose=3&@fields=content,author,creator,actor,creation,activity"
        )
        told = answer.data["data"]["attributes"]
        names = {who: _exact_username(told.get(who)) for who in ("author", "creator", "actor")}
        creator = names["creator"]
        touched = told.get("creation") != told.get("activity") or told.get("creation") is None
        return Comment(
            author=exactly(creator),
            text=plain(str(told.get("content") or ""), TEXT_LIMIT),
            edited=touched or names["actor"] != creator or names["author"] not in ("", creator),
            ours=creator == self._user(),
            at=_moment(told["creation"]) if told.get("creation") else None,
        )

    def comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem."""
        return self._write(ticket_id, body, marker, status=None)

    def edit_comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem. Roundup lets us rewrite our own messages only."""
        message_id = f"{checked_marker(marker)}@issue{checked_id(ticket_id)}"
        on_issue = self._issue(ticket_id).messages
        ours = [message for message in self._posted(message_id) if message in on_issue]
        if not ours:
            return self.comment(ticket_id, body, marker)
        return self._rewrite(ours[0], f"{plain(body)}\n\n{marker}")

    def comment_and_resolve(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem. One request does both."""
        return self._write(ticket_id, body, marker, status=RESOLVED)

    def resolve(self, ticket_id: str) -> bool:
        """See TicketSystem."""
        return self._edit(ticket_id, lambda issue: None if issue.status == RESOLVED else {"status": RESOLVED})

    def reopen(self, ticket_id: str) -> bool:
        """See TicketSystem."""
        return self._edit(ticket_id, lambda issue: {"status": REOPENED} if issue.status == RESOLVED else None)

    def create(self, title: str, text: str, marker: str) -> str:
        """See TicketSystem. Of two that are made at the same moment the older stays; the other is resolved."""
        known = self.find(marker)
        if known is not None:
            return known
        message_id = f"{marker}@new"
        posted = self._posted(message_id)
        message = posted[0] if posted else self._post(f"{plain(text)}\n\n{marker}", message_id)
        issue = {"title": plain(" ".join(title.split()), TITLE_SHOWN), "messages": [message]}
        made = str(self._call("POST", "issue", issue).data["data"]["id"])
        oldest = self.find(marker) or made
        if oldest != made:
            self.resolve(made)
        return oldest

    def find(self, marker: str) -> str | None:
        """See TicketSystem. It is the issue of ours that carries our message of this marker."""
        own = self._user()
        found: list[int] = []
        for message in self._posted(f"{checked_marker(marker)}@new"):
            answer = self._call("GET", f"issue?messages={message}&@fields=creator&@verbose=2")
            collection = answer.data["data"]["collection"]
            found += [int(one["id"]) for one in collection if _username(one.get("creator")) == own]
        return str(min(found)) if found else None

    def _rewrite(self, message: str, content: str) -> bool:
        for attempt in range(ATTEMPTS):
            answer = self._call("GET", f"msg/{message}?@verbose=3&@fields=content")
            if str(answer.data["data"]["attributes"].get("content") or "") == content:
                return False
            condition = {"If-Match": answer.headers["etag"]}
            if self._call("PATCH", f"msg/{message}", {"content": content}, condition, also=(412,)).status != 412:
                return True
            self._sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 -- spreads rivals, hides nothing
        raise RetryableError(f"message {message} keeps changing while we write to it", delay=10)

    def _write(self, ticket_id: str, body: str, marker: str, status: str | None) -> bool:
        content = f"{plain(body)}\n\n{checked_marker(marker)}"
        message_id = f"{marker}@issue{checked_id(ticket_id)}"

        mine: list[str] = []

        def change(issue: _Issue) -> dict[str, Any] | None:
            # Looked up after the issue was read: a message that joins it in between changes the ETag.
            ours = [message for message in self._posted(message_id) if message in issue.messages]
            if len(ours) == 1:
                return None
            # Without a status of ours, Roundup would reopen an issue on which we write.
            wanted: dict[str, Any] = {"status": issue.status} if issue.status else {}
            if ours:
                return wanted | {"messages": [message for message in issue.messages if message not in ours[1:]]}
            # A message that somebody else posted and did not put on the issue is not used: Roundup lists one message
            # twice when two requests put it on an issue at the same moment.
            if not mine:
                mine.append(self._post(content, message_id))
            wanted |= {"status": status} if status else {}
            return wanted | {"messages": [*issue.messages, *mine]}

        return self._edit(ticket_id, change, settle=True)

    def _edit(self, ticket_id: str, change: Callable[[_Issue], dict[str, Any] | None], *, settle: bool = False) -> bool:
        """Apply what `change` makes of the issue as it is now, again whenever somebody else was faster.

        Roundup compares the ETag before its transaction begins, so two edits of the same moment can both pass. It
        merges lists, so no message is lost by that. With `settle`, `change` looks again until nothing is left to do.
        """
        changed = False
        for attempt in range(ATTEMPTS):
            issue = self._issue(ticket_id)
            wanted = change(issue)
            if wanted is None:
                return changed
            answer = self._call("PATCH", f"issue/{ticket_id}", wanted, {"If-Match": issue.etag}, also=(412,))
            if answer.status == 412:
                self._sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 -- spreads rivals, hides nothing
            elif settle:
                changed = True
            else:
                return True
        raise RetryableError(f"issue {ticket_id} keeps changing while we write to it", delay=10)

    def _issue(self, ticket_id: str) -> _Issue:
        path = f"issue/{checked_id(ticket_id)}?@verbose=2&@fields=title,status,keyword,messages,creator"
        answer = self._call("GET", path)
        try:
            attributes = answer.data["data"]["attributes"]
            status = attributes.get("status")
            return _Issue(
                etag=answer.headers["etag"],
                status=status["name"] if status else None,
                messages=tuple(sorted((str(one["id"]) for one in attributes["messages"]), key=int)),
                attributes=attributes,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PermanentError(f"issue {ticket_id} has not the classic template's shape: {error!r}") from error

    def _message(self, message: str) -> Message:
        answer = self._call("GET", f"msg/{message}?@verbose=3&@fields=content,author,creator")
        attributes = answer.data["data"]["attributes"]
        author = attributes.get("author") or attributes.get("creator")
        return Message(_username(author), plain(str(attributes.get("content") or ""), TEXT_LIMIT))

    def _posted(self, message_id: str) -> list[str]:
        """Our own messages with this id, oldest first; whoever else uses it cannot silence us."""
        answer = self._call("GET", f"msg?messageid:={quote(message_id, safe='')}&@fields=creator&@verbose=2")
        own = self._user()
        found = [one for one in answer.data["data"]["collection"] if _username(one.get("creator")) == own]
        return sorted((str(one["id"]) for one in found), key=int)

    def _post(self, content: str, message_id: str) -> str:
        return str(self._call("POST", "msg", {"content": content, "messageid": message_id}).data["data"]["id"])

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        answer = self._web.call(method, f"/rest/data/{path}", body, headers, (*also, 400))
        if answer.status == 400:
            # Roundup answers 400 to its own failures too, such as a database that is locked for too long.
            if "check the server log" in said(answer.data):
                raise RetryableError(f"Roundup fails{said(answer.data)}")
            raise PermanentError(f"Roundup refuses our request{said(answer.data)}")
        return answer


def open_roundup(tracker: Tracker, secret: Secrets) -> RoundupTickets:
    """The Roundup tracker at `tracker.url`: the address that its own `config.ini` calls `web`."""

    def log_in() -> Mapping[str, str]:
        return credentials(secret, tracker.secret, "username", "password")

    def authorise() -> dict[str, str]:
        known = log_in()
        token = base64.b64encode(f"{known['username']}:{known['password']}".encode()).decode()
        return {"Authorization": f"Basic {token}"}

    parts = urlsplit(tracker.url)
    # Roundup's protection against forged requests asks for these three.
    headers = {
        "X-Requested-With": "paydown",
        "Origin": f"{parts.scheme}://{parts.netloc}",
        "Referer": f"{tracker.url.rstrip('/')}/",
    }
    return RoundupTickets(Web(tracker.url, authorise, headers), lambda: log_in()["username"])


def _queued(issue: Mapping[str, Any]) -> Queued:
    return Queued(
        id=str(issue["id"]),
        title=plain(str(issue.get("title") or ""), TITLE_LIMIT),
        creator=_username(issue.get("creator")),
        at=_moment(issue["activity"]),
    )


def _moment(text: Any) -> datetime:
    return datetime.strptime(str(text).partition("+")[0], MOMENT).replace(tzinfo=UTC)


def _exact_username(user: Any) -> str:
    return str(user["username"]) if isinstance(user, dict) and "username" in user else ""


def _username(user: Any) -> str:
    return plain(str(user["username"]), NAME_LIMIT) if isinstance(user, dict) and "username" in user else ""
