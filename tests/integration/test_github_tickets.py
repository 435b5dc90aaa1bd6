"""The GitHub client against a small server that answers in the shapes which GitHub's REST reference documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets import TicketNotFound, open_tracker
from paydown.tickets.github import GithubTickets, verbatim
from tests.integration.github_server import Github

MARKER = "paydown-run: 0f3a/1"
LINE = f"<!-- {MARKER} -->"


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
    github.http.http.handle_error = lambda request, address: None  # type: ignore[method-assign] -- it dies on purpose
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


def test_a_comment_is_edited_in_place(github: Github, tickets: GithubTickets) -> None:
    github.add(7, f"forged\n\n{LINE}", "mallory")
    assert tickets.edit_comment("7", "seen once", MARKER) is True
    assert tickets.edit_comment("7", "seen twice", MARKER) is True
    assert tickets.edit_comment("7", "seen twice", MARKER) is False
    assert bodies(github) == [f"forged\n\n{LINE}", f"```text\nseen twice\n```\n\n{LINE}"]
    assert [method for method, _ in github.writes()] == ["POST", "PATCH"]


def test_an_issue_is_made_once(github: Github, tickets: GithubTickets) -> None:
    assert tickets.find(MARKER) is None
    made = tickets.create("Paydown:\nescalated @all", "text with @octocat", MARKER)
    assert tickets.create("another", "text", MARKER) == made == tickets.find(MARKER) == "8"
    issue = github.issues[8]
    assert issue["title"] == "Paydown: escalated @all"
    assert issue["body"] == f"```text\ntext with @octocat\n```\n\n{LINE}"
    assert len(github.issues) == 2


def test_an_issue_of_somebody_else_is_not_taken_for_ours(github: Github, tickets: GithubTickets) -> None:
    github.open(8, body=f"x\n\n{LINE}", user="mallory")
    assert tickets.find(MARKER) is None
    assert tickets.create("ours", "text", MARKER) == "9"


def test_our_issue_is_found_among_many(github: Github, tickets: GithubTickets) -> None:
    made = tickets.create("ours", "text", MARKER)
    for number in range(20, 250):
        github.open(number, user=github.login)
    assert tickets.find(MARKER) == made


def test_of_two_issues_made_at_the_same_moment_the_older_stays_open(github: Github, tickets: GithubTickets) -> None:
    answer = github.answer

    def meddling(method: str, url: Any, body: Any) -> tuple[int, Any]:
        if method == "POST":
            github.open(8, body=f"x\n\n{LINE}", user=github.login)
        return answer(method, url, body)

    github.answer = meddling  # type: ignore[method-assign] -- the rival has to come in between
    assert tickets.create("ours", "text", MARKER) == "8"
    assert (github.issues[8]["state"], github.issues[9]["state"]) == ("open", "closed")
    assert github.issues[9]["state_reason"] == "not_planned"


def test_the_open_pull_requests_of_a_commit(github: Github, tickets: GithubTickets) -> None:
    commit = "ab" * 20
    github.pulls[commit] = [
        {"number": number, "state": state} for number, state in ((12, "open"), (7, "closed"), (9, "open"))
    ]
    assert tickets.pull_requests(commit) == ["9", "12"]
    assert tickets.pull_requests("cd" * 20) == []
    assert tickets.pull_requests("../issues") == []
    assert [path for _, path in github.asked if "issues" in path] == []
    github.pulls[commit] = {"message": "?"}  # type: ignore[assignment]
    with pytest.raises(PermanentError, match="documented shape"):
        tickets.pull_requests(commit)
