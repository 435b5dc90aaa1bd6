"""Decisions by comments in a real Roundup: who wrote what, as its own interface tells, and what cannot be faked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions.decide import app
from paydown.approving import is_command
from paydown.events import TicketCommented
from paydown.inventory import Tracker as Declared
from paydown.ledger import Ledger, Outcome, Status
from paydown.sources import roundup as source
from paydown.sources.webhook import Request
from paydown.tickets import TicketNotFound, open_tracker
from tests.fixtures.decide import Desk
from tests.real.roundup_server import SECRET, Ingress, Refused, Tracker
from tests.unit.ledgers import Clock, ledger_in_moto
from tests.unit.people import asked
from tests.unit.toil import lamps

PEOPLE = [{"name": "olga", "accounts": {"helpdesk": "operator"}}, {"name": "root", "accounts": {"helpdesk": "admin"}}]


class Office:
    """The ticket system, a plan that waits, and the function that takes decisions."""

    def __init__(self, tracker: Tracker, ingress: Ingress, plant: lamps.Plant, desk: Desk) -> None:
        self.tracker, self.ingress, self.plant, self.desk = tracker, ingress, plant, desk
        while not ingress.received.empty():
            ingress.received.get()
        self.issue = tracker.create("The lamps burn", "text")
        assert ingress.next()["event"] == "issue.created"
        self.run = plant.look(asked("operator", ticket=self.issue))
        assert self.run.status is Status.HELD

    @property
    def ledger(self) -> Ledger:
        return self.plant.ledger

    def write(self, text: str, user: str = "operator", **more: Any) -> str:
        """A message on the issue; its id."""
        message = str(self.tracker.call(user, "POST", "msg", {"content": text, **more})["id"])
        self.link(message, user)
        return message

    def link(self, message: str, user: str) -> None:
        known = self.messages()
        self.tracker.call(user, "PATCH", f"issue/{self.issue}", {"messages": [*known, message]})

    def messages(self) -> list[str]:
        found = self.tracker.call("operator", "GET", f"issue/{self.issue}")["attributes"]["messages"]
        return [str(one["id"]) for one in found]

    def event(self) -> TicketCommented:
        """What ingress makes of the detector's next webhook."""
        headers, body = self.ingress.received.get(timeout=60)
        request = Request(headers={name: [value] for name, value in headers.items()}, body=body)
        source.verify(request, [SECRET])
        (event,) = source.read(request).events
        assert isinstance(event, TicketCommented)
        return event

    def handle(self, comment: str) -> None:
        assert self.desk.message(comment, self.issue) == {"batchItemFailures": []}

    def answers(self) -> list[str]:
        texts = [self.tracker.call("operator", "GET", f"msg/{one}?@verbose=3") for one in self.messages()]
        return [
            one["attributes"]["content"] for one in texts if "paydown-run: decision/" in one["attributes"]["content"]
        ]

    def decided(self) -> str | None:
        decision = self.ledger.approvals.latest(self.run)
        return decision.proof if decision else None


