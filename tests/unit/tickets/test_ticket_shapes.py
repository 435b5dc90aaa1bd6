"""Ticket text is bounded and cleaned; markers, ids and credentials are checked before they are used."""

from __future__ import annotations

import pytest

from paydown.errors import PermanentError
from paydown.inventory import Tracker
from paydown.tickets import TicketNotFound, open_tracker, plain
from paydown.tickets.github import GithubTickets
from paydown.tickets.roundup import RoundupTickets
from paydown.tickets.shapes import checked_id, checked_marker, credentials


def tracker(system: str, url: str) -> Tracker:
    return Tracker.model_validate({"uid": "t", "name": "t", "system": system, "url": url, "secret": "a/secret"})


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("two\r\nlines\rthree", "two\nlines\nthree"),
        ("tab\tstays", "tab\tstays"),
        ("bell\x07 escape\x1b[31m nul\x00", "bell escape[31m nul"),
        ("right\u202eot tfel", "rightot tfel"),
        ("separator\u2028here", "separatorhere"),
        ("ünïcode 日本 🎉", "ünïcode 日本 🎉"),
    ],
)
def test_plain_text(text: str, clean: str) -> None:
    assert plain(text) == clean


def test_plain_text_is_bounded() -> None:
    assert len(plain("x" * 30_000)) == 20_000
    assert plain("abcdef", 4) == "abc…"
    assert plain("abcd", 4) == "abcd"


@pytest.mark.parametrize("marker", ["paydown-run: 0f3a/1", "paydown-run: a", "paydown-run: A_b.c:d-e/2"])
def test_markers(marker: str) -> None:
    assert checked_marker(marker) == marker


@pytest.mark.parametrize(
    "marker",
    ["", "0f3a/1", "paydown-run: ", "paydown-run: a b", "paydown-run: a\n", "paydown-run: -->", "x paydown-run: a"],
)
def test_what_is_no_marker(marker: str) -> None:
    with pytest.raises(PermanentError):
        checked_marker(marker)


@pytest.mark.parametrize("ticket_id", ["", "0", "01", "-1", "1 ", "1\n", "1/2", "../1", "1?a", "٣", "x", "1" * 19])
def test_what_is_no_id(ticket_id: str) -> None:
    with pytest.raises(TicketNotFound):
        checked_id(ticket_id)


def test_credentials() -> None:
    content = {"username": "u", "password": "p", "number": 3}
    assert credentials(lambda name: content, "s", "username", "password") == {"username": "u", "password": "p"}


@pytest.mark.parametrize("content", ["hunter2", ["hunter2"], {"username": "hunter2"}, {"password": 2}, None])
def test_malformed_credentials_are_named_and_not_shown(content: object) -> None:
    with pytest.raises(PermanentError, match="the secret a/secret must be a JSON object") as caught:
        credentials(lambda name: content, "a/secret", "username", "password")
    assert "hunter2" not in str(caught.value)


def test_each_system_is_opened_without_a_call() -> None:
    def secret(name: str) -> object:
        raise AssertionError("asked too early")

    assert isinstance(open_tracker(tracker("roundup", "https://tickets.example.org/t/"), secret), RoundupTickets)
    assert isinstance(open_tracker(tracker("github", "https://api.github.com/repos/o/r"), secret), GithubTickets)


@pytest.mark.parametrize("system", ["roundup", "github"])
def test_credentials_never_travel_in_the_clear(system: str) -> None:
    with pytest.raises(PermanentError, match="without TLS"):
        open_tracker(tracker(system, "http://tickets.example.org/repos/o/r"), lambda name: {})


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:80"])
def test_this_machine_may_be_reached_without_tls(host: str) -> None:
    assert open_tracker(tracker("roundup", f"http://{host}/t/"), lambda name: {})


@pytest.mark.parametrize("url", ["https://api.github.com", "https://github.com/o/r", "https://api.github.com/repos/o"])
def test_a_github_address_that_is_no_repository(url: str) -> None:
    with pytest.raises(PermanentError, match="/repos/OWNER/NAME"):
        open_tracker(tracker("github", url), lambda name: {})
