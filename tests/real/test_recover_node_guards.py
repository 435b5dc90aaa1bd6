"""recover_node against a cluster over HTTP: when it stands back, for whom it waits, and what it takes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from paydown.ledger import Outcome, Status
from tests.real.node_recovery import BUDGET, SCHEDULABLE, SEED, UNSCHEDULABLE, Paydown, cluster, paydown
from tests.real.standin_cluster import StandIn, until

__all__ = ["cluster", "paydown"]

OPTED_OUT = {"metadata": {"annotations": {"paydown.dev/opt-out": "until the disk is swapped"}}}
POOL = {"karpenter.sh/nodepool": "general"}


def of(run: Any) -> list[tuple[str, str]]:
    return [(reason.code, reason.text) for reason in run.reasons]


def codes(run: Any) -> list[str]:
    return [reason.code for reason in run.reasons]


def leaving(cluster: StandIn) -> list[str]:
    return [pod["metadata"]["name"] for pod in cluster.pods("web") if "deletionTimestamp" in pod["metadata"]]


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [{"budgets": [BUDGET]}], indirect=True)
@pytest.mark.parametrize(
    ("hand", "why"),
    [
        (SCHEDULABLE, "somebody uncordoned the node"),
        (OPTED_OUT, "a person marked the node with paydown.dev/opt-out"),
    ],
    ids=["uncordoned", "opted out"],
)
def test_a_person_who_takes_over_mid_drain_is_not_fought(
    cluster: StandIn, paydown: Paydown, hand: Any, why: str
) -> None:
    """The budget says no until there is room; when there is, a person has changed the node."""
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert(seconds=40)
    assert run.status is Status.WAITING, run.reasons
    cluster.patch_node("worker-1", hand)
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    cluster.request("PATCH", path, {"spec": {"replicas": 6}}, "application/merge-patch+json")
    until(lambda: len(cluster.ready_pods("web")) >= 4, "two more web servers")
    run = paydown.finish(run)
    assert (run.status, of(run)) == (Outcome.REFUSED, [("overridden", why)])
    before = cluster.node("worker-1")["spec"].get("unschedulable")
    assert leaving(cluster) == []
    again = paydown.alert()
    assert again.ended
    assert again.status in (Outcome.REFUSED, Outcome.SKIPPED), "the target is left alone from now on"
    assert leaving(cluster) == []
    assert cluster.node("worker-1")["spec"].get("unschedulable") == before


def test_a_drain_that_was_undone_is_not_done_again_by_the_next_run(cluster: StandIn, paydown: Paydown) -> None:
    """Not even by a ledger that knows nothing of the first: `kubectl uncordon` leaves our signature on the node."""
    cluster.kubelet("worker-1", running=False)
    paydown.finish(paydown.alert())
    cluster.patch_node("worker-1", SCHEDULABLE)
    run = paydown.alert()
    [(code, text)] = of(run)
    assert (run.status, code) == (Outcome.REFUSED, "overridden")
    assert text.startswith("somebody uncordoned the node, which run ")
    assert "unschedulable" not in cluster.node("worker-1")["spec"]


def test_a_stopped_machine_is_left_alone(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    taint = {"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"}
    cluster.patch_node("worker-1", {"spec": {"taints": [*cluster.node("worker-1")["spec"]["taints"], taint]}})
    run = paydown.alert()
    assert (run.status, codes(run)) == (Outcome.REFUSED, ["overridden"])
    assert "unschedulable" not in cluster.node("worker-1")["spec"]


@pytest.mark.parametrize(
    "cluster",
    [{"nodes": [{"name": "worker-1", "labels": POOL}, {"name": "worker-2", "labels": POOL}]}],
    indirect=True,
)
def test_karpenter_is_given_its_time_first(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert()
    assert (run.status, codes(run)) == (Status.DEFERRED, ["other_healer"])
    [ready] = [one for one in cluster.node("worker-1")["status"]["conditions"] if one["type"] == "Ready"]
    assert run.due is not None
    assert run.due.strftime("%Y-%m-%dT%H:%M:%SZ") > ready["lastTransitionTime"]
    assert run.due - paydown.now() > timedelta(minutes=31)
    assert "unschedulable" not in cluster.node("worker-1")["spec"]
    paydown.ahead = timedelta(seconds=1_800 + 120)
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True


def test_a_healer_that_has_begun_is_not_disturbed(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    taint = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
    cluster.patch_node("worker-1", {"spec": {"taints": [*cluster.node("worker-1")["spec"]["taints"], taint]}})
    run = paydown.alert()
    assert run.status is Status.DEFERRED
    assert "Karpenter is at work on the node (taint karpenter.sh/disrupted)" in of(run)[0][1]
    assert "unschedulable" not in cluster.node("worker-1")["spec"]
    cluster.request("DELETE", "/api/v1/nodes/worker-1")
    paydown.ahead = timedelta(seconds=61)
    run = paydown.finish(run)
    assert (run.status, of(run)[0][1]) == (Outcome.SKIPPED, "the node is gone")


FOUR = {"nodes": [SEED["nodes"][0], *({"name": f"worker-{number}"} for number in range(1, 5))]}


@pytest.mark.parametrize("cluster", [FOUR], indirect=True)
def test_others_that_are_down_count_whoever_took_them_down(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    cluster.kubelet("control-plane-1", running=False)  # another pool
    cluster.patch_node("worker-3", UNSCHEDULABLE)
    run = paydown.alert()
    assert (run.status, codes(run)) == (Status.DEFERRED, ["blast_radius"])
    assert "1 of the 4 members of demo/workers" in of(run)[0][1]
    cluster.patch_node("worker-3", SCHEDULABLE)
    paydown.ahead = timedelta(seconds=61)
    run = paydown.finish(run)
    assert run.status is Outcome.VERIFIED, run.reasons


@pytest.mark.parametrize("cluster", [FOUR], indirect=True)
def test_when_all_of_them_look_dead_none_is_drained(cluster: StandIn, paydown: Paydown) -> None:
    names = [f"worker-{number}" for number in range(1, 5)]
    for name in names:
        cluster.kubelet(name, running=False)
    runs = [paydown.alert(name) for name in names]
    assert [(run.status, codes(run)) for run in runs] == [(Status.DEFERRED, ["blast_radius"])] * 4
    for name in names:
        cluster.kubelet(name, running=True)
    paydown.ahead = timedelta(seconds=61)
    assert {paydown.finish(run).status for run in runs} == {Outcome.SKIPPED}
    assert not [name for name in names if "unschedulable" in cluster.node(name)["spec"]]


def test_a_cordon_is_taken_back_once_the_node_is_ready(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    early = paydown.undo(run)
    assert early.status is Outcome.UNVERIFIED
    assert "still NotReady: left cordoned" in of(early)[0][1]
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True
    cluster.kubelet("worker-1", running=True)
    undone = paydown.undo(run)
    assert undone.status is Outcome.VERIFIED, undone.reasons
    node = cluster.node("worker-1")
    assert "unschedulable" not in node["spec"]
    assert not [name for name in node["metadata"].get("annotations", {}) if name.startswith("paydown.dev/")]
    assert undone.id != run.id, "it was signed by the run that is undone, not by the one that undoes"


def test_a_persons_cordon_is_not_taken_back(cluster: StandIn, paydown: Paydown) -> None:
    cluster.kubelet("worker-1", running=False)
    run = paydown.finish(paydown.alert())
    cluster.kubelet("worker-1", running=True)
    cluster.patch_node("worker-1", SCHEDULABLE)
    cluster.patch_node("worker-1", UNSCHEDULABLE)
    undone = paydown.undo(run)
    assert undone.status is Outcome.UNVERIFIED
    assert f"the cordon is not that of recover_node/{run.id} any more" in of(undone)[0][1]
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True