@pytest.fixture
def office(tracker: Tracker, ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with ledger_in_moto() as ledger:
        monkeypatch.setattr(lamps, "WORLD", lamps.World(burning={"hall"}))
        plant = lamps.Plant(ledger, Clock())
        toil = {**lamps.POLICY["toils"]["switch_off_lamps"], "mode": "approve"}
        policy = {"people": PEOPLE, "approvers": ["olga"], "toils": {"switch_off_lamps": toil}}
        ledger.policy.publish(policy, "test", plant.clock())
        declared = {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": tracker.roundup.url, "secret": "s"}
        ledger.inventory.publish(lamps.ROOMS | {"trackers": [declared]}, "test", plant.clock())
        desk = Desk(ledger, plant.clock).install(monkeypatch)
        opened = open_tracker(Declared(**declared), lambda name: tracker.roundup.credentials)
        monkeypatch.setattr("functions.decide.comments.open_tracker", lambda *_: opened)
        yield Office(tracker, ingress, plant, desk)


def test_an_approver_approves_on_the_ticket(office: Office) -> None:
    message = office.write(f"Yes, please.\r\n/approve {office.run.fingerprint[:12]} nobody is in the hall")
    event = office.event()
    assert (event.ticket.id, event.comment) == (office.issue, message)
    office.handle(event.comment)
    office.handle(event.comment)
    assert office.decided() == "ticket:helpdesk/operator"
    (answer,) = office.answers()
    assert f"olga approved plan {office.run.fingerprint[:12]}" in answer
    assert office.plant.wake(office.run).status is Outcome.VERIFIED
    assert office.ingress.silent()  # our own answer is not announced


def test_a_decision_in_the_issues_first_message(office: Office) -> None:
    issue = office.tracker.create("Another", f"/reject {office.run.fingerprint[:12]} no")
    kinds = {office.ingress.next()["event"] for _ in range(2)}
    assert kinds == {"issue.created", "issue.commented"}
    office.tracker.call("operator", "PATCH", f"issue/{issue}", {"status": "resolved"})


def test_another_user_is_told_why_it_does_not_count(office: Office) -> None:
    office.write(f"/approve {office.run.fingerprint}", "admin")
    office.handle(office.event().comment)
    assert office.decided() is None
    assert "(not_an_approver)" in office.answers()[0]


def test_what_decides_nothing_is_not_announced(office: Office) -> None:
    office.write("Why does this happen?\n> /approve 0123456789ab")
    assert office.ingress.silent()


def test_a_message_signed_with_an_approvers_name_is_not_theirs(office: Office) -> None:
    """Roundup lets whoever writes a message say who its author is."""
    author = office.tracker.call("operator", "GET", "user?username:=operator")["collection"][0]["id"]
    message = office.write(f"/approve {office.run.fingerprint}", "admin", author=author)
    assert office.event().comment == message
    office.handle(message)
    assert office.decided() is None
    assert "(edited)" in office.answers()[0]


def test_a_decision_cannot_be_edited_and_no_message_becomes_one(office: Office) -> None:
    """Roundup lets every user edit every message, and does not tell who changed the text: our detector refuses it."""
    harmless, decision = office.write("I wonder."), office.write("/approve 000000000000")
    office.event()
    for message, text in ((harmless, f"/approve {office.run.fingerprint}"), (decision, "I never said so.")):
        with pytest.raises(Refused):
            office.tracker.call("admin", "PATCH", f"msg/{message}", {"content": text})
    office.tracker.call("admin", "PATCH", f"msg/{harmless}", {"content": "I still wonder."})
    office.handle(harmless)
    assert (office.decided(), office.answers()) == (None, [])


def test_an_approvers_message_that_somebody_else_puts_on_the_issue_is_not_announced(office: Office) -> None:
    message = office.tracker.call("operator", "POST", "msg", {"content": f"/approve {office.run.fingerprint}"})["id"]
    office.link(str(message), "admin")
    assert office.ingress.silent()


def test_a_message_whose_properties_were_changed_does_not_count(office: Office) -> None:
    message = office.write(f"/approve {office.run.fingerprint}")
    office.event()
    office.tracker.call("admin", "PATCH", f"msg/{message}", {"summary": "changed"})
    office.handle(message)
    assert office.decided() is None
    assert "(edited)" in office.answers()[0]


def test_a_message_of_another_ticket_or_none_is_not_found(office: Office) -> None:
    elsewhere = office.tracker.call("operator", "POST", "msg", {"content": f"/approve {office.run.fingerprint}"})["id"]
    tickets = open_tracker(
        Declared(uid="t1", name="helpdesk", system="roundup", url=office.tracker.roundup.url, secret="s"),
        lambda name: office.tracker.roundup.credentials,
    )
    for message in (str(elsewhere), "999999", "x"):
        with pytest.raises(TicketNotFound):
            tickets.comment_of(office.issue, message)
        if message != "x":
            office.handle(message)
    assert office.decided() is None


def test_the_detector_and_the_function_agree_on_what_a_decision_is() -> None:
    from local.roundup_detector import is_decision

    assert app.handler is not None
    for text in (
        "/approve 0",
        "a\r\n/reject",
        "/rejected",
        " /approve 1",
        "/approve\t1",
        "a\r/approve 2",
        "",
        "> /reject",
    ):
        assert is_decision(text) == is_command(text), text
