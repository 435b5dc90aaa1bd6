"""A person approves with nothing but what a real Roundup shows them: the comment is copied from our own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.report_outcome import app
from paydown.events import RemediationChanged, TicketCommented
from paydown.inventory import Tracker as Declared
from paydown.ledger import Outcome, Run, Status
from paydown.ledger.outbox import transition
from paydown.sources import roundup as source
from paydown.sources.webhook import Request
from paydown.tickets import open_tracker
from tests.fixtures.decide import Desk
from tests.real.roundup_server import SECRET, Ingress, Tracker
from tests.unit.ledgers import Clock, ledger_in_moto
from tests.unit.people import asked
from tests.unit.toil import lamps

OTHER_ROOM = "host/room-2"
"""Each test has a ledger of its own, but one Roundup: the same finding would find its old ticket."""
PEOPLE = [{"name": "olga", "accounts": {"helpdesk": "operator"}}]


class Helpdesk:
    """A toil type whose plans wait, the functions that tell people and take their decisions, and a Roundup."""

    def __init__(self, tracker: Tracker, ingress: Ingress, plant: lamps.Plant, desk: Desk) -> None:
        self.tracker, self.ingress, self.plant, self.desk = tracker, ingress, plant, desk
        self.known = set(self.issues())
        while not ingress.received.empty():
            ingress.received.get()

    def issues(self) -> list[str]:
        """All issues."""
        return [str(one["id"]) for one in self.tracker.call("operator", "GET", "issue")["collection"]]

    def made(self) -> list[str]:
        """The issues that came since."""
        return [id for id in self.issues() if id not in self.known]

    def told(self, run: Run) -> None:
        """What is published of the run reaches people, twice."""
        for change in [transition(item) for item in self.plant.ledger.runs.log(run.id)] * 2:
            envelope = {"detail-type": RemediationChanged.detail_type_for(change.status)}
            body = json.dumps(envelope | {"detail": change.model_dump(mode="json")})
            assert app.handler({"Records": [{"messageId": "m", "body": body}]}) == {"batchItemFailures": []}

    def messages(self, issue: str) -> dict[str, str]:
        """What an operator reads on an issue, by the messages' ids."""
        linked = self.tracker.call("operator", "GET", f"issue/{issue}")["attributes"]["messages"]
        read = {str(one["id"]): self.tracker.call("operator", "GET", f"msg/{one['id']}?@verbose=3") for one in linked}
        return {id: str(one["attributes"]["content"]) for id, one in read.items()}

    def say(self, issue: str, text: str) -> None:
        """An operator comments, and the webhook of that reaches the function that decides."""
        message = str(self.tracker.call("operator", "POST", "msg", {"content": text})["id"])
        linked = [*self.messages(issue), message]
        self.tracker.call("operator", "PATCH", f"issue/{issue}", {"messages": linked})
        headers, body = self.ingress.received.get(timeout=60)
        request = Request(headers={name: [value] for name, value in headers.items()}, body=body)
        source.verify(request, [SECRET])
        (event,) = source.read(request).events
        assert isinstance(event, TicketCommented)
        assert self.desk.message(event.comment, event.ticket.id) == {"batchItemFailures": []}


@pytest.fixture
def helpdesk(tracker: Tracker, ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Helpdesk]:
    with ledger_in_moto() as ledger:
        monkeypatch.setattr(lamps, "WORLD", lamps.World(burning={"hall"}))
        plant = lamps.Plant(ledger, Clock())
        toil = {**lamps.POLICY["toils"]["switch_off_lamps"], "mode": "approve"}
        policy = {"people": PEOPLE, "approvers": ["olga"], "toils": {"switch_off_lamps": toil}}
        ledger.policy.publish(policy | {"notifications": {"tracker": "helpdesk"}}, "test", plant.clock())
        declared = {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": tracker.roundup.url, "secret": "s"}
        ledger.inventory.publish(lamps.ROOMS | {"trackers": [declared]}, "test", plant.clock())
        desk = Desk(ledger, plant.clock).install(monkeypatch)
        opened = open_tracker(Declared(**declared), lambda name: tracker.roundup.credentials)
        monkeypatch.setattr("functions.decide.comments.open_tracker", lambda *_: opened)
        monkeypatch.setattr(app, "open_tracker", lambda *_: opened)
        monkeypatch.setattr(app, "_ledger", [ledger])
        monkeypatch.setattr(app, "_now", plant.clock)
        monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
        monkeypatch.setenv("PAYDOWN_NOTIFICATION_TOPIC", "")
        yield Helpdesk(tracker, ingress, plant, desk)


def shown(helpdesk: Helpdesk, issue: str, verb: str) -> str:
    """The comment which the issue says to write."""
    (text,) = [text for text in helpdesk.messages(issue).values() if "What is executed if it is approved" in text]
    found: list[str] = re.findall(rf"^To {verb}, comment: (/{verb} .*)$", text, re.MULTILINE)
    (command,) = found
    return command


@pytest.mark.parametrize("begun_by", ["a ticket", "an alert"])
def test_the_comment_that_the_ticket_shows_approves(helpdesk: Helpdesk, begun_by: str) -> None:
    event: Any = lamps.pushed()
    if begun_by == "a ticket":
        issue = helpdesk.tracker.create("The lamps burn", "text")
        assert helpdesk.ingress.next()["event"] == "issue.created"
        event = asked("operator", ticket=issue)
    run = helpdesk.plant.look(event)
    assert run.status is Status.HELD
    helpdesk.told(run)
    (issue,) = helpdesk.made()
    assert helpdesk.ingress.silent(), "what we say ourselves is no event"
    helpdesk.say(issue, shown(helpdesk, issue, "approve"))
    run = helpdesk.plant.wake(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    assert helpdesk.plant.ledger.approvals.all(run)[0].proof == "ticket:helpdesk/operator"
    helpdesk.told(run)
    status = helpdesk.tracker.call("operator", "GET", f"issue/{issue}?@verbose=2")["attributes"]["status"]["name"]
    assert status == "resolved"


def test_the_comment_that_the_ticket_shows_rejects_and_a_new_plan_is_shown(helpdesk: Helpdesk) -> None:
    first = helpdesk.plant.look(lamps.pushed(), OTHER_ROOM)
    helpdesk.told(first)
    (issue,) = helpdesk.made()
    helpdesk.say(issue, shown(helpdesk, issue, "reject"))
    first = helpdesk.plant.wake(first)
    assert (first.status, first.reasons[0].text) == (Outcome.REJECTED, "by olga: REASON")
    helpdesk.told(first)

    lamps.WORLD.burning.add("desk")
    helpdesk.plant.clock.tick(60)
    second = helpdesk.plant.look(lamps.pushed("push-2"), OTHER_ROOM)
    assert (second.status, second.fingerprint != first.fingerprint) == (Status.HELD, True)
    helpdesk.told(second)
    assert helpdesk.made() == [issue]
    latest = [text for text in helpdesk.messages(issue).values() if second.fingerprint[:12] in text]
    assert len(latest) == 1
    found: list[str] = re.findall(r"^To approve, comment: (/approve .*)$", latest[0], re.MULTILINE)
    helpdesk.say(issue, found[0])
    assert helpdesk.plant.wake(second).status is Outcome.VERIFIED
