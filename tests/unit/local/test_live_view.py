"""What the live view shows."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from local.live import Watch, described, plain, table, why
from paydown.events import Event, ImagePushed, NodeNotReady, Sweep, TicketCreated, TicketRef
from paydown.ledger import Ledger, Outcome, Reason, Run, Stop
from tests.unit.ledgers import Clock

MINUTE = timedelta(minutes=1)


def create(ledger: Ledger, clock: Clock, event: Event) -> Run:
    return ledger.runs.create("recover_node", "uid", "node/demo/worker-1", event, clock(), clock() + MINUTE, MINUTE).run


def node_event(clock: Clock, key: str = "k") -> NodeNotReady:
    return NodeNotReady(key=key, at=clock(), cluster="demo", node="worker-1")


def drawn(thing: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_text_of_strangers_is_made_harmless() -> None:
    assert plain("a\x1b[31mb\r\nc\u202e") == "a [31mb c"
    assert plain("x" * 100, 10) == "x" * 9 + "…"


def test_events_in_a_few_words(clock: Clock) -> None:
    at = clock()
    digest = "sha256:" + "1" * 64
    ticket = TicketCreated(key="t", at=at, ticket=TicketRef(tracker="helpdesk", id="7"), title="Disk\nfull")
    for event, words in (
        (ImagePushed(key="i", at=at, registry="r:5000", repository="a/b", digest=digest, tag="v1"), "r:5000/a/b:v1"),
        (node_event(clock), "demo/worker-1"),
        (ticket, "helpdesk 7 “Disk full”"),
        (Sweep(key="s", at=at, rule="daily"), "daily"),
    ):
        assert described(event.detail_type(), event.model_dump(mode="json")) == f"{event.detail_type()} {words}"


def test_each_transition_is_told_once(ledger: Ledger, clock: Clock) -> None:
    watch = Watch(ledger, clock())
    run = create(ledger, clock, node_event(clock))
    [line] = watch.news(clock())
    assert "Planned" in line
    assert "recover_node on node/demo/worker-1 (NodeNotReady demo/worker-1)" in line
    assert list(watch.news(clock())) == []
    clock.tick(1)
    ledger.runs.end(run, Outcome.SKIPPED, clock(), [Reason("nothing_to_do", "the node is\x07 Ready again")])
    [line] = watch.news(clock())
    assert "Skipped" in line
    assert line.endswith(": the node is Ready again")
    assert list(watch.news(clock())) == []


def test_what_ended_before_is_not_told(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.end(create(ledger, clock, node_event(clock)), Outcome.VERIFIED, clock())
    clock.tick(5)
    assert list(Watch(ledger, clock()).news(clock())) == []


def test_the_table_shows_runs_and_stops(ledger: Ledger, clock: Clock) -> None:
    run = create(ledger, clock, node_event(clock))
    clock.tick(3)
    ended = ledger.runs.end(run, Outcome.VERIFIED, clock(), evidence={"evicted": 4, "left": {"a": 1}})
    assert why(ended) == "evicted 4"
    shown = drawn(table([ended], [Stop("recover_node", "me", "now", "[red]drill[/red]", clock())], clock()))
    assert "stopped: recover_node by me: [red]drill[/red]" in shown  # no markup of strangers
    assert "node/demo/worker-1" in shown
    assert "Verified" in shown
    assert "no event yet" in drawn(table([], [], clock()))


@pytest.mark.parametrize("title", ["[link=http://x]click[/link]", "[/]"])
def test_markup_in_a_title_stays_text(ledger: Ledger, clock: Clock, title: str) -> None:
    event = TicketCreated(key="t", at=clock(), ticket=TicketRef(tracker="helpdesk", id="1"), title=title)
    run = ledger.runs.create("triage_ticket", "u", "ticket/helpdesk/1", event, clock(), clock() + MINUTE, MINUTE).run
    assert title in drawn(table([run], [], clock()))
