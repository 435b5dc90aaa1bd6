"""Pods come and go between the hold and the approval of a drain: the approval lands on what is still as approved."""

from __future__ import annotations

from typing import Any

import pytest

from paydown.approving import Caller, Command
from paydown.ledger import Outcome, Run, Status
from paydown.ledger.held import shown_plan
from tests.real.node_recovery import Paydown, cluster, paydown
from tests.real.standin_cluster import StandIn, until

__all__ = ["cluster", "paydown"]

ANN = Caller(arn="arn:aws:iam::111122223333:user/ann")


def publish(paydown: Paydown) -> None:
    """Each drain waits for Ann."""
    paydown.publish(mode="approve")
    document = paydown.ledger.policy.text(paydown.ledger.policy.current().number)
    document |= {"people": [{"name": "ann", "iam": [ANN.arn]}], "approvers": ["ann"]}
    paydown.ledger.policy.publish(document, "test", paydown.now())


def approve(paydown: Paydown, run: Run) -> Run:
    policy = paydown.ledger.policy.current().document
    paydown.ledger.approvals.decide_as(ANN, run, Command(True, run.fingerprint), policy, paydown.now())
    return paydown.wake(run)


def settled(paydown: Paydown, run: Run) -> Run:
    """The run when it is held again, or has ended."""
    found = run

    def look() -> bool:
        nonlocal found
        found = paydown.wake(run)
        return found.ended or found.status is Status.HELD

    until(look, "the run to be held again or to end", 60)
    return found


def on(cluster: StandIn, node: str) -> dict[str, Any]:
    found = [pod for pod in cluster.pods("web") if pod["spec"].get("nodeName") == node]
    return {pod["metadata"]["name"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


def arrive(cluster: StandIn, node: str) -> str:
    """A pod comes to `node`; its name. It has a ReplicaSet of its own, as that of the others would take it for one too
    many; once it is there the ReplicaSet no longer names the node, so that what replaces it starts elsewhere."""
    path = "/apis/apps/v1/namespaces/default/replicasets"
    labels = {"app": "web", "part": "newcomer"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"part": "newcomer"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "newcomer"}, "spec": spec}
    cluster.request("POST", path, body)
    found = until(lambda: [name for name in on(cluster, node) if name.startswith("newcomer-")], "the newcomer")
    anywhere = {"spec": {"template": {"spec": {"nodeName": None}}}}
    cluster.request("PATCH", f"{path}/newcomer", anywhere, "application/merge-patch+json")
    return found[0]


@pytest.mark.slow
def test_the_approval_of_a_drain_lands_though_pods_come_and_go(cluster: StandIn, paydown: Paydown) -> None:
    publish(paydown)
    before = on(cluster, "worker-1")
    assert len(before) == 2
    cluster.kubelet("worker-1", running=False)
    run = paydown.alert()
    assert run.status is Status.HELD, run.reasons
    planned = {action["object"] for action in shown_plan(paydown.ledger, run).actions if action["verb"] == "evict_pod"}
    assert len(planned) == 2

    gone, stays = sorted(before)
    cluster.request("DELETE", f"/api/v1/namespaces/default/pods/{gone}?gracePeriodSeconds=0")
    newcomer = arrive(cluster, "worker-1")
    until(lambda: gone not in on(cluster, "worker-1"), "the pod to be gone")

    rest = settled(paydown, approve(paydown, run))
    assert rest.status is Status.HELD, rest.reasons
    assert "changed" in [reason.code for reason in rest.reasons]
    assert stays not in on(cluster, "worker-1")  # what was approved and still applied
    assert newcomer in on(cluster, "worker-1")  # what nobody has approved
    assert cluster.node("worker-1")["spec"]["unschedulable"] is True
    shown = shown_plan(paydown.ledger, rest)
    new = [(action["verb"], action["object"]) for action in shown.actions if shown.is_new(action)]
    assert [one for one in new if one[0] == "evict_pod"] == [("evict_pod", f"pod/default/{newcomer}")], new

    done = settled(paydown, approve(paydown, rest))
    assert done.status is Outcome.VERIFIED, done.reasons
    assert on(cluster, "worker-1") == {}
