"""What GitHub vouches for of a comment, in the shape that its REST reference documents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets import Comment, TicketNotFound, TicketSystem, open_tracker
from tests.integration.github_server import Github


@pytest.fixture
def github() -> Iterator[Github]:
    made = Github()
    made.open(7)
    made.open(77)
    yield made
    made.close()


@pytest.fixture
def tickets(github: Github) -> TicketSystem:
    tracker = Tracker(uid="shop", name="acme/shop", system="github", url=github.url, secret="s")
    return open_tracker(tracker, lambda name: {"token": "t"})


def test_a_comment_as_its_author_wrote_it(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "/approve 0123456789ab\r\nfine", "octocat")
    made |= {"created_at": "2026-11-22T15:20:18Z", "updated_at": "2026-11-22T15:20:18Z"}
    assert tickets.comment_of("7", str(made["id"])) == Comment(
        author="octocat",
        text="/approve 0123456789ab\nfine",
        edited=False,
        ours=False,
        at=datetime(2026, 11, 22, 15, 20, 18, tzinfo=UTC),
    )


def test_a_comment_that_was_edited(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "hello", "octocat")
    github.answer("PATCH", type("Url", (), {"path": f"/repos/acme/shop/issues/comments/{made['id']}"}), {"body": "x"})
    assert tickets.comment_of("7", str(made["id"])).edited


def test_a_comment_without_its_times_counts_as_edited(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "hello", "octocat")
    del made["created_at"], made["updated_at"]
    found = tickets.comment_of("7", str(made["id"]))
    assert (found.edited, found.at) == (True, None)


def test_our_own_comment(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "hello", github.login)
    assert tickets.comment_of("7", str(made["id"])).ours


@pytest.mark.parametrize("author", ["octo\u202ecat", "octocat\n", "x" * 300])
def test_a_name_that_would_be_shown_as_another_is_nobodys(github: Github, tickets: TicketSystem, author: str) -> None:
    made = github.add(7, "hello", author)
    assert tickets.comment_of("7", str(made["id"])).author == ""


def test_a_comment_of_a_deleted_user(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "hello", "ghost")
    made["user"] = None
    assert tickets.comment_of("7", str(made["id"])).author == ""


def test_a_comment_on_another_ticket_or_none(github: Github, tickets: TicketSystem) -> None:
    made = github.add(77, "hello", "octocat")
    for ticket, comment in (("7", str(made["id"])), ("7", "5"), ("7", "../7"), ("7", "")):
        with pytest.raises(TicketNotFound):
            tickets.comment_of(ticket, comment)


def test_an_answer_of_another_shape(github: Github, tickets: TicketSystem) -> None:
    made = github.add(7, "hello", "octocat")
    del made["issue_url"]
    with pytest.raises(PermanentError):
        tickets.comment_of("7", str(made["id"]))
