"""Our client against a real Roundup: comments land once, nobody's change is lost, statuses are what we say."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Tracker as Declared
from paydown.tickets import TicketNotFound, TicketSystem, open_tracker
from paydown.tickets.roundup import ATTEMPTS, RoundupTickets
from paydown.tickets.web import Answer
from tests.real.roundup_server import Ingress, Tracker

MARKER = "paydown-run: 0f3a/1"


def connect(tracker: Tracker, **wrong: str) -> RoundupTickets:
    declared = Declared(uid="t1", name="helpdesk", system="roundup", url=tracker.roundup.url, secret="helpdesk")
    opened: TicketSystem = open_tracker(declared, lambda name: {**tracker.roundup.credentials, **wrong})
    assert isinstance(opened, RoundupTickets)
    return opened


@pytest.fixture
def tickets(tracker: Tracker) -> RoundupTickets:
    return connect(tracker)


def messages(tracker: Tracker, issue: str) -> list[dict[str, Any]]:
    found = tracker.call("operator", "GET", f"issue/{issue}")["attributes"]["messages"]
    return [tracker.call("operator", "GET", f"msg/{one['id']}?@verbose=3")["attributes"] for one in found]


def status(tracker: Tracker, issue: str) -> str:
    return str(tracker.call("operator", "GET", f"issue/{issue}?@verbose=2")["attributes"]["status"]["name"])


def test_a_ticket_is_read_as_it_is(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("Disk full on build-1", "95 %\r\nplease ünïcode\x07", keyword=["automation"])
    ticket = tickets.read(issue)
    assert (ticket.id, ticket.title, ticket.text) == (issue, "Disk full on build-1", "95 %\nplease ünïcode")
    assert (ticket.status, ticket.resolved, ticket.queues) == ("unread", False, ("automation",))
    assert (ticket.creator, ticket.messages) == ("operator", ())


def test_the_latest_messages_are_read_on_request(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("talk", "first")
    for number in range(1, 4):
        tickets.comment(issue, f"comment {number}", f"paydown-run: talk/{issue}/{number}")
    ticket = tickets.read(issue, messages=2)
    assert ticket.text == "first"
    assert [one.text.split("\n")[0] for one in ticket.messages] == ["comment 2", "comment 3"]
    assert {one.author for one in ticket.messages} == {"paydown"}


def test_an_issue_without_text_or_status_can_be_read_and_written(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("bare")
    tracker.call("operator", "PATCH", f"issue/{issue}", {"status": ""})
    assert tickets.read(issue).text == ""
    assert tickets.read(issue).status == ""
    assert tickets.comment(issue, "hello", f"paydown-run: bare/{issue}")
    assert len(messages(tracker, issue)) == 1


def test_very_long_text_is_cut(tracker: Tracker, tickets: RoundupTickets) -> None:
    ticket = tickets.read(tracker.create("x" * 5_000, "y" * 100_000))
    assert (len(ticket.title), len(ticket.text)) == (2_000, 20_000)


def test_a_comment_lands_once_and_names_its_author(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("once", "help")
    marker = f"{MARKER}.{issue}"
    assert tickets.comment(issue, "Three images removed.", marker) is True
    assert tickets.comment(issue, "Three images removed.", marker) is False
    assert connect(tracker).comment(issue, "another text", marker) is False
    ours = messages(tracker, issue)[1:]
    assert [one["content"] for one in ours] == [f"Three images removed.\n\n{marker}"]
    paydown = tracker.call("admin", "GET", "user?username=paydown")["collection"][0]["id"]
    assert ours[0]["author"]["id"] == paydown
    assert ours[0]["date"]


def test_different_markers_are_different_comments(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("two")
    # A search for the first finds the second too, unless it is exact.
    assert tickets.comment(issue, "b", f"paydown-run: m{issue}/10")
    assert tickets.comment(issue, "a", f"paydown-run: m{issue}/1")
    assert len(messages(tracker, issue)) == 2


def test_the_same_marker_on_two_tickets_is_two_comments(tracker: Tracker, tickets: RoundupTickets) -> None:
    first, second = tracker.create("first"), tracker.create("second")
    marker = f"paydown-run: shared/{first}"
    assert tickets.comment(first, "a", marker)
    assert tickets.comment(second, "b", marker)
    assert [one["content"].split("\n")[0] for one in messages(tracker, second)] == ["b"]


def test_nobody_else_can_silence_us_with_our_marker(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("forged")
    marker = f"paydown-run: forged/{issue}"
    fake = tracker.call("operator", "POST", "msg", {"content": marker, "messageid": f"{marker}@issue{issue}"})["id"]
    tracker.call("operator", "PATCH", f"issue/{issue}", {"messages": [fake]})
    assert tickets.comment(issue, "the real one", marker) is True
    assert len(messages(tracker, issue)) == 2


def test_concurrent_comments_all_land(tracker: Tracker) -> None:
    issue = tracker.create("crowd", "start")
    barrier = threading.Barrier(4)

    def write(number: int) -> bool:
        client = connect(tracker)
        barrier.wait()
        return client.comment(issue, f"from {number}", f"paydown-run: crowd/{issue}/{number}")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write, range(4)))
    assert {one["content"].split("\n")[0] for one in messages(tracker, issue)} == {
        "start",
        *(f"from {n}" for n in range(4)),
    }


def test_the_same_comment_sent_five_times_at_once_lands_once(tracker: Tracker) -> None:
    issue = tracker.create("echo", status="in-progress")
    barrier = threading.Barrier(5)

    def write(_: int) -> bool:
        client = connect(tracker)
        barrier.wait()
        return client.comment(issue, "only once", f"paydown-run: echo/{issue}")

    with ThreadPoolExecutor(5) as pool:
        assert any(list(pool.map(write, range(5))))
    assert len(messages(tracker, issue)) == 1
    assert status(tracker, issue) == "in-progress"


def test_of_two_comments_that_both_passed_the_etag_the_older_stays(tracker: Tracker, tickets: RoundupTickets) -> None:
    """Roundup compares the ETag before its transaction: what two workers then leave behind is set right by the last."""
    issue = tracker.create("twins", "text", status="resolved")
    marker = f"paydown-run: twins/{issue}"
    twins = [
        tracker.call("paydown", "POST", "msg", {"content": text, "messageid": f"{marker}@issue{issue}"})["id"]
        for text in ("older", "younger")
    ]
    old = [one["id"] for one in tracker.call("operator", "GET", f"issue/{issue}")["attributes"]["messages"]]
    tracker.call("paydown", "PATCH", f"issue/{issue}", {"messages": [*old, *twins], "status": "resolved"})
    tickets.comment(issue, "once more", marker)
    assert [one["content"] for one in messages(tracker, issue)] == ["text", "older"]
    assert status(tracker, issue) == "resolved"


def test_a_person_who_writes_at_the_same_moment_loses_nothing(tracker: Tracker, tickets: RoundupTickets) -> None:
    """The 412 is forced: the person writes between our look at the issue and our edit."""
    issue = tracker.create("rivals", "start")
    seen: list[int] = []
    call = tickets._web.call

    def meddling(method: str, path: str, *args: Any, **more: Any) -> Answer:
        if method == "PATCH" and not seen:
            message = tracker.call("operator", "POST", "msg", {"content": "me too"})["id"]
            old = [one["id"] for one in tracker.call("operator", "GET", f"issue/{issue}")["attributes"]["messages"]]
            tracker.call("operator", "PATCH", f"issue/{issue}", {"messages": [*old, message], "priority": "urgent"})
        answer = call(method, path, *args, **more)
        if method == "PATCH":
            seen.append(answer.status)
        return answer

    tickets._web.call = meddling  # type: ignore[method-assign] -- the rival has to come in between
    assert tickets.comment(issue, "from us", f"paydown-run: rivals/{issue}")
    assert seen == [412, 200]
    assert sorted(one["content"].split("\n")[0] for one in messages(tracker, issue)) == ["from us", "me too", "start"]
    assert tracker.call("operator", "GET", f"issue/{issue}?@verbose=2")["attributes"]["priority"]["name"] == "urgent"
    made = tracker.call("admin", "GET", f"msg?messageid=rivals/{issue}")["collection"]
    assert len(made) == 1, "the message of the first try is used in the second"


def test_an_issue_that_never_rests_is_left_for_later(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("restless")
    tries = 0
    call = tickets._web.call

    def meddling(method: str, path: str, *args: Any, **more: Any) -> Answer:
        nonlocal tries
        if method == "PATCH":
            tries += 1
            tracker.call("operator", "PATCH", f"issue/{issue}", {"title": f"restless {tries}"})
        return call(method, path, *args, **more)

    tickets._web.call = meddling  # type: ignore[method-assign] -- the rival has to come in between
    tickets._sleep = lambda seconds: None
    with pytest.raises(RetryableError, match="keeps changing"):
        tickets.comment(issue, "hello", f"paydown-run: restless/{issue}")
    assert tries == ATTEMPTS
    assert messages(tracker, issue) == []


def test_a_message_that_we_died_before_attaching_does_not_count(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("half done")
    marker = f"paydown-run: half/{issue}"
    tracker.call("paydown", "POST", "msg", {"content": "the report", "messageid": f"{marker}@issue{issue}"})
    assert tickets.comment(issue, "the report", marker) is True
    assert tickets.comment(issue, "the report", marker) is False
    assert len(messages(tracker, issue)) == 1


def test_commenting_does_not_change_the_status(tracker: Tracker, tickets: RoundupTickets) -> None:
    for name in ("unread", "resolved", "in-progress"):
        issue = tracker.create("status", "text", status=name)
        tickets.comment(issue, "hello", f"paydown-run: status/{issue}")
        assert status(tracker, issue) == name


def test_resolve_and_reopen(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("open and shut", "text")
    assert tickets.reopen(issue) is False
    assert tickets.resolve(issue) is True
    assert status(tracker, issue) == "resolved"
    assert tickets.read(issue).resolved
    assert tickets.resolve(issue) is False
    assert tickets.reopen(issue) is True
    assert status(tracker, issue) == "chatting"
    assert not tickets.read(issue).resolved


def test_comment_and_resolve_happen_together_and_never_overrule_a_person(
    tracker: Tracker, tickets: RoundupTickets
) -> None:
    issue = tracker.create("done", "text")
    marker = f"paydown-run: done/{issue}"
    assert tickets.comment_and_resolve(issue, "It is done.", marker) is True
    assert status(tracker, issue) == "resolved"
    tracker.call("operator", "PATCH", f"issue/{issue}", {"status": "in-progress"})
    assert tickets.comment_and_resolve(issue, "It is done.", marker) is False
    assert status(tracker, issue) == "in-progress"
    assert len(messages(tracker, issue)) == 2


def test_our_comments_raise_no_event(tracker: Tracker, ingress: Ingress, tickets: RoundupTickets) -> None:
    issue = tracker.create("quiet", "text", keyword=["automation"])
    while ingress.next()["id"] != issue:
        pass
    tickets.comment_and_resolve(issue, "done", f"paydown-run: quiet/{issue}")
    tickets.reopen(issue)
    assert ingress.silent()


@pytest.mark.parametrize("ticket_id", ["999999", "0", "1/../../user/1", "1?x", "", "-1", "٣", "abc"])
def test_an_id_that_is_none(tickets: RoundupTickets, ticket_id: str) -> None:
    with pytest.raises(TicketNotFound):
        tickets.read(ticket_id)
    with pytest.raises(TicketNotFound):
        tickets.comment(ticket_id, "x", MARKER)


def test_wrong_credentials_are_permanent_and_stay_secret(tracker: Tracker) -> None:
    issue = tracker.create("closed door")
    with pytest.raises(PermanentError) as caught:
        connect(tracker, username="nobody-we-know", password="hush-hush").read(issue)
    assert "401" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_tracker_that_is_down_is_retryable(tracker: Tracker) -> None:
    gone = Declared(uid="t2", name="gone", system="roundup", url="http://127.0.0.1:9/paydown/", secret="s")
    with pytest.raises(RetryableError):
        open_tracker(gone, lambda name: tracker.roundup.credentials).read("1")


def test_a_comment_is_edited_in_place(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("standing", "text", status="resolved")
    marker = f"paydown-run: finding/{issue}/1"
    assert tickets.edit_comment(issue, "seen once\n\nthe end", marker) is True
    assert tickets.edit_comment(issue, "seen twice", marker) is True
    assert tickets.edit_comment(issue, "seen twice", marker) is False
    assert tickets.comment(issue, "another text", marker) is False
    assert [one["content"] for one in messages(tracker, issue)] == ["text", f"seen twice\n\n{marker}"]
    assert status(tracker, issue) == "resolved"


def test_the_comment_of_somebody_else_is_not_edited(tracker: Tracker, tickets: RoundupTickets) -> None:
    issue = tracker.create("standing")
    marker = f"paydown-run: finding/{issue}/1"
    fake = tracker.call("operator", "POST", "msg", {"content": marker, "messageid": f"{marker}@issue{issue}"})["id"]
    tracker.call("operator", "PATCH", f"issue/{issue}", {"messages": [fake]})
    assert tickets.edit_comment(issue, "the real one", marker) is True
    assert [one["content"] for one in messages(tracker, issue)] == [marker, f"the real one\n\n{marker}"]


def test_an_issue_is_made_once(tracker: Tracker, tickets: RoundupTickets, ingress: Ingress) -> None:
    marker = "paydown-run: finding/made/1/ticket"
    assert tickets.find(marker) is None
    made = tickets.create("Paydown: recover_node\nescalated", "the whole story", marker)
    assert connect(tracker).create("another", "text", marker) == made == tickets.find(marker)
    assert [one["content"] for one in messages(tracker, made)] == [f"the whole story\n\n{marker}"]
    ticket = tickets.read(made)
    assert (ticket.title, ticket.creator, ticket.resolved) == ("Paydown: recover_node escalated", "paydown", False)
    assert tickets.comment_and_resolve(made, "It is over.", f"{marker}/over") is True
    assert tickets.reopen(made) is True
    tracker.create("of a person")
    while (title := ingress.next()["title"]) != "of a person":
        assert not title.startswith("Paydown"), "what we make ourselves raises no event"


def test_an_issue_that_only_carries_our_message_is_not_ours(tracker: Tracker, tickets: RoundupTickets) -> None:
    marker = "paydown-run: finding/borrowed/1/ticket"
    older = tracker.create("older")
    made = tickets.create("ours", "story", marker)
    (message,) = tracker.call("operator", "GET", f"issue/{made}")["attributes"]["messages"]
    tracker.call("operator", "PATCH", f"issue/{older}", {"messages": [message["id"]]})
    assert tickets.find(marker) == made


def test_dying_between_the_message_and_the_issue_is_made_good(tracker: Tracker, tickets: RoundupTickets) -> None:
    marker = "paydown-run: finding/half/1/ticket"
    tracker.call("paydown", "POST", "msg", {"content": "story", "messageid": f"{marker}@new"})
    made = tickets.create("ours", "story", marker)
    assert len(messages(tracker, made)) == 1
    assert tickets.create("ours", "story", marker) == made


def test_four_that_make_the_same_issue_at_once_leave_one_open(tracker: Tracker) -> None:
    marker = "paydown-run: finding/crowd/1/ticket"
    barrier = threading.Barrier(4)

    def make(_: int) -> str:
        client = connect(tracker)
        barrier.wait()
        return client.create("crowded", "story", marker)

    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(make, range(4)))
    ours = connect(tracker).find(marker)
    assert ours in made
    found = tracker.call("operator", "GET", "issue?title=crowded")["collection"]
    open_ones = [one["id"] for one in found if status(tracker, str(one["id"])) != "resolved"]
    assert [str(one) for one in open_ones] == [ours]
