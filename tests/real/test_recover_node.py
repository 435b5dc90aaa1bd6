"""recover_node against a cluster over HTTP, with the real runner, ledger and secrets (in moto)."""

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
from paydown.ledger import Ledger, Outcome, Run, Status
from paydown.toil.worker import Worker
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster, until
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
        return run

    def finish(self, run: Run, seconds: float = 60) -> Run:
        """Wake the run whenever it is due, as `functions/wake` does, until it ended."""
        deadline = time.monotonic() + seconds
        while not run.ended:
            assert time.monotonic() < deadline, (run.status, run.reasons)
            pause = ((run.due or self.now()) - self.now()).total_seconds()
            time.sleep(min(max(pause, 0.05), 10))
            self.handle({"paydown": 1, "command": "wake", "run_id": run.id})
            found = self.ledger.runs.get(run.id)
            assert found is not None
            run = found
        return run


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
    return {pod["spec"]["nodeName"] for pod in pods}


def test_a_dead_node_is_drained_and_left_cordoned(cluster: StandIn, paydown: Paydown) -> None:
    lost = [pod for pod in cluster.pods("web") if pod["spec"]["nodeName"] == "worker-1"]
    assert len(lost) == 2
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    assert run.status is Outcome.VERIFIED, run.reasons
    assert nodes_of(cluster.ready_pods("web")) == {"worker-2"}
    assert len(cluster.ready_pods("web")) == 4
    assert (run.evidence["evicted"], run.evidence["replaced"]) == (2, 2)
    assert run.evidence["node"] == "NotReady, left cordoned: the machine needs replacement"
    node = cluster.node("worker-1")
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"]["paydown.dev/cordoned-by"] == f"recover_node/{run.id}"
    agents = [pod for pod in cluster.pods("agent") if pod["spec"]["nodeName"] == "worker-1"]
    assert len(agents) == 1
    assert "deletionTimestamp" not in agents[0]["metadata"]


@pytest.mark.slow
def test_a_node_that_comes_back_is_opened_again(cluster: StandIn, paydown: Paydown) -> None:
    paydown.publish(wait_ready_seconds=600)
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert(seconds=40)
    assert run.status is Status.WAITING, run.reasons
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True
    cluster.kubelet("worker-1", running=True)
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    node = cluster.node("worker-1")
    assert "unschedulable" not in node["spec"]
    assert not [name for name in node["metadata"].get("annotations", {}) if name.startswith("paydown.dev/")]
    assert run.evidence["node"] == "Ready"


