"""A real Roundup with our detector delivers to ingress over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import roundup
from paydown.events import TicketCreated
from tests.real import roundup_server
from tests.real.ingress_server import Front, front_door
from tests.servers import need


@pytest.fixture
def front() -> Iterator[Front]:
    with front_door() as front:
        front.ingress.secrets["test/webhooks/roundup"] = {"current": roundup_server.SECRET}
        yield front


@pytest.fixture
def tracker(front: Front, tmp_path: Path) -> Iterator[roundup_server.Tracker]:
    need(roundup.installed(), "Roundup is not installed (pip install roundup)")
    running = roundup_server.Tracker(tmp_path / "roundup", front.port)
    yield running
    running.service.stop()


def test_a_new_issue_and_one_that_is_moved_become_events(front: Front, tracker: roundup_server.Tracker) -> None:
    issue = tracker.create("Node wörker-1 NotReady")
    front.until(lambda: len(front.events) == 1)
    keyword = tracker.call(roundup.PERSON, "GET", f"keyword?name={roundup.QUEUE}")["collection"][0]["id"]
    tracker.call(roundup.PERSON, "PATCH", f"issue/{issue}", {"keyword": [keyword]})
    front.until(lambda: len(front.events) == 2)
    created, moved = front.events
    assert isinstance(created, TicketCreated)
    assert (created.ticket.tracker, created.ticket.id) == ("helpdesk", issue)
    assert (created.title, created.queue, created.creator) == ("Node wörker-1 NotReady", None, roundup.PERSON)
    assert (moved.ticket, moved.queue) == (created.ticket, roundup.QUEUE)
    assert created.key != moved.key
    assert set(front.statuses) == {202}


def test_a_wrong_secret_puts_nothing_on_the_bus_and_the_event_waits(
    front: Front, tracker: roundup_server.Tracker
) -> None:
    front.ingress.secrets["test/webhooks/roundup"] = {"current": "another"}
    tracker.create("Node worker-1 NotReady")
    front.until(lambda: 401 in front.statuses)
    assert front.events == []
    front.ingress.secrets["test/webhooks/roundup"] = {"current": "another", "previous": roundup_server.SECRET}
    front.until(lambda: front.events)
    assert front.statuses[-1] == 202
