"""Each toil type with its sample events: observed and enforced are the same plan, and a crash changes nothing.

The worlds are the fakes of the toil types' own tests, but what is done to them lasts: an evicted pod runs elsewhere, a
removed image is gone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.clean_dangling_images import app as clean_app
from functions.clean_dangling_images.app import CleanDanglingImages
from functions.recover_node.app import RecoverNode
from functions.triage_ticket import app as triage_app
from functions.triage_ticket.app import TriageTicket
from paydown.clients.docker import Fate, Removal
from paydown.clients.kube import Evicted
from paydown.events import EVENTS
from paydown.ledger import Ledger, Outcome, Run
from paydown.ledger.table import plain
from paydown.toil.worker import Worker
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.functions.clean_dangling_images.test_clean_dangling_images_app import FakeHost, image
from tests.unit.functions.recover_node.fake_cluster import ILL, FakeCluster, pod
from tests.unit.functions.triage_ticket.test_triage_ticket import about
from tests.unit.ledgers import Clock

SAMPLES = Path(__file__).parents[3] / "events"
REACH = {"via": "ssm", "instance_id": "i-0123456789abcdef0"}
INVENTORY = {
    "hosts": [{"uid": "h1", "name": "build-1", "builds": ["127.0.0.1:5000/demo/*"], "reach": REACH}],
    "clusters": [{"uid": "c1", "name": "demo", "reader_secret": "r", "operator_secret": "o", "nodes": ["worker-*"]}],
    "trackers": [
        {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"}
    ],
}
ENFORCE = {"mode": "enforce", "ceiling": "disruptive", "blast_radius": {"count": 9, "percent": 100, "min_healthy": 0}}
SETTINGS = {
    "recover_node": {"parallel": 1, "evictions_per_second": 100},
    "clean_dangling_images": {"min_age": 0},
    "triage_ticket": {},
}
RULES = [
    {"name": "disk", "toil": "clean_dangling_images", "target": "host/{target}", "title": r"full on (?P<target>\S+)"},
    {"name": "node", "toil": "recover_node", "target": "node/demo/{target}", "title": r"Node (?P<target>\S+)"},
]


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


class Cluster(FakeCluster):
    """Evicted pods run on worker-2; once all are gone, worker-1 comes back."""

    def __init__(self) -> None:
        super().__init__(all_pods=[pod("web-1"), pod("web-2")], owners={"rs1": 2})
        self.others = [replace(ILL, name="worker-2", uid="n2", ready=True)]

    def evict(self, namespace: str, name: str, uid: str) -> Any:
        answer = super().evict(namespace, name, uid)
        if isinstance(answer, Evicted):
            (gone,) = [one for one in self.all_pods if one.name == name]
            self.all_pods.remove(gone)
            self.all_pods.append(replace(pod(f"{name}-b"), node="worker-2", ready=True))
            if not list(self.pods(node="worker-1")):
                self.change(ready=True)
        return answer


class Images(FakeHost):
    """A removed image is gone, and is told as gone when somebody removes it again."""

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        there = {one.id for one in self.dangling}
        self.asked.append([id for id in ids if id in there])
        self.dangling = [one for one in self.dangling if one.id not in ids]
        return [Removal(id, Fate.REMOVED, freed=7) if id in there else Removal(id, Fate.ABSENT) for id in ids]


@dataclass
class Plant:
    """One world with all three toil types; the worker dies at its `at`-th write, before or after it."""

    monkeypatch: pytest.MonkeyPatch
    toil: Any
    at: int = 0
    after: bool = False
    clock: Clock = field(default_factory=Clock)
    observing: bool = False
    writes: int = 0
    died: bool = False
    working: bool = False
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = MemoryDynamo()
        self.client.reached = self._reached
        self.ledger: Ledger = memory_ledger(self.client)
        policy = {"toils": {name: {**ENFORCE, "settings": settings} for name, settings in SETTINGS.items()}}
        self.ledger.policy.publish({**policy, "tickets": {"rules": RULES}}, "test", self.clock())
        self.ledger.inventory.publish(INVENTORY, "test", self.clock())
        self.cluster, self.host = Cluster(), Images([image(number, 9000) for number in (1, 2, 3)])
        self.host.clock = self.clock()
        self.monkeypatch.setattr(RecoverNode, "_api", lambda *_: self.cluster)
        self.monkeypatch.setattr(clean_app, "open_host", lambda *_, **__: self.host)
        self.monkeypatch.setattr(triage_app, "open_tracker", lambda *_: self)

    def read(self, ticket_id: str, messages: int = 0) -> Any:
        titles = {"1": "Disk full on build-1", "2": "Node worker-1 NotReady"}
        return replace(about(titles[ticket_id]), id=ticket_id)

    def _reached(self, operation: str, phase: str, _: Any) -> None:
        if not self.working or operation not in ("transact", "update"):
            return
        self.writes += phase == "before"
        if self.writes == self.at and (phase == "after") == self.after and not self.died:
            self.died = True
            raise Killed

    def send(self, toil: str, bodies: Sequence[str]) -> None:
        """The other toil type gets the command, and begins its run."""
        self.working = False
        for body in bodies:
            command = json.loads(body)
            target = self.ledger.inventory.current().document.find(command["target"])
            event = EVENTS[command["detail_type"]].from_detail(command["detail"])
            assert target is not None
            now = self.clock()
            self.ledger.runs.create(toil, target.uid, target.ref, event, now, now, timedelta(0))
            self.sent.append(command["target"])
        self.working = True

    def handle(self, message: dict[str, Any]) -> bool:
        worker = Worker(
            toil=self.toil,
            ledger=self.ledger,
            observing=self.observing,
            send=self.send,
            report=_unexpected,
            now=self.clock,
            deadline=self.clock() + timedelta(seconds=58),
            fan_out=False,
        )
        self.working = True
        try:
            worker.handle(message)
        except Killed:
            return False
        finally:
            self.working = False
        return True

    def live(self, message: dict[str, Any]) -> None:
        """The message comes, again if its worker died, and what is due is nudged."""
        if not self.handle(message):
            self.clock.tick(91)
            self.handle(message)
        for _ in range(4):
            self.clock.tick(61)
            for row in list(self.ledger.runs.due(self.clock())):
                if row["toil"] == self.toil.name:
                    self.handle({"paydown": 1, "command": "wake", "run_id": row["id"]})

    def runs(self) -> list[Run]:
        items = [items["RUN"] for pk, items in self.client.items.items() if pk.startswith("RUN#") and "RUN" in items]
        runs = [Run.from_item(plain(item)) for item in items]
        return [run for run in runs if run.toil == self.toil.name]

    def summary(self) -> dict[str, Any]:
        """World and ledger, but for times, and for what only the lost answer told (bytes)."""
        (run,) = self.runs()
        items = {(pk, sk): plain(item) for pk, under in self.client.items.items() for sk, item in under.items()}
        account = [
            {name: value for name, value in month.items() if name != "bytes"}
            for month in self.ledger.account(self.toil.name)
        ]
        return {
            "node": replace(self.cluster.state, version="", annotations={}) if self.cluster.state else None,
            "calls": Counter(self.cluster.calls),
            "pods": sorted((one.name, one.node) for one in self.cluster.all_pods),
            "images": [one.id for one in self.host.dangling],
            "removed": Counter(id for asked in self.host.asked for id in asked),
            "sent": set(self.sent),
            "run": (run.status, [reason.code for reason in run.reasons], run.fingerprint, len(run.executed)),
            "states": Counter(item["state"] for (_, sk), item in items.items() if sk.startswith("STEP#")),
            "account": account,
            "leases": [key for key in items if key[1] == "LEASE"],
            "working": [item["working"] for (_, sk), item in items.items() if sk == "TALLY" and item["working"]],
        }


def _unexpected(run: str, error: Exception) -> None:
    raise error


def again(message: dict[str, Any]) -> dict[str, Any]:
    """A new event of the same content."""
    detail = {**message["detail"], "key": f"{message['detail'].get('key')}-again"}
    if "state" in detail:  # CloudWatch's own: its state's time tells one alarm from the next
        detail["state"] = {**detail["state"], "timestamp": "2026-07-01T09:46:00.000+0000"}
    return {**message, "id": "another", "time": "2026-07-01T10:46:00Z", "detail": detail}


CASES = [
    pytest.param(toil, path, id=f"{toil.name}-{path.stem}")
    for toil in (RecoverNode, CleanDanglingImages, TriageTicket)
    for path in sorted((SAMPLES / toil.name).glob("*.json"))
]


@pytest.mark.parametrize(("toil", "path"), CASES)
def test_what_is_observed_is_what_is_enforced_in_the_same_world(
    monkeypatch: pytest.MonkeyPatch, toil: Any, path: Path
) -> None:
    plant, message = Plant(monkeypatch, toil), json.loads(path.read_text())
    plant.observing = True
    plant.handle(message)
    plant.observing = False
    plant.clock.tick(61)
    plant.live(again(message))
    observed, enforced = sorted(plant.runs(), key=lambda run: run.created)
    assert (observed.status, enforced.status) == (Outcome.OBSERVED, Outcome.VERIFIED)
    assert observed.fingerprint == enforced.fingerprint != ""
    assert enforced.actions > 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("toil", "path"), CASES)
def test_a_crash_at_any_write_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, toil: Any, path: Path, after: bool
) -> None:
    message = json.loads(path.read_text())
    calm = Plant(monkeypatch, toil)
    calm.live(message)
    assert calm.summary()["run"][0] is Outcome.VERIFIED
    assert calm.writes >= 8
    for at in range(1, calm.writes + 1):
        crashed = Plant(monkeypatch, toil, at, after)
        crashed.live(message)
        assert crashed.died, f"write {at}"
        assert crashed.summary() == calm.summary(), f"write {at}"
