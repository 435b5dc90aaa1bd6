"""GitHub Issues, through the REST API of github.com or of a GitHub Enterprise server.

The tracker's `url` is the repository's address in the API: `https://api.github.com/repos/OWNER/NAME`, or
`https://HOST/api/v3/repos/OWNER/NAME`. The token needs to read and write issues of that repository, nothing else.

GitHub has no conditional writes: two workers that comment at the same moment may both succeed. So a comment is looked
for again after it was written, and all but the oldest go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets.shapes import (
    NAME_LIMIT,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Message,
    Secrets,
    Ticket,
    checked_id,
    checked_marker,
    credentials,
    plain,
)
from paydown.tickets.web import Web

API_VERSION = "2022-11-28"
PAGE = 100
PAGES = 30
"""GitHub allows 2,500 comments on an issue."""


class GithubTickets:
    """The issues of one repository; `login` is the name under which our comments appear, "" to ask for it."""

    def __init__(self, web: Web, user_web: Web, login: Callable[[], str]) -> None:
        self._web = web
        self._user_web = user_web
        self._given_login = login
        self._login: str | None = None

    def read(self, ticket_id: str, messages: int = 0) -> Ticket:
        """See TicketSystem."""
        issue = self._issue(ticket_id)
        latest = list(self._comments(ticket_id))[-messages:] if messages else []
        return Ticket(
            id=ticket_id,
            title=plain(str(issue.get("title") or ""), TITLE_LIMIT),
            text=plain(str(issue.get("body") or ""), TEXT_LIMIT),
            status=str(issue.get("state") or ""),
            resolved=issue.get("state") == "closed",
            queues=tuple(plain(name, NAME_LIMIT) for name in _labels(issue)),
            creator=_login(issue),
            messages=tuple(Message(_login(one), plain(str(one.get("body") or ""), TEXT_LIMIT)) for one in latest),
        )

    def comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem."""
        if self._posted(ticket_id, marker):
            return False
        return self._post(ticket_id, body, marker)

    def comment_and_resolve(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem. The comment comes last: where it stands, the issue was closed before."""
        if self._posted(ticket_id, marker):
            return False
        self.resolve(ticket_id)
        return self._post(ticket_id, body, marker)

    def resolve(self, ticket_id: str) -> bool:
        """See TicketSystem."""
        return self._set_state(ticket_id, "closed", "completed")

    def reopen(self, ticket_id: str) -> bool:
        """See TicketSystem."""
        return self._set_state(ticket_id, "open", "reopened")

    def _set_state(self, ticket_id: str, state: str, reason: str) -> bool:
        if self._issue(ticket_id).get("state") == state:
            return False
        self._web.call("PATCH", f"/issues/{ticket_id}", {"state": state, "state_reason": reason})
        return True

    def _issue(self, ticket_id: str) -> dict[str, Any]:
        data = self._web.call("GET", f"/issues/{checked_id(ticket_id)}").data
        if not isinstance(data, dict):
            raise PermanentError(f"issue {ticket_id} has not the documented shape")
        return data

    def _comments(self, ticket_id: str) -> Iterator[dict[str, Any]]:
        """All comments, oldest first."""
        for page in range(1, PAGES + 1):
            found = self._web.call("GET", f"/issues/{checked_id(ticket_id)}/comments?per_page={PAGE}&page={page}").data
            if not isinstance(found, list):
                raise PermanentError(f"the comments of issue {ticket_id} have not the documented shape")
            yield from found
            if len(found) < PAGE:
                return

    def _posted(self, ticket_id: str, marker: str) -> list[int]:
        """The ids of our comments with this marker, oldest first.

        It counts in the last line only: above stands text that somebody else may have written.
        """
        own, line = self._own_login(), hidden(checked_marker(marker))
        return sorted(
            int(one["id"])
            for one in self._comments(ticket_id)
            if _login(one) == own and str(one.get("body") or "").rstrip().rpartition("\n")[2] == line
        )

    def _post(self, ticket_id: str, body: str, marker: str) -> bool:
        text = f"{verbatim(plain(body))}\n\n{hidden(marker)}"
        ours = int(self._web.call("POST", f"/issues/{ticket_id}/comments", {"body": text}).data["id"])
        oldest, *younger = sorted({ours, *self._posted(ticket_id, marker)})
        for comment in younger:
            self._web.call("DELETE", f"/issues/comments/{comment}", also=(404,))
        return ours == oldest

    def _own_login(self) -> str:
        if self._login is None:
            self._login = self._given_login() or str(self._user_web.call("GET", "/user").data["login"])
        return self._login


def open_github(tracker: Tracker, secret: Secrets) -> GithubTickets:
    """The issues of the repository whose API address is `tracker.url`. Raises PermanentError for another address."""
    found = re.fullmatch(r"(https?://.+)/repos/[A-Za-z0-9-]+/[A-Za-z0-9._-]+/?", tracker.url)
    if found is None:
        raise PermanentError(f"the url of the tracker {tracker.name} must end with /repos/OWNER/NAME")

    def known() -> Mapping[str, str]:
        return credentials(secret, tracker.secret, "token")

    def authorise() -> dict[str, str]:
        return {"Authorization": f"Bearer {known()['token']}"}

    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
    return GithubTickets(
        Web(tracker.url, authorise, headers), Web(found[1], authorise, headers), lambda: known().get("login", "")
    )


def verbatim(text: str) -> str:
    """Text as a code block: nobody is mentioned by it, no issue or commit referred to, no mark-up or HTML rendered.

    The fence is longer than any run of backticks inside, so the text cannot end the block.
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def hidden(marker: str) -> str:
    """The marker as the comment's last line; invisible where the comment is rendered."""
    return f"<!-- {marker} -->"


def _labels(issue: Mapping[str, Any]) -> list[str]:
    return [str(one["name"] if isinstance(one, dict) else one) for one in issue.get("labels") or ()]


def _login(item: Mapping[str, Any]) -> str:
    user = item.get("user")
    return plain(str(user["login"]), NAME_LIMIT) if isinstance(user, dict) and "login" in user else ""
