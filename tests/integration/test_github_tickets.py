"""The GitHub client against a small server that answers in the shapes which GitHub's REST reference documents."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets import TicketNotFound, open_tracker
from paydown.tickets.github import GithubTickets, verbatim

MARKER = "paydown-run: 0f3a/1"
LINE = f"<!-- {MARKER} -->"


class Github:
    """Issues of `acme/shop`, kept in memory. `login` is whose token it is."""

    def __init__(self, login: str = "paydown-bot") -> None:
        self.login = login
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.before_post: Callable[[], None] = lambda: None
        self._next = 1_000
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path))
                outer.tokens.add(self.headers["Authorization"])
                status, data = outer.answer(self.command, urlsplit(self.path), json.loads(body) if body else None)
                content = b"" if data is None else json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 -- http.server calls these

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/repos/acme/shop"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def open(self, number: int, title: str = "t", body: str | None = "b", user: str = "octocat", **more: Any) -> None:
        self.issues[number] = {
            "number": number, "title": title, "body": body, "state": "open", "state_reason": None,
            "user": {"login": user}, "labels": [], **more,
        }  # fmt: skip
        self.comments[number] = []

    def add(self, number: int, body: str, user: str) -> dict[str, Any]:
        with self._lock:
            self._next += 1
            made = {"id": self._next, "body": body, "user": {"login": user}}
            self.comments[number].append(made)
            return made

    def answer(self, method: str, url: Any, body: Any) -> tuple[int, Any]:
        if (method, url.path) == ("GET", "/user"):
            return 200, {"login": self.login}
        path = url.path.removeprefix("/repos/acme/shop")
        if method == "DELETE" and (found := re.fullmatch(r"/issues/comments/(\d+)", path)):
            for comments in self.comments.values():
                comments[:] = [one for one in comments if one["id"] != int(found[1])]
            return 204, None
        found = re.fullmatch(r"/issues/(\d+)(/comments)?", path)
        if found is None or int(found[1]) not in self.issues:
            return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}
        number = int(found[1])
        if found[2] and method == "GET":
            query = parse_qs(url.query)
            page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["30"])[0])
            return 200, self.comments[number][(page - 1) * size : page * size]
        if found[2]:
            self.before_post()
            return 201, self.add(number, body["body"], self.login)
        if method == "PATCH":
            self.issues[number].update(body)
        return 200, self.issues[number]


@pytest.fixture
def github() -> Iterator[Github]:
    server = Github()
    server.open(7, "Disk full on build-1", "Please **help** @everyone", labels=[{"name": "ops"}, "automation"])
    yield server
    server.close()


def connect(github: Github, **secret: str) -> GithubTickets:
    tracker = Tracker(uid="g", name="acme/shop", system="github", url=github.url, secret="s")
    opened = open_tracker(tracker, lambda name: {"token": "hush-hush", **secret})
    assert isinstance(opened, GithubTickets)
    return opened


@pytest.fixture
def tickets(github: Github) -> Iterator[GithubTickets]:
    client = connect(github)
    yield client
    client._web._pool.clear()
    client._user_web._pool.clear()


def bodies(github: Github, number: int = 7) -> list[str]:
    return [one["body"] for one in github.comments[number]]


def test_an_issue_is_read(github: Github, tickets: GithubTickets) -> None:
    for number in range(130):
        github.add(7, f"comment {number}", "octocat")
    ticket = tickets.read("7", messages=2)
    assert (ticket.title, ticket.text) == ("Disk full on build-1", "Please **help** @everyone")
    assert (ticket.status, ticket.resolved, ticket.creator) == ("open", False, "octocat")
    assert ticket.queues == ("ops", "automation")
    assert [one.text for one in ticket.messages] == ["comment 128", "comment 129"]
    assert github.tokens == {"Bearer hush-hush"}


def test_an_issue_without_text_or_author(github: Github, tickets: GithubTickets) -> None:
    github.open(8, body=None)
    github.issues[8]["user"] = None
    ticket = tickets.read("8")
    assert (ticket.text, ticket.creator, ticket.messages) == ("", "", ())


@pytest.mark.parametrize("ticket_id", ["9", "abc", "7/comments", "7?x=1"])
def test_what_is_no_issue(tickets: GithubTickets, ticket_id: str) -> None:
    with pytest.raises(TicketNotFound):
        tickets.comment(ticket_id, "x", MARKER)


def test_a_comment_lands_once_however_many_there_are(github: Github, tickets: GithubTickets) -> None:
    assert tickets.comment("7", "Three images removed.", MARKER) is True
    for number in range(230):
        github.add(7, f"noise {number}", "octocat")
    assert tickets.comment("7", "Three images removed.", MARKER) is False
    assert bodies(github)[0] == f"```text\nThree images removed.\n```\n\n{LINE}"
    assert len(bodies(github)) == 231


def test_nobody_else_can_silence_us(github: Github, tickets: GithubTickets) -> None:
    github.add(7, f"hello\n\n{LINE}", "mallory")
    assert tickets.comment("7", "the real one", MARKER) is True


def test_a_marker_that_we_quote_does_not_count(github: Github, tickets: GithubTickets) -> None:
    assert tickets.comment("7", f"somebody wrote\n{LINE}", "paydown-run: other/1") is True
    assert tickets.comment("7", "the real one", MARKER) is True


def test_of_two_comments_at_the_same_moment_the_older_stays(github: Github, tickets: GithubTickets) -> None:
    github.before_post = lambda: github.add(7, f"```text\nthe rival\n```\n\n{LINE}", github.login) and None
    assert tickets.comment("7", "too late", MARKER) is False
    assert [body.split("\n")[1] for body in bodies(github)] == ["the rival"]


def test_the_login_of_an_app_comes_from_the_secret(github: Github) -> None:
    client = connect(github, login="paydown-bot")
    assert client.comment("7", "x", MARKER) is True
    assert ("GET", "/user") not in github.asked
    client._web._pool.clear()


def test_resolve_and_reopen(github: Github, tickets: GithubTickets) -> None:
    assert tickets.reopen("7") is False
    assert tickets.resolve("7") is True
    assert (github.issues[7]["state"], github.issues[7]["state_reason"]) == ("closed", "completed")
    assert tickets.read("7").resolved
    assert tickets.resolve("7") is False
    assert tickets.reopen("7") is True
    assert (github.issues[7]["state"], github.issues[7]["state_reason"]) == ("open", "reopened")


def test_comment_and_resolve_never_overrules_a_person(github: Github, tickets: GithubTickets) -> None:
    assert tickets.comment_and_resolve("7", "done", MARKER) is True
    assert github.issues[7]["state"] == "closed"
    github.issues[7]["state"] = "open"
    assert tickets.comment_and_resolve("7", "done", MARKER) is False
    assert github.issues[7]["state"] == "open"
    assert len(bodies(github)) == 1


def test_dying_between_closing_and_commenting_is_made_good(github: Github, tickets: GithubTickets) -> None:
    def die() -> None:
        raise ConnectionAbortedError

    github.before_post = die
    github.http.handle_error = lambda request, address: None  # type: ignore[method-assign] -- it dies on purpose
    with pytest.raises(Exception, match="does not answer"):
        tickets.comment_and_resolve("7", "done", MARKER)
    assert github.issues[7]["state"] == "closed"
    github.before_post = lambda: None
    assert tickets.comment_and_resolve("7", "done", MARKER) is True
    assert len(bodies(github)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "@octocat look at #12 and acme/shop#3",
        "```\n@octocat\n```",
        "````` @all",
        "~~~\n<img src=x>",
        "</code>@x",
        "`" * 40,
    ],
)
def test_foreign_text_stays_inside_its_block(text: str) -> None:
    first, *inside, last = verbatim(text).split("\n")
    assert "\n".join(inside) == text
    fence = first.removesuffix("text")
    assert fence == last
    assert set(fence) == {"`"}
    assert len(fence) >= 3
    assert not any(re.match(rf" {{0,3}}{fence}", line) for line in inside)


def test_a_malformed_answer_is_permanent(github: Github, tickets: GithubTickets) -> None:
    github.issues[7] = []  # type: ignore[assignment] -- malformed on purpose
    with pytest.raises(PermanentError, match="shape"):
        tickets.read("7")
