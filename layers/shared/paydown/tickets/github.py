"""GitHub Issues, through the REST API of github.com or of a GitHub Enterprise server.

The tracker's `url` is the repository's address in the API: `https://api.github.com/repos/OWNER/NAME`, or
`https://HOST/api/v3/repos/OWNER/NAME`. The token needs to read and write issues of that repository, nothing else.

GitHub has no conditional writes: two workers that comment at the same moment may both succeed. So a comment is looked
for again after it was written, and all but the oldest go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from paydown.errors import PermanentError
from paydown.events import utc
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
from paydown.tickets.web import Web

API_VERSION = "2022-11-28"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
PAGE = 100
PAGES = 30
"""GitHub allows 2,500 comments on an issue."""
LATEST_PAGES = 5
"""Pages of our own issues, newest first, among which `find` looks: the caller remembers older ones."""


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

    def queued(self, queue: str, since: datetime) -> list[Queued]:
        """See TicketSystem. A queue is a label; pull requests, which GitHub lists too, are left out."""
        query = urlencode(
            {"labels": queue, "state": "open", "since": since.astimezone(UTC).strftime(MOMENT), "per_page": PAGE}
        )
        found: list[Queued] = []
        for page in range(1, PAGES + 1):
            issues = self._web.call("GET", f"/issues?{query}&page={page}").data
            if not isinstance(issues, list):
                raise PermanentError("the repository's issues have not the documented shape")
            found += [_queued(issue) for issue in issues if "pull_request" not in issue]
            if len(issues) < PAGE:
                break
        return found

    def comment_of(self, ticket_id: str, comment_id: str) -> Comment:
        """See TicketSystem. GitHub tells to the second when a comment was changed, not by whom."""
        data = self._web.call("GET", f"/issues/comments/{checked_id(comment_id)}").data
        if not isinstance(data, dict) or "issue_url" not in data:
            raise PermanentError(f"comment {comment_id} has not the documented shape")
        if str(data["issue_url"]).rpartition("/issues/")[2] != checked_id(ticket_id):
            raise TicketNotFound(f"comment {comment_id} is not on issue {ticket_id}")
        user = data.get("user")
        author = str(user["login"]) if isinstance(user, dict) and "login" in user else ""
        return Comment(
            author=exactly(author),
            text=plain(str(data.get("body") or ""), TEXT_LIMIT),
            edited=data.get("updated_at") != data.get("created_at") or "created_at" not in data,
            ours=author == self._own_login(),
            at=utc(str(data["created_at"])) if "created_at" in data else None,
        )

    def comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem."""
        if self._posted(ticket_id, marker):
            return False
        return self._post(ticket_id, body, marker)

    def edit_comment(self, ticket_id: str, body: str, marker: str) -> bool:
        """See TicketSystem."""
        own, line = self._own_login(), hidden(checked_marker(marker))
        text = f"{verbatim(plain(body))}\n\n{line}"
        for comment in self._comments(ticket_id):
            if _login(comment) == own and _ends_with(comment, line):
                if comment["body"] == text:
                    return False
                self._web.call("PATCH", f"/issues/comments/{int(comment['id'])}", {"body": text})
                return True
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

    def create(self, title: str, text: str, marker: str) -> str:
        """See TicketSystem. Of two that are made at the same moment the older stays open."""
        known = self.find(marker)
        if known is not None:
            return known
        issue = {
            "title": plain(" ".join(title.split()), TITLE_SHOWN),
            "body": f"{verbatim(plain(text))}\n\n{hidden(marker)}",
        }
        made = str(int(self._web.call("POST", "/issues", issue).data["number"]))
        oldest = self.find(marker) or made
        if oldest != made:
            self._set_state(made, "closed", "not_planned")
        return oldest

    def find(self, marker: str) -> str | None:
        """See TicketSystem."""
        own, line = self._own_login(), hidden(checked_marker(marker))
        query = f"state=all&creator={quote(own, safe='')}&sort=created&direction=desc&per_page={PAGE}"
        found: list[int] = []
        for page in range(1, LATEST_PAGES + 1):
            issues = self._web.call("GET", f"/issues?{query}&page={page}").data
            if not isinstance(issues, list):
                raise PermanentError("the repository's issues have not the documented shape")
            found += [int(one["number"]) for one in issues if _login(one) == own and _ends_with(one, line)]
            if len(issues) < PAGE:
                break
        return str(min(found)) if found else None

    def pull_requests(self, commit: str) -> list[str]:
        """The numbers of the open pull requests that have a commit (40 hexadecimal digits), the oldest first.

        A pull request is commented on as an issue of its number. GitHub answers 422 for a commit that it does not have.
        """
        if not re.fullmatch("[0-9a-f]{40}", commit):
            return []
        found = self._web.call("GET", f"/commits/{commit}/pulls?per_page={PAGE}", also=(404, 409, 422))
        if found.status >= 400:
            return []
        if not isinstance(found.data, list):
            raise PermanentError(f"the pull requests of {commit} have not the documented shape")
        return [str(one) for one in sorted(int(it["number"]) for it in found.data if it.get("state") == "open")]

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
            int(one["id"]) for one in self._comments(ticket_id) if _login(one) == own and _ends_with(one, line)
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


def _ends_with(item: Mapping[str, Any], line: str) -> bool:
    return str(item.get("body") or "").rstrip().rpartition("\n")[2] == line


def _queued(issue: Mapping[str, Any]) -> Queued:
    return Queued(
        id=str(int(issue["number"])),
        title=plain(str(issue.get("title") or ""), TITLE_LIMIT),
        creator=_login(issue),
        at=utc(str(issue["updated_at"])),
    )


def _labels(issue: Mapping[str, Any]) -> list[str]:
    return [str(one["name"] if isinstance(one, dict) else one) for one in issue.get("labels") or ()]


def _login(item: Mapping[str, Any]) -> str:
    user = item.get("user")
    return plain(str(user["login"]), NAME_LIMIT) if isinstance(user, dict) and "login" in user else ""
