"""From a ticket that a person writes in a real Roundup to the ticket resolved with its comment; AWS is moto.

The toil type that is asked is a small one of this test's own: what the others do to hosts and nodes is shown elsewhere.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
import pytest

from functions.publish_transitions.app import transition
from functions.report_outcome import app as report_outcome
from functions.triage_ticket.app import TriageTicket
from paydown.clients import aws
from paydown.events import Event, RemediationChanged, TicketCreated
from paydown.inventory import Host, Inventory
from paydown.ledger import Ledger, Run, run_id
from paydown.plan import Action, Done, Draft, Hazard, Record, Unverified, Verified
from paydown.sources import roundup as source
from paydown.sources.webhook import Request
from paydown.toil import Toil, handler_for
from paydown.toil.handler import utc_now
from paydown.toil.worker import wake_command
from tests.real.roundup_server import SECRET, Ingress, Tracker
from tests.unit.ledgers import ledger_in_moto

HOST = {"uid": "h1", "name": "build-1", "reach": {"via": "unix", "path": "/run/none"}}
RULE = {
    "name": "crumbs",
    "toil": "sweep_floor",
    "target": "host/{target}",
    "title": r"crumbs on (?P<target>\S+)",
    "creators": ["operator"],
}


class Sweep(Action):
    """Sweep the floor of a host."""

    hazard: Hazard = Hazard.REVERSIBLE


class SweepFloor(Toil[Host]):
    """Stands for a toil type that is asked by a ticket. `broom` says whether sweeping helps."""

    name = "sweep_floor"
    listens_to = (TicketCreated,)
    does = (Sweep,)
    broom = True
    swept = 0

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Host]:
        return inventory.hosts

    def plan(self, target: Host) -> Draft:
        return Draft.of([Sweep(object=target.ref, precondition="crumbs")])

    def population(self, target: Host) -> None:
        return None

    def apply(self, action: Sweep, target: Host) -> Done:
        type(self).swept += 1
        return Done({"crumbs": 7})

    def verify(self, target: Host, record: Record) -> Verified | Unverified:
        return Verified({"crumbs": 7}) if self.broom else Unverified("crumbs are still there", {"crumbs": 7})


@dataclass
class Context:
    began: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return int(60_000 - (time.monotonic() - self.began) * 1_000)


@dataclass
class Application:
    """The functions of the ticket's way, with what lies between them played by this class."""

    tracker: Tracker
    ingress: Ingress
    ledger: Ledger

    def __post_init__(self) -> None:
        self.sqs = boto3.client("sqs")
        self.urls = {
            toil: self.sqs.create_queue(QueueName=f"paydown-toil-{toil}")["QueueUrl"]
            for toil in ("sweep_floor", "triage_ticket")
        }
        self.triage = handler_for(TriageTicket)
        self.sweep = handler_for(SweepFloor)

    def next_event(self, seconds: float = 60.0) -> TicketCreated:
        """What ingress makes of the detector's next webhook."""
        headers, body = self.ingress.received.get(timeout=seconds)
        request = Request(headers={name: [value] for name, value in headers.items()}, body=body)
        source.verify(request, [SECRET])
        (event,) = source.read(request).events
        assert isinstance(event, TicketCreated)
        return event

    def work(self, event: TicketCreated) -> Run:
        """Triage, and meanwhile the toil type that it asks; the triage run as it ended."""
        envelope = {"source": "paydown", "detail-type": "TicketCreated", "detail": event.model_dump(mode="json")}
        answers: list[dict[str, Any]] = []
        worker = threading.Thread(
            target=lambda: answers.append(self.triage(self._message(json.dumps(envelope)), Context()))
        )
        worker.start()
        deadline = time.monotonic() + 90
        while worker.is_alive() and time.monotonic() < deadline:
            self.pump()
            time.sleep(0.1)
        worker.join(60)
        assert answers == [{"batchItemFailures": []}]
        run = self.ledger.runs.get(run_id(event.key, f"t1/ticket/{event.ticket.id}", "triage_ticket"))
        assert run is not None
        return run

    def pump(self) -> int:
        """Let the asked toil type handle what waits in its queue."""
        messages = self.sqs.receive_message(QueueUrl=self.urls["sweep_floor"], MaxNumberOfMessages=10).get(
            "Messages", []
        )
        for message in messages:
            assert self.sweep(self._message(message["Body"]), Context()) == {"batchItemFailures": []}
            self.sqs.delete_message(QueueUrl=self.urls["sweep_floor"], ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def changes(self, *runs: str) -> list[RemediationChanged]:
        """What is published about these runs, in order."""
        return [transition(item) for run in runs for item in self.ledger.runs.log(run)]

    def report(self, *changes: RemediationChanged) -> dict[str, Any]:
        records = [
            self._message(
                json.dumps(
                    {
                        "source": "paydown",
                        "detail-type": RemediationChanged.detail_type_for(change.status),
                        "detail": change.model_dump(mode="json"),
                    }
                )
            )["Records"][0]
            for change in changes
        ]
        return report_outcome.handler({"Records": records}, Context())

    def status(self, issue: str) -> str:
        return str(self.tracker.call("operator", "GET", f"issue/{issue}?@verbose=2")["attributes"]["status"]["name"])

    def comments(self, issue: str) -> list[str]:
        found = self.tracker.call("operator", "GET", f"issue/{issue}")["attributes"]["messages"]
        contents = [self.tracker.call("operator", "GET", f"msg/{one['id']}?@verbose=3") for one in found]
        return [str(one["attributes"]["content"]) for one in contents if "paydown-run:" in one["attributes"]["content"]]

    @staticmethod
    def _message(body: str) -> dict[str, Any]:
        return {"Records": [{"messageId": "m", "body": body}]}


@pytest.fixture
def application(tracker: Tracker, ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", "ledger")
    monkeypatch.setenv("PAYDOWN_QUEUE_PREFIX", "paydown")
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    monkeypatch.setattr(SweepFloor, "broom", True)
    monkeypatch.setattr(SweepFloor, "swept", 0)
    aws.forget()
    with ledger_in_moto() as ledger:
        now = utc_now()
        helpdesk = {
            "uid": "t1",
            "name": "helpdesk",
            "system": "roundup",
            "url": tracker.roundup.url,
            "secret": "paydown/trackers/helpdesk",
        }
        ledger.inventory.publish({"hosts": [HOST], "trackers": [helpdesk]}, "test", now)
        toils = {"triage_ticket": {"mode": "enforce"}, "sweep_floor": {"mode": "enforce"}}
        ledger.policy.publish({"toils": toils, "tickets": {"rules": [RULE]}}, "test", now)
        boto3.client("secretsmanager").create_secret(
            Name="paydown/trackers/helpdesk", SecretString=json.dumps(tracker.roundup.credentials)
        )
        monkeypatch.setattr(report_outcome, "_ledger", [ledger])
        yield Application(tracker, ingress, ledger)
    aws.forget()


def test_a_ticket_is_worked_on_commented_and_resolved(application: Application) -> None:
    issue = application.tracker.create("Crumbs on build-1", "Please do something. <b>Now</b> @all")
    event = application.next_event()
    triage = application.work(event)
    assert triage.status == "Verified"
    asked = triage.evidence["run"]
    assert triage.evidence == {"rule": "crumbs", "toil": "sweep_floor", "target": "host/build-1", "run": asked}
    run = application.ledger.runs.get(asked)
    assert run is not None
    assert (run.status, run.ticket) == ("Verified", event.ticket)

    changes = application.changes(triage.id, asked)
    assert application.status(issue) == "unread"
    assert application.report(*changes) == {"batchItemFailures": []}
    assert application.status(issue) == "resolved"
    (comment,) = application.comments(issue)
    assert "sweep_floor on host/build-1: Verified." in comment
    assert "crumbs: 7" in comment
    assert f"paydown explain {asked}" in comment

    # Once more, all of it, in the wrong order, after a person has reopened the ticket.
    application.tracker.call("operator", "PATCH", f"issue/{issue}", {"status": "in-progress"})
    assert application.report(*reversed(changes)) == {"batchItemFailures": []}
    assert application.status(issue) == "in-progress"
    assert len(application.comments(issue)) == 1


def test_the_same_webhook_five_times_is_one_run(application: Application) -> None:
    application.tracker.create("Crumbs on build-1")
    event = application.next_event()
    assert application.work(event).status == "Verified"
    for _ in range(4):
        assert application.work(event).status == "Verified"
    assert application.pump() == 0
    assert SweepFloor.swept == 1


def test_a_ticket_that_no_rule_matches_is_left_alone_until_a_person_moves_it(application: Application) -> None:
    issue = application.tracker.create("My mouse is broken", "text")
    left = application.work(application.next_event())
    assert (left.status, left.reasons[0].text) == ("Skipped", "no rule matches")
    assert application.report(*application.changes(left.id)) == {"batchItemFailures": []}
    assert application.comments(issue) == []
    assert application.status(issue) == "unread"

    application.tracker.call("operator", "PATCH", f"issue/{issue}", {"title": "crumbs on build-1"})
    application.tracker.call("operator", "PATCH", f"issue/{issue}", {"keyword": ["automation"]})
    event = application.next_event()
    assert event.queue == "automation"
    assert application.work(event).status == "Verified"


@pytest.mark.parametrize(
    ("user", "title", "why"),
    [
        ("admin", "Crumbs on build-1", "no rule matches"),
        ("operator", "Crumbs on build-2", "the inventory has not exactly one host/build-2"),
        ("operator", "Crumbs on ../../etc", "is none"),
    ],
)
def test_who_may_ask_and_for_what(application: Application, user: str, title: str, why: str) -> None:
    application.tracker.create(title, user=user)
    run = application.work(application.next_event())
    assert run.status == "Skipped"
    assert why in run.reasons[0].text
    assert SweepFloor.swept == 0


def test_what_did_not_help_is_told_and_left_open(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SweepFloor, "broom", False)
    issue = application.tracker.create("Crumbs on build-1", "text")
    asked = application.work(application.next_event()).evidence["run"]
    assert application.report(*application.changes(asked)) == {"batchItemFailures": []}
    (comment,) = application.comments(issue)
    assert "Unverified." in comment
    assert "- crumbs are still there (unverified)" in comment
    assert application.status(issue) == "unread"


def test_a_ticket_that_was_deleted_ends_in_the_dead_letter_queue(application: Application) -> None:
    issue = application.tracker.create("Crumbs on build-1")
    asked = application.work(application.next_event()).evidence["run"]
    verified = application.changes(asked)[-1]
    gone = verified.model_copy(update={"ticket": verified.ticket.model_copy(update={"id": str(int(issue) + 5_000)})})
    assert application.report(gone) == {"batchItemFailures": [{"itemIdentifier": "m"}]}


def test_a_tracker_that_is_down_is_told_later(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = application.tracker.create("Crumbs on build-1")
    asked = application.work(application.next_event()).evidence["run"]
    verified = application.changes(asked)[-1]
    application.tracker.service.stop()
    assert application.report(verified) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    application.tracker.service.start()
    assert application.report(verified) == {"batchItemFailures": []}
    assert application.status(issue) == "resolved"


def test_triage_goes_on_after_its_worker_died(application: Application) -> None:
    """The command was lost with the worker that sent it; the run is due, and sends it again."""
    application.tracker.create("Crumbs on build-1")
    event = application.next_event()
    now = utc_now()
    created = application.ledger.runs.create(
        "triage_ticket",
        f"t1/ticket/{event.ticket.id}",
        f"ticket/helpdesk/{event.ticket.id}",
        event,
        now - timedelta(seconds=120),
        now - timedelta(seconds=60),
        timedelta(seconds=60),
    )
    worker = threading.Thread(
        target=lambda: application.triage(application._message(wake_command(created.run.id)), Context())
    )
    worker.start()
    while worker.is_alive():
        application.pump()
        time.sleep(0.1)
    ended = application.ledger.runs.get(created.run.id)
    assert ended is not None
    assert ended.status == "Verified"
    assert SweepFloor.swept == 1