def test_a_kubelet_that_restarted_needs_nothing(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    cluster.kubelet("worker-1", running=True)
    run = paydown.alert()
    assert (run.status, [reason.text for reason in run.reasons]) == (Outcome.SKIPPED, ["the node is Ready again"])
    assert len(cluster.ready_pods("web")) == 4


def test_observing_reads_with_the_readers_secret_and_changes_nothing(cluster: StandIn, paydown: Paydown) -> None:
    aws.client("secretsmanager").delete_secret(SecretId="demo-operator", ForceDeleteWithoutRecovery=True)
    paydown.observing = True
    cluster.kubelet("worker-1", running=False)
    before = cluster.node("worker-1")["spec"]
    run = paydown.alert()
    assert (run.status, run.actions) == (Outcome.OBSERVED, 4)
    assert cluster.node("worker-1")["spec"] == before


@pytest.mark.parametrize("cluster", [{"budgets": [BUDGET | {"unhealthy": "AlwaysAllow"}]}], indirect=True)
def test_pods_that_serve_nobody_may_go_if_their_budget_says_so(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    assert run.status is Outcome.VERIFIED, run.reasons


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [{"budgets": [BUDGET]}], indirect=True)
def test_evictions_wait_for_their_budget(cluster: StandIn, paydown: Paydown) -> None:
    """Two of four are down and three must be up: nobody may go until somebody makes room."""
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert(seconds=40)
    assert run.status is Status.WAITING, run.reasons
    assert "disruption budget web needs 3" in run.reasons[0].text
    assert not [pod for pod in cluster.pods("web") if "deletionTimestamp" in pod["metadata"]]
    scale = {"spec": {"replicas": 6}}
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    cluster.request("PATCH", path, scale, "application/merge-patch+json")
    until(lambda: len(cluster.ready_pods("web")) == 4, "two more web servers")
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    assert run.evidence["evicted"] == 2
    assert nodes_of(cluster.ready_pods("web")) == {"worker-2"}


@pytest.mark.parametrize("cluster", [{"budgets": [BUDGET, BUDGET | {"name": "web-too"}]}], indirect=True)
def test_two_budgets_over_one_pod_are_hopeless_and_said(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    assert run.status is Outcome.UNVERIFIED
    assert "more than one PodDisruptionBudget" in run.reasons[0].text


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [{"statefulsets": [{"name": "db", "replicas": 2, "grace": 1}]}], indirect=True)
def test_a_statefulset_needs_proof_that_the_machine_is_off(cluster: StandIn, paydown: Paydown) -> None:
    until(lambda: len(cluster.ready_pods("db")) == 2, "the database")
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    assert run.status is Outcome.UNVERIFIED, run.reasons
    assert "out-of-service" in run.reasons[0].text
    assert len(cluster.ready_pods("web")) == 4


@pytest.mark.parametrize("cluster", [{"pods": [{"name": "bare", "node": "worker-1"}]}], indirect=True)
def test_what_nothing_starts_again_waits_for_a_person(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert()
    assert run.status is Status.HELD
    assert "destructive" in [reason.code for reason in run.reasons]
    assert "unschedulable" not in cluster.node("worker-1")["spec"]
    paydown.publish(force=True)
    run = paydown.alert()
    assert paydown.finish(run).status is not Outcome.FAILED


def test_somebody_elses_cordon_stays(cluster: StandIn, paydown: Paydown) -> None:
    cluster.patch_node("worker-1", UNSCHEDULABLE)
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert(seconds=40)
    cluster.kubelet("worker-1", running=True)
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True


@pytest.mark.slow
def test_a_person_who_cordons_anew_is_obeyed(cluster: StandIn, paydown: Paydown) -> None:
    paydown.publish(wait_ready_seconds=600)
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert(seconds=40)
    cluster.patch_node("worker-1", SCHEDULABLE)
    cluster.patch_node("worker-1", UNSCHEDULABLE)
    cluster.kubelet("worker-1", running=True)
    run = paydown.finish(run)
    node = cluster.node("worker-1")
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"]["paydown.dev/cordoned-by"], "the signature alone does not make it ours"
    assert run.status is Outcome.VERIFIED
    assert run.evidence["node"] == "Ready, cordoned"


def test_the_next_run_takes_over_what_the_last_one_left(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    first = paydown.finish(paydown.alert())
    assert first.evidence["node"].startswith("NotReady, left cordoned")
    cluster.kubelet("worker-1", running=True)
    second = paydown.finish(paydown.alert())
    assert second.status is Outcome.VERIFIED, second.reasons
    assert "unschedulable" not in cluster.node("worker-1")["spec"]


def test_a_marked_node_is_left_alone(cluster: StandIn, paydown: Paydown) -> None:
    cluster.patch_node("worker-1", {"metadata": {"labels": {"paydown.dev/opt-out": "true"}}})
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert()
    assert run.status is Outcome.SKIPPED
    assert "paydown.dev/opt-out" in run.reasons[0].text


@pytest.mark.slow
def test_a_worker_that_dies_in_the_middle_is_continued(
    cluster: StandIn, paydown: Paydown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last eviction reached the server, and its journal does not know."""
    cluster.kubelet("worker-1", running=False)
    apply = RecoverNode.apply
    evictions = []

    class Killed(BaseException):
        """As if by signal 9."""

    def dying(self: RecoverNode, action: Any, target: Any) -> Any:
        result = apply(self, action, target)
        if action.verb() == "evict_pod":
            evictions.append(action.object)
            if len(evictions) == 1:
                raise Killed
        return result

    paydown.publish(parallel=1)
    monkeypatch.setattr(RecoverNode, "apply", dying)
    with pytest.raises(Killed):
        paydown.alert()
    [alive] = paydown.ledger.runs.alive()
    run = paydown.ledger.runs.get(alive["id"])
    assert run is not None
    paydown.ahead = timedelta(seconds=60)  # when the dead worker's time is over
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    assert run.evidence["evicted"] == 2
    assert len(cluster.ready_pods("web")) == 4
