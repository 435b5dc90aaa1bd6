"""What the tests of recover_node share: a cluster over HTTP, and the real runner, ledger and secrets (in moto)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.recover_node.app import RecoverNode
from paydown.clients import aws
from paydown.events import NodeNotReady
from paydown.ledger import Ledger, Run, Status
from paydown.toil.worker import Worker
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster
from tests.unit.ledgers import ledger_in_moto

SEED = {
    "cluster": "demo",
    "nodes": [{"name": "control-plane-1", "control_plane": True}, {"name": "worker-1"}, {"name": "worker-2"}],
    "deployments": [{"name": "web", "replicas": 4, "grace": 1}],
    "daemonsets": [{"name": "agent", "tolerations": [{"operator": "Exists"}]}],
}
BUDGET = {"name": "web", "app": "web", "min_available": 3}
UNSCHEDULABLE = {"spec": {"unschedulable": True}}
SCHEDULABLE = {"spec": {"unschedulable": None}}


@dataclass
class Paydown:
    """The toil type's function, in this process: events go in, runs come out."""

    ledger: Ledger
    cluster: StandIn
    observing: bool = False
    number: int = 0
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def publish(self, *, mode: str = "enforce", ceiling: str = "disruptive", wait: int = 30, **settings: Any) -> None:
        toil = {
            "mode": mode,
            "ceiling": ceiling,
            "wait_seconds": wait,
            "cool_down_seconds": 0,
            "settings": {"settle_seconds": 0, "wait_ready_seconds": 0, "evictions_per_second": 50, **settings},
        }
        demo = {"uid": "demo", "name": "demo", "reader_secret": "demo-reader", "operator_secret": "demo-operator"}
        self.ledger.policy.publish({"toils": {"recover_node": toil}}, "test", self.now())
        self.ledger.inventory.publish({"clusters": [demo | {"nodes": ["worker-*"]}]}, "test", self.now())

    def handle(self, message: dict[str, Any], seconds: float = 58) -> list[Run]:
        worker = Worker(
            toil=RecoverNode,
            ledger=self.ledger,
            observing=self.observing,
            send=lambda toil, bodies: pytest.fail(f"nothing else is to be done, but {toil} got {bodies}"),
            report=lambda run_id, error: pytest.fail(f"{run_id}: {error!r}"),
            now=self.now,
            deadline=self.now() + timedelta(seconds=seconds),
        )
        return worker.handle(message)

    def alert(self, node: str = "worker-1", seconds: float = 58) -> Run:
        self.number += 1
        event = NodeNotReady(key=f"alert-{self.number}", at=self.now(), cluster="demo", node=node)
        envelope = {"source": "paydown", "detail-type": "NodeNotReady", "detail": event.model_dump(mode="json")}
        [run] = self.handle(envelope, seconds)
        while run.status is Status.APPLYING and run.due and run.due <= self.now():  # its worker had no time left
            run = self.wake(run, seconds)
        return run

    def finish(self, run: Run, seconds: float = 60) -> Run:
        """Wake the run whenever it is due, as `functions/wake` does, until it ended."""
        deadline = time.monotonic() + seconds
        while not run.ended:
            assert time.monotonic() < deadline, (run.status, run.reasons)
            pause = ((run.due or self.now()) - self.now()).total_seconds()
            time.sleep(min(max(pause, 0.05), 10))
            run = self.wake(run)
        return run

    def wake(self, run: Run, seconds: float = 58) -> Run:
        """The run after it was woken once."""
        self.handle({"paydown": 1, "command": "wake", "run_id": run.id}, seconds)
        found = self.ledger.runs.get(run.id)
        assert found is not None
        return found

    def undo(self, run: Run) -> Run:
        """The run that takes back what another left, when it has ended."""
        return self.finish(self.ledger.runs.undo(run, "ada", "the disk was swapped", self.now()))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    with standin_cluster(tmp_path, {**SEED, **getattr(request, "param", {})}) as running:
        yield running


@pytest.fixture
def paydown(cluster: StandIn) -> Iterator[Paydown]:
    with ledger_in_moto() as ledger:
        aws.forget()
        for identity in ("reader", "operator"):
            secret = json.dumps({"server": cluster.url, "token": TOKEN})
            aws.client("secretsmanager").create_secret(Name=f"demo-{identity}", SecretString=secret)
        made = Paydown(ledger, cluster)
        made.publish()
        yield made
        aws.forget()


def nodes_of(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in pods}
