"""The issues in a queue, from a server that answers as GitHub's REST reference says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets import Queued, open_tracker
from paydown.tickets.github import GithubTickets
from tests.integration.http_server import HttpServer, answered

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


class Issues:
    """Lists what it holds, a page at a time; `queries` are what it was asked for."""

    def __init__(self) -> None:
        self.held: Any = []
        self.queries: list[dict[str, list[str]]] = []
        self.http = HttpServer(self._respond)

    def _respond(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        url = urlsplit(handler.path)
        assert url.path == "/repos/acme/shop/issues"
        query = parse_qs(url.query)
        self.queries.append(query)
        page, size = int(query["page"][0]), int(query["per_page"][0])
        held = self.held[(page - 1) * size : page * size] if isinstance(self.held, list) else self.held
        answered(handler, 200, json.dumps(held).encode())


def issue(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "title": f"disk full on build-{number}",
        "user": {"login": "octocat"},
        "updated_at": "2026-11-22T03:00:00Z",
        **more,
    }


@pytest.fixture
def issues() -> Iterator[Issues]:
    running = Issues()
    yield running
    running.http.close()


@pytest.fixture
def tickets(issues: Issues) -> Iterator[GithubTickets]:
    url = f"{issues.http.url}/repos/acme/shop"
    tracker = Tracker(uid="g", name="acme/shop", system="github", url=url, secret="s")
    opened = open_tracker(tracker, lambda name: {"token": "hush-hush"})
    assert isinstance(opened, GithubTickets)
    yield opened
    opened._web._pool.clear()


def test_the_open_issues_with_the_label_that_changed_since(issues: Issues, tickets: GithubTickets) -> None:
    issues.held = [issue(7), issue(8, user=None, title=None), issue(9, pull_request={"url": "x"})]
    since = (AT - timedelta(minutes=20)).astimezone(timezone(timedelta(hours=2)))
    assert tickets.queued("to automation", since) == [
        Queued("7", "disk full on build-7", "octocat", AT),
        Queued("8", "", "", AT),
    ]
    (query,) = issues.queries
    assert query | {"page": ["1"], "per_page": ["100"]} == query
    assert (query["labels"], query["state"], query["since"]) == (["to automation"], ["open"], ["2026-11-22T02:40:00Z"])


def test_several_pages(issues: Issues, tickets: GithubTickets) -> None:
    issues.held = [issue(number) for number in range(1, 231)]
    assert [one.id for one in tickets.queued("automation", AT)] == [str(number) for number in range(1, 231)]
    assert [query["page"] for query in issues.queries] == [["1"], ["2"], ["3"]]


def test_an_answer_of_another_shape(issues: Issues, tickets: GithubTickets) -> None:
    issues.held = {"message": "?"}
    with pytest.raises(PermanentError, match="documented shape"):
        tickets.queued("automation", AT)
