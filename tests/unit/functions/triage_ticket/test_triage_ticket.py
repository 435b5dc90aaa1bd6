"""A ticket becomes a command to the toil type that it asks for, or is left alone with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.triage_ticket import app
from functions.triage_ticket.app import Nudge, TriageTicket
from paydown.errors import PermanentError, RetryableError
from paydown.events import Event, ImagePushed, TicketCreated
from paydown.inventory import Inventory, Target
from paydown.ledger import run_id
from paydown.plan import Done, Draft, Hazard, Moot, NotYet, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.tickets import Ticket, TicketNotFound
from paydown.toil import Scene

NOW = datetime(2026, 1, 15, 10, 3, tzinfo=UTC)
EVENTS = Path(__file__).parents[4] / "events" / "triage_ticket"

INVENTORY = Inventory.parse(
    {
        "hosts": [
            {"uid": "h1", "name": "build-1", "reach": {"via": "unix", "path": "/s"}},
            {"uid": "h2", "name": "twin-a", "aliases": ["twin"], "reach": {"via": "unix", "path": "/s"}},
            {"uid": "h3", "name": "twin-b", "aliases": ["twin"], "reach": {"via": "unix", "path": "/s"}},
        ],
        "trackers": [
            {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"},
            {"uid": "t2", "name": "acme/shop", "system": "github", "url": "https://x/repos/acme/shop", "secret": "s"},
        ],
    }
)
RULES = [
    {
        "name": "disk_full",
        "toil": "clean_dangling_images",
        "target": "host/{target}",
        "title": r"full on (?P<target>\S+)",
    },
    {"name": "loop", "toil": "triage_ticket", "target": "host/build-1", "title": "again"},
]
POLICY = Policy.parse({"tickets": {"rules": RULES}})


def about(title: str, *, resolved: bool = False) -> Ticket:
    return Ticket("1", title, "", "resolved" if resolved else "unread", resolved, (), "operator")


@dataclass
class World:
    """What the tracker and the ledger hold, and what was sent."""

    ticket: Ticket | Exception = field(default_factory=lambda: about("Disk full on build-1"))
    runs: set[tuple[str, str]] = field(default_factory=set)
    sent: list[tuple[str, str, str]] = field(default_factory=list)
    now: datetime = NOW

    def read(self, ticket_id: str, messages: int = 0) -> Ticket:
        if isinstance(self.ticket, Exception):
            raise self.ticket
        return replace(self.ticket, id=ticket_id)

    def nudge(self, toil: str, event: Event, ref: str) -> None:
        self.sent.append((toil, event.key, ref))

    def has_run(self, toil: str, event: Event, target: Target) -> bool:
        return (toil, target.uid) in self.runs


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(app, "open_tracker", lambda tracker, secret: made)
    return made


def sample(name: str = "ticket_created") -> TicketCreated:
    return TicketCreated.from_detail(json.loads((EVENTS / f"{name}.json").read_text())["detail"])


def toil(world: World, event: Event | None = None, inventory: Inventory = INVENTORY) -> TriageTicket:
    scene = Scene(
        run_id="r",
        event=event or sample(),
        inventory=inventory,
        policy=POLICY,
        settings=TriageTicket.Settings(),
        observing=False,
        now=lambda: world.now,
        nudge=world.nudge,
        has_run=world.has_run,
    )
    return TriageTicket(scene)


def target(tracker: str = "helpdesk") -> Any:
    found = INVENTORY.ticket(tracker, "1")
    assert found is not None
    return found


def draft(world: World) -> Draft:
    found = toil(world).plan(target())
    assert isinstance(found, Draft)
    return found


def nudge(ref: str = "host/build-1") -> Nudge:
    return Nudge(object=ref, precondition="p", toil="clean_dangling_images", rule="disk_full")


def record(ref: str = "host/build-1") -> Record:
    return Record({}, [Step(0, 0, nudge(ref), StepState.DONE)], NOW)


def test_it_is_named_after_its_folder() -> None:
    assert TriageTicket.name == "triage_ticket"


@pytest.mark.parametrize(
    ("event", "refs"),
    [
        (sample(), ["ticket/helpdesk/1"]),
        (sample("ticket_moved_to_queue"), ["ticket/helpdesk/2"]),
        (sample().model_copy(update={"queue": "another label"}), []),
        (sample().model_copy(update={"ticket": sample().ticket.model_copy(update={"tracker": "unknown"})}), []),
        (ImagePushed(key="k", at=NOW, registry="r", repository="p", digest="sha256:" + "0" * 64), []),
    ],
)
def test_targets(event: Event, refs: list[str]) -> None:
    assert [found.ref for found in TriageTicket.targets(event, INVENTORY)] == refs


@pytest.mark.parametrize("tracker", ["helpdesk", "acme/shop"])
def test_a_ticket_is_found_again_by_its_ref(tracker: str) -> None:
    """The run keeps only the ref; a repository on GitHub has a slash in its name."""
    assert INVENTORY.find(target(tracker).ref) == target(tracker)


def test_a_match_is_a_harmless_nudge(world: World) -> None:
    found = draft(world)
    ((action,),) = found.stages
    assert isinstance(action, Nudge)
    assert (action.toil, action.object, action.rule) == ("clean_dangling_images", "host/build-1", "disk_full")
    assert action.hazard is Hazard.NONE
    assert world.sent == []


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        (about("Coffee is out"), "no rule matches"),
        (about("Disk full on build-1", resolved=True), "the ticket is resolved already"),
        (about("Disk full on unknown"), "has not exactly one host/unknown"),
        (about("Disk full on twin"), "has not exactly one host/twin"),
        (about("try again"), "hands tickets back to triage_ticket"),
        (TicketNotFound("404"), "the ticket is gone"),
    ],
)
def test_a_ticket_that_is_left_alone(world: World, ticket: Ticket | Exception, why: str) -> None:
    world.ticket = ticket
    found = draft(world)
    assert found.stages == ()
    assert why in found.why


@pytest.mark.parametrize("trouble", [RetryableError("down"), PermanentError("401")])
def test_trouble_with_the_tracker_is_the_runs_trouble(world: World, trouble: Exception) -> None:
    world.ticket = trouble
    with pytest.raises(type(trouble)):
        draft(world)


def test_the_command_goes_to_the_toil_types_queue(world: World) -> None:
    result = toil(world).apply(nudge(), target())
    assert result == Done({"toil": "clean_dangling_images", "target": "host/build-1"})
    assert world.sent == [("clean_dangling_images", sample().key, "host/build-1")]


def test_a_run_that_is_there_is_not_asked_for_again(world: World) -> None:
    world.runs.add(("clean_dangling_images", "h1"))
    assert isinstance(toil(world).apply(nudge(), target()), Moot)
    assert world.sent == []


def test_a_target_that_left_the_inventory(world: World) -> None:
    with pytest.raises(PermanentError):
        toil(world).apply(nudge("host/gone"), target())
    assert isinstance(toil(world).verify(target(), record("host/gone")), Unverified)
    assert world.sent == []


def test_it_is_verified_when_the_ledger_holds_the_run(world: World) -> None:
    first = toil(world).verify(target(), record())
    assert isinstance(first, NotYet)
    assert first.until == NOW + timedelta(seconds=2)
    world.now = NOW + timedelta(minutes=30)
    later = toil(world).verify(target(), record())
    assert isinstance(later, NotYet)
    assert later.until == world.now + timedelta(seconds=60)
    world.runs.add(("clean_dangling_images", "h1"))
    seen = toil(world).verify(target(), record())
    assert isinstance(seen, Verified)
    assert seen.evidence["run"] == run_id(sample().key, "h1", "clean_dangling_images")
    assert seen.saved == {"tickets": 1}
