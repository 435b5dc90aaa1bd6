"""The Roundup client where the server answers what a healthy one does not."""

from __future__ import annotations

from typing import Any

import pytest

from paydown.errors import PermanentError, RetryableError
from paydown.tickets.roundup import RoundupTickets
from paydown.tickets.web import Answer


class Scripted:
    """Stands in for `Web`: gives these answers, one after the other, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def call(self, method: str, path: str, *_: Any, **__: Any) -> Answer:
        self.asked.append((method, path))
        return self.answers.pop(0)


def client(*answers: Answer) -> RoundupTickets:
    return RoundupTickets(Scripted(*answers), lambda: "paydown", sleep=lambda seconds: None)  # type: ignore[arg-type] -- a double


def issue(status: str | None, etag: str = '"e"') -> Answer:
    attributes = {"title": "t", "status": {"name": status} if status else None, "messages": [], "keyword": []}
    return Answer(200, {"etag": etag}, {"data": {"attributes": attributes}})


@pytest.mark.parametrize("data", [None, [], {}, {"data": None}, {"data": {"attributes": {"messages": [{}]}}}])
def test_an_issue_of_another_shape_is_permanent(data: Any) -> None:
    with pytest.raises(PermanentError, match="classic template"):
        client(Answer(200, {"etag": '"e"'}, data)).read("1")


def test_an_issue_without_an_etag_is_not_edited() -> None:
    answer = issue("unread")
    with pytest.raises(PermanentError):
        client(Answer(200, {}, answer.data)).resolve("1")


def test_a_failure_of_the_server_is_tried_again_later() -> None:
    failed = {
        "error": {"status": 400, "msg": "Sun: An error occurred. Please check the server log for more information."}
    }
    with pytest.raises(RetryableError, match="server log"):
        client(Answer(400, {}, failed)).read("1")


def test_a_refused_value_is_permanent_and_explained() -> None:
    refused = Answer(400, {}, {"error": {"status": 400, "msg": "property status: resolved is not a status"}})
    with pytest.raises(PermanentError, match="resolved is not a status"):
        client(issue("open"), refused).resolve("1")


def test_a_conflict_is_tried_again_on_what_the_issue_is_by_then() -> None:
    conflict = Answer(412, {}, {"error": {"status": 412, "msg": "If-Match"}})
    tickets = client(issue("unread"), conflict, issue("resolved"))
    assert tickets.resolve("1") is False
