"""Verified means that the pods run elsewhere; not that nothing was heard since."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from paydown.clients.kube import Owner, Pod, Refused
from paydown.plan import NotYet, Unverified, Verified
from tests.unit.functions.recover_node.fake_cluster import (
    AGENT,
    DB,
    START,
    WEB,
    FakeCluster,
    Remediation,
    pod,
    remediation,
)


def elsewhere(name: str, owner: Owner = WEB, **more: Any) -> Pod:
    return pod(name, owner, **{"node": "worker-2", "ready": True} | more)


def drained(monkeypatch: pytest.MonkeyPatch, *pods: Pod, **more: Any) -> Remediation:
    """A run that evicted what it could from a node that stays dead."""
    cluster = FakeCluster(all_pods=list(pods), owners={"rs1": 2, "ss1": 1}, **more)
    run = remediation(monkeypatch, cluster, wait_ready_seconds=0)
    run.apply()
    run.wait(5)
    return run


def test_not_before_the_successors_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"), pod("web-2"))
    assert run.verify() == NotYet(run.time + timedelta(seconds=1.25), "default/web-5d has 0 of 2 pods Ready elsewhere")
    run.cluster.all_pods += [elsewhere("web-3"), elsewhere("web-4", ready=False)]
    assert isinstance(run.verify(), NotYet)
    run.cluster.all_pods += [elsewhere("web-5")]
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert seen.saved == {"pods": 2}
    assert seen.evidence == {
        "evicted": 2,
        "replaced": 2,
        "uncontrolled": 0,
        "terminating": 2,
        "node": "NotReady, left cordoned: the machine needs replacement",
        "seconds": 5.0,
    }


@pytest.mark.parametrize(
    "useless",
    [
        pod("web-9", ready=True),
        elsewhere("web-9", deadline=START),
        elsewhere("web-9", phase="Failed"),
        elsewhere("web-9", replace(WEB, uid="another ReplicaSet")),
        elsewhere("web-9", namespace="other"),
    ],
    ids=["on the dead node", "being deleted", "failed", "of another owner", "in another namespace"],
)
def test_what_does_not_count_as_a_successor(monkeypatch: pytest.MonkeyPatch, useless: Pod) -> None:
    run = drained(monkeypatch, pod("web-1"), elsewhere("web-0"))
    run.cluster.all_pods.append(useless)
    assert isinstance(run.verify(), NotYet)


def test_no_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"), elsewhere("web-0"))
    run.cluster.all_pods.append(pod("web-2", node=None, phase="Pending", unplaced="0/2 nodes are available"))
    seen = run.verify()
    assert isinstance(seen, NotYet)
    assert seen.why == "default/web-5d has 1 of 2 pods Ready elsewhere (0/2 nodes are available)"


def test_a_workload_that_was_scaled_down_or_removed_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"))
    run.cluster.owners["rs1"] = 0
    assert isinstance(run.verify(), Verified)


def test_an_unknown_kind_of_controller_must_have_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = Owner("CloneSet", "shop", "cs1")
    run = drained(monkeypatch, pod("shop-1", rollout), pod("shop-2", rollout))
    run.cluster.all_pods.append(elsewhere("shop-3", rollout))
    assert isinstance(run.verify(), NotYet)
    run.cluster.all_pods.append(elsewhere("shop-4", rollout))
    assert isinstance(run.verify(), Verified)


def test_a_statefulset_on_a_dead_node_cannot_move(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("db-0", DB), pod("web-1"), elsewhere("web-0"))
    assert isinstance(run.verify(), NotYet), "its grace is not over yet"
    run.wait(60)
    assert isinstance(run.verify(), NotYet), "the web server is waited for all the same"
    run.cluster.all_pods.append(elsewhere("web-2"))
    seen = run.verify()
    assert isinstance(seen, Unverified)
    assert seen.why.startswith("default/db-0: deleted, but a StatefulSet starts no successor")
    assert "out-of-service" in seen.why
    assert (seen.evidence["evicted"], seen.evidence["replaced"]) == (2, 1)


def test_pods_that_the_cluster_deleted_itself_are_followed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1", deadline=START - timedelta(minutes=9)))
    assert [step.action.verb() for step in run.steps] == ["cordon", "uncordon"]
    assert isinstance(run.verify(), NotYet)
    run.cluster.all_pods += [elsewhere("web-2"), elsewhere("web-3")]
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert (seen.evidence["evicted"], seen.evidence["replaced"]) == (0, 1)


def test_a_pod_that_no_eviction_could_move_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(
        monkeypatch,
        pod("web-1"),
        pod("web-2"),
        elsewhere("a"),
        elsewhere("b"),
        refused={"web-2": Refused("two budgets")},
    )
    seen = run.verify()
    assert isinstance(seen, Unverified)
    assert seen.why == "still on the node: default/web-2 (two budgets)"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"deleting": True}, "the node is being deleted; its pods are still there"),
        (
            {"taints": ("karpenter.sh/disrupted",)},
            "Karpenter is at work on the node (taint karpenter.sh/disrupted); its pods are still there",
        ),
    ],
    ids=["deleted", "Karpenter"],
)
def test_a_healer_that_takes_the_node_away_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    """Its pods stay until the healer has ended: that is no failure of ours, which would count against the target."""
    run = drained(monkeypatch, pod("web-1"), elsewhere("a"), elsewhere("b"), refused={"web-1": Refused("any")})
    run.cluster.change(**change)
    assert run.verify() == NotYet(run.time + timedelta(seconds=1.25), why)


def test_a_node_that_came_back_may_keep_its_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"), pod("web-2"), refused={"web-2": Refused("any")})
    run.cluster.change(ready=True)
    run.cluster.all_pods = [pod("web-2", ready=True), pod("web-3", ready=True)]
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert seen.evidence["node"] == "Ready, cordoned"


def test_a_node_that_is_deleted_meanwhile_takes_its_pods_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"), elsewhere("a"), elsewhere("b"), refused={"web-1": Refused("any")})
    run.cluster.state = None
    assert run.verify() == NotYet(run.time + timedelta(seconds=1.25), "the node is gone; its pods are still there")
    run.cluster.all_pods.pop(0)
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert seen.evidence["node"] == "gone"


def test_pods_without_a_controller_and_of_daemonsets_have_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("bare", None), pod("agent", AGENT, phase="Failed"))
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert (seen.evidence["uncontrolled"], seen.evidence["evicted"], seen.saved) == (1, 2, {"pods": 0})


def test_a_run_that_planned_twice_counts_each_pod_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drained(monkeypatch, pod("web-1"), elsewhere("a"), elsewhere("b"))
    run.steps = [*run.steps, *run.steps]
    seen = run.verify()
    assert isinstance(seen, Verified)
    assert (seen.evidence["evicted"], seen.evidence["replaced"]) == (1, 1)
