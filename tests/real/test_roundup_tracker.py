"""The local Roundup and our detector: what a person does there reaches a receiver, signed, once, or waits for it."""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import roundup
from local.processes import free_port
from tests.real.roundup_server import SECRET, Ingress, Refused, Tracker, eventually
from tests.servers import need

Start = Callable[[int], Tracker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a tracker of the test's own that reports to a port; called again, the same one with another receiver."""
    need(roundup.installed(), "Roundup is not installed (pip install roundup)")
    running: list[Tracker] = []

    def begin(port: int) -> Tracker:
        for one in running:
            one.service.stop()
        running.append(Tracker(tmp_path / "roundup", port))
        return running[-1]

    yield begin
    for one in running:
        one.service.stop()


def test_a_new_issue_arrives_signed(tracker: Tracker, ingress: Ingress) -> None:
    began = time.time()
    issue = tracker.create("Node worker-1 NotReady", "It went away.\nPlease help: ünïcode.")
    event = ingress.next()
    assert event["event"] == "issue.created"
    assert (event["id"], event["title"], event["status"]) == (issue, "Node worker-1 NotReady", "unread")
    assert (event["creator"], event["actor"], event["tracker"]) == ("operator", "operator", "helpdesk")
    assert (event["keywords"], event["queue"]) == ([], None)
    assert "ünïcode" not in json.dumps(event, ensure_ascii=False)
    moment = calendar.timegm(time.strptime(event["at"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert began - 2 <= moment <= time.time() + 1
    assert ingress.silent()


def test_moving_an_issue_to_the_queue_is_told_once_each_time(tracker: Tracker, ingress: Ingress) -> None:
    issue = tracker.create("Something else")
    assert ingress.next()["event"] == "issue.created"
    tracker.call("operator", "PATCH", f"issue/{issue}", {"priority": "urgent"})
    assert ingress.silent()
    tracker.call("operator", "PATCH", f"issue/{issue}", {"keyword": ["automation"]})
    moved = ingress.next()
    assert (moved["event"], moved["id"], moved["queue"]) == ("issue.moved", issue, "automation")
    tracker.call("operator", "PATCH", f"issue/{issue}", {"priority": "bug"})
    assert ingress.silent()
    tracker.call("operator", "PATCH", f"issue/{issue}", {"keyword": []})
    tracker.call("operator", "PATCH", f"issue/{issue}", {"keyword": ["automation"]})
    again = ingress.next()
    assert again["event"] == "issue.moved"
    assert again["delivery"] != moved["delivery"]
    assert ingress.silent()


def test_an_issue_that_is_born_in_the_queue_is_told_once(tracker: Tracker, ingress: Ingress) -> None:
    tracker.create("Disk full", keyword=["automation"])
    event = ingress.next()
    assert (event["event"], event["queue"], event["keywords"]) == ("issue.created", "automation", ["automation"])
    assert ingress.silent()


def test_a_refused_change_is_never_told(tracker: Tracker, ingress: Ingress) -> None:
    with pytest.raises(Refused):
        tracker.call("operator", "POST", "issue", {"title": "x", "keyword": ["no such keyword"]})
    assert ingress.silent()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "issue", {"title": "ours", "priority": "urgent"}),
        ("PATCH", "issue/1", {"title": "renamed"}),
        ("PATCH", "issue/1", {"keyword": ["automation"]}),
        ("POST", "msg", {"content": "as somebody else", "author": "operator"}),
        ("POST", "keyword", {"name": "mine"}),
        ("PATCH", "user/1", {"password": "mine"}),
        ("POST", "user", {"username": "mine"}),
        ("PATCH", "msg/1", {"content": "rewritten"}),
    ],
)
def test_our_user_has_the_least_role(tracker: Tracker, method: str, path: str, body: Any) -> None:
    tracker.create("An issue", "with a message")
    with pytest.raises(Refused, match=r"403|405"):
        tracker.call("paydown", method, path, body)


def test_edits_work_while_the_receiver_is_dead_and_arrive_when_it_is_back(start: Start) -> None:
    port = free_port()
    tracker = start(port)
    began = time.monotonic()
    first = tracker.create("one")
    second = tracker.create("two")
    assert time.monotonic() - began < 2
    assert eventually(lambda: len(tracker.spool) == 2)
    receiver = Ingress(port)
    try:
        assert [receiver.next()["id"] for _ in range(2)] == [first, second]
        assert eventually(lambda: not tracker.spool)
        assert receiver.silent()
    finally:
        receiver.close()


def test_a_slow_receiver_does_not_slow_an_edit(start: Start) -> None:
    receiver = Ingress(delay=3)
    try:
        tracker = start(receiver.port)
        began = time.monotonic()
        issue = tracker.create("patience")
        assert time.monotonic() - began < 1.5
        assert receiver.next()["id"] == issue
    finally:
        receiver.close()


def test_what_was_not_sent_survives_a_restart_and_a_new_address(start: Start) -> None:
    tracker = start(free_port())
    issue = tracker.create("lost?")
    assert eventually(lambda: len(tracker.spool) == 1)
    receiver = Ingress()
    try:
        again = start(receiver.port)
        assert again.call("operator", "GET", f"issue/{issue}")["attributes"]["title"] == "lost?"
        event = receiver.next()
        assert (event["id"], event["event"]) == (issue, "issue.created")
        assert eventually(lambda: not again.spool)
    finally:
        receiver.close()


def test_a_tracker_of_an_earlier_version_gets_the_role_of_this_one(start: Start) -> None:
    tracker = start(free_port())
    schema = tracker.roundup.tracker / "schema.py"
    ours = schema.read_text()
    assert ours.count(roundup.SCHEMA_BEGINS) == 1
    schema.write_text(ours.replace('name="Edit", klass="msg"', 'name="View", klass="msg"'))
    start(free_port())
    assert schema.read_text() == ours


def test_trouble_is_retried_under_the_same_delivery_id(start: Start) -> None:
    receiver = Ingress(answers=(500, 429, 202))
    try:
        start(receiver.port).create("stubborn")
        assert len({receiver.next()["delivery"] for _ in range(3)}) == 1
        assert receiver.silent()
    finally:
        receiver.close()


def test_a_rejected_event_is_kept_and_does_not_block_the_others(start: Start) -> None:
    receiver = Ingress(answers=(400, 202))
    try:
        tracker = start(receiver.port)
        bad, good = tracker.create("bad"), ""
        assert receiver.next()["id"] == bad
        good = tracker.create("good")
        assert receiver.next()["id"] == good
        assert eventually(lambda: not tracker.spool)
        kept = list((tracker.roundup.tracker / "paydown-spool" / "rejected").iterdir())
        assert [json.loads(path.read_bytes())["id"] for path in kept] == [bad]
        assert kept[0].name in tracker.service.tail()
    finally:
        receiver.close()


def test_a_redirect_is_not_followed(start: Start) -> None:
    receiver = Ingress(answers=(307, 202))
    try:
        tracker = start(receiver.port)
        issue = tracker.create("elsewhere")
        assert receiver.next()["id"] == issue
        assert receiver.next()["id"] == issue  # sent again to the address that was set
    finally:
        receiver.close()


def test_stopping_the_tracker_leaves_no_process(start: Start) -> None:
    tracker = start(free_port())
    tracker.create("undeliverable")
    home = str(tracker.roundup.tracker).encode()

    def alive() -> list[bytes]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes())
        return [command for command in found if home in command]

    assert eventually(lambda: len(alive()) >= 2)
    tracker.service.stop()
    assert eventually(lambda: not alive())


def test_the_secrets_of_the_tracker_are_for_nobody_else(tracker: Tracker) -> None:
    home = tracker.roundup.home
    for path in (
        home / "passwords.json",
        home / "tracker" / "config.ini",
        home / "tracker" / "detectors" / "config.ini",
    ):
        assert path.stat().st_mode & 0o077 == 0, path
    assert SECRET not in repr(tracker.roundup)


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to give up its identity")
def test_the_server_does_not_run_as_root(tracker: Tracker) -> None:
    process = tracker.service.process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    writes_everywhere = 1 << 1  # CAP_DAC_OVERRIDE
    assert int(fields["CapEff"], 16) & ~(1 << 2) == 0, "at most CAP_DAC_READ_SEARCH is kept"
    assert int(fields["CapEff"], 16) & writes_everywhere == 0
