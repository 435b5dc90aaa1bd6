"""recover_node against a cluster over HTTP: what it does, and what becomes of the pods."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.recover_node.app import RecoverNode
from paydown.clients import aws
from paydown.ledger import Outcome, Status
from tests.real.node_recovery import BUDGET, SCHEDULABLE, UNSCHEDULABLE, Paydown, cluster, nodes_of, paydown
from tests.real.standin_cluster import StandIn, until

__all__ = ["cluster", "paydown"]


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
    assert run.status is Outcome.REFUSED
    assert [(reason.code, reason.text) for reason in run.reasons] == [
        ("overridden", "somebody else (kubectl-cordon) cordoned the node")
    ]


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
    assert (run.status, run.reasons[0].code) == (Outcome.REFUSED, "opted_out")
    assert "paydown.dev/opt-out" in run.reasons[0].text


def test_a_node_that_somebody_else_cordoned_and_emptied_is_left_to_them(cluster: StandIn, paydown: Paydown) -> None:
    cluster.patch_node("worker-1", UNSCHEDULABLE)
    for pod in cluster.pods("web"):
        if pod["spec"]["nodeName"] == "worker-1":
            cluster.request("DELETE", f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}")
    until(lambda: nodes_of(cluster.pods("web")) == {"worker-2"}, "the pods to be moved")
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert()
    assert (run.status, run.reasons[0].code) == (Outcome.SKIPPED, "left_to_others")


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
