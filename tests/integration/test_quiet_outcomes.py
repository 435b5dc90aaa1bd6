"""The bar: a thousand events with the same finding are one comment, against a ticket system and a chat on real HTTP."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from functions.decide import comments
from functions.report_outcome import app
from local.emulator import PROGRAM, Emulator
from paydown.clients import aws
from paydown.events import NodeNotReady, RemediationChanged
from paydown.inventory import Tracker
from paydown.ledger import Ledger, Reason, Status
from paydown.ledger.digests import Digests
from paydown.ledger.findings import Findings, Identity
from paydown.ledger.outbox import transition
from paydown.plan import Action, Hazard, Plan
from paydown.tickets import open_tracker
from tests.fixtures.decide import Desk
from tests.integration.github_server import Github
from tests.integration.http_server import HttpServer, answered
from tests.servers import need
from tests.unit.ledgers import make_table

EVENTS = 1_000
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
TRACKER = "acme/shop"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(tmp_path_factory.mktemp("quiet")) as emulator:
        yield make_table(emulator.client("dynamodb"))


class Cordon(Action):
    """Keep new pods off a node."""


class Chat(HttpServer):
    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__(self._take)

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.said.append(json.loads(body)["text"])
        answered(handler, 200, b"ok")


@pytest.fixture
def github() -> Iterator[Github]:
    server = Github()
    server.open(7, "Node worker-1 is away")
    yield server
    server.close()


@pytest.fixture
def chat(ledger: Ledger, github: Github, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    server = Chat()
    secrets = {"chat": {"url": f"{server.url}/hook"}, "shop": {"token": "hush"}}
    tracker = {"uid": "g", "name": TRACKER, "system": "github", "url": github.url, "secret": "shop"}
    ledger.inventory.publish({"trackers": [tracker]}, "test", NOW)
    ledger.policy.publish({"notifications": {"tracker": TRACKER, "webhooks": ["chat"]}}, "test", NOW)
    monkeypatch.setattr(aws, "secret", secrets.__getitem__)
    monkeypatch.setattr(app, "_ledger", [ledger])
    monkeypatch.setattr(app, "_now", lambda: NOW)
    monkeypatch.setenv("PAYDOWN_MODE", "Enforce")
    yield server
    server.close()


def messages(target: str, **more: Any) -> list[dict[str, Any]]:
    """Events of as many runs, each of them twice, in any order."""
    made = []
    for number in range(EVENTS):
        run = f"{number:031x}{target[-1]}"
        change = RemediationChanged(
            key=f"{run}:LOG#000003", at=NOW + timedelta(seconds=number), run_id=run, toil="recover_node", target=target,
            status="Failed", reasons=(("permanent", f"run {number} failed"),), cause=f"alert-{number}",
            rule="NodeNotReady", sequence=3, **more,
        )  # fmt: skip
        body = json.dumps({"detail": change.model_dump(mode="json")})
        made += [{"messageId": f"{number}-{repeat}", "body": body} for repeat in range(2)]
    random.Random(7).shuffle(made)
    return made


def deliver(records: list[dict[str, Any]], workers: int = 4) -> int:
    """Deliver as a queue does, until nothing comes back. Returns how many deliveries it took."""
    deliveries = 0
    while records:
        deliveries += len(records)
        with ThreadPoolExecutor(workers) as pool:
            answers = list(pool.map(lambda one: app.handler({"Records": [one]}), records))
        failed = {item["itemIdentifier"] for answer in answers for item in answer["batchItemFailures"]}
        records = [one for one in records if one["messageId"] in failed]
        assert deliveries < 20 * EVENTS
    return deliveries


def test_a_thousand_events_are_one_comment_and_one_message(ledger: Ledger, github: Github, chat: Chat) -> None:
    deliver(messages("node/demo/worker-1", ticket={"tracker": TRACKER, "id": "7"}))
    (comment,) = github.comments[7]
    seen = re.search(r"Seen (\d+) times", comment["body"])
    assert seen is not None
    assert EVENTS // 2 <= int(seen[1]) <= EVENTS
    assert len(github.writes()) <= 10, github.writes()
    assert len(chat.said) == 1
    finding = Findings(ledger.table).get(Identity("recover_node", "node/demo/worker-1", "NodeNotReady"))
    assert finding is not None
    assert (finding.count, finding.episode, finding.since) == (EVENTS, 1, NOW)
    assert finding.text.count(f"run {EVENTS - 1} failed") == 1, "the latest one is shown, whatever came last"
    assert Digests(ledger.table).of(NOW)["recover_node"] == {"Failed": EVENTS}
    assert app.hourly()["late"] == 1
    (comment,) = github.comments[7]
    assert f"Seen {EVENTS} times since 2026-11-22 03:00Z" in comment["body"]


def test_a_thousand_escalations_are_one_ticket(ledger: Ledger, github: Github, chat: Chat) -> None:
    records = messages("node/demo/worker-2")
    for record in records:
        record["body"] = record["body"].replace('"permanent"', '"escalated"')
    deliver(records)
    assert sorted(github.issues) == [7, 8]
    assert github.issues[8]["title"] == "Paydown: recover_node on node/demo/worker-2: escalated"
    assert len(github.comments[8]) == 1
    assert len(github.writes()) <= 11, github.writes()
    assert len(chat.said) == 1


def test_what_a_github_ticket_shows_of_a_held_plan_approves_it(
    ledger: Ledger, github: Github, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comment is copied from the ticket that was made, and read again from GitHub."""
    people = {"people": [{"name": "bob", "accounts": {TRACKER: "bobcat"}}], "approvers": ["bob"]}
    ledger.policy.publish({**people, "notifications": {"tracker": TRACKER, "webhooks": ["chat"]}}, "test", NOW)
    event = NodeNotReady(key="alert-held", at=NOW, cluster="demo", node="worker-3")
    later, cool = NOW + timedelta(seconds=50), timedelta(seconds=60)
    run = ledger.runs.create("recover_node", "n3", "node/demo/worker-3", event, NOW, later, cool).run
    plan = Plan(((Cordon(object="node/demo/worker-3", precondition="schedulable", hazard=Hazard.REVERSIBLE),),))
    ledger.journal.write_plan(run, 1, plan, NOW)
    planned = {"plan_number": 1, "fingerprint": plan.fingerprint, "actions": 1, "hazard": "reversible"}
    reasons = [Reason("needs_approval", "a person decides")]
    run = ledger.runs.move(run, Status.HELD, NOW, NOW + timedelta(days=1), reasons, since=NOW, **planned)
    changes = [transition(item) for item in ledger.runs.log(run.id)]
    bodies = [json.dumps({"detail": change.model_dump(mode="json")}) for change in changes]
    deliver([{"messageId": str(number), "body": body} for number, body in enumerate(bodies)])
    (number,) = set(github.issues) - {7}
    (command,) = re.findall(r"^To approve, comment: (/approve .*)$", github.issues[number]["body"], re.MULTILINE)

    desk = Desk(ledger, lambda: NOW).install(monkeypatch)
    shop = Tracker(uid="g", name=TRACKER, system="github", url=github.url, secret="shop")
    monkeypatch.setattr(comments, "open_tracker", lambda *_: open_tracker(shop, lambda name: {"token": "hush"}))
    ours = github.add(number, github.issues[number]["body"], github.login)
    for comment in (ours, github.add(number, command, "bobcat")):
        assert desk.message(str(comment["id"]), str(number), TRACKER) == {"batchItemFailures": []}
    decision = ledger.approvals.latest(run)
    assert decision is not None
    assert (decision.approved, decision.fingerprint, decision.proof) == (
        True, plan.fingerprint, f"ticket:{TRACKER}/bobcat",
    )  # fmt: skip
