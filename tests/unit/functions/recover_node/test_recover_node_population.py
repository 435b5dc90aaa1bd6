"""Whom a drain could harm, and who else may be at work on the node."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon
from paydown.clients.kube import CORDONED_AT, CORDONED_BY, NodeState
from paydown.limits import BlastRadius
from paydown.plan import Healer, Moot, NotYet, Population
from tests.unit.functions.recover_node.fake_cluster import (
    ILL,
    INVENTORY,
    START,
    FakeCluster,
    Remediation,
    pod,
    remediation,
)

WELL = replace(ILL, ready=True)
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
GENERAL = {"karpenter.sh/nodepool": "general"}


def node(name: str, like: NodeState = WELL, **more: Any) -> NodeState:
    return replace(like, name=name, uid=f"uid-{name}", **more)


def among(monkeypatch: pytest.MonkeyPatch, *others: NodeState, **worker_1: Any) -> Remediation:
    return remediation(monkeypatch, FakeCluster(replace(ILL, **worker_1), others=list(others)))


def population(run: Remediation) -> Population:
    found = run.toil.population(run.target)
    assert found is not None
    return found


def test_the_pool_is_all_of_its_members_and_who_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    run = among(
        monkeypatch,
        node("worker-2"),
        node("worker-3", unschedulable=True),
        node("worker-4", deleting=True),
        node("worker-5", ready=None),
        node("worker-6", ready=False),
        node("worker-7", taints=("ToBeDeletedByClusterAutoscaler",)),
        node("gpu-1"),  # not ours to touch, but pods run on it
        node("control-plane-1", labels=CONTROL_PLANE),
        node("ip-10-0-0-9", labels=GENERAL),
    )
    down = {f"c1/node/worker-{number}" for number in (1, 3, 4, 5, 6, 7)}
    assert population(run) == Population("c1/workers", 8, frozenset(down))


def test_uids_are_those_of_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the target would count twice, and runs on others not at all."""
    run = among(monkeypatch, node("worker-2", ready=False))
    assert run.target.uid in population(run).unhealthy
    other = INVENTORY.node("demo", "worker-2")
    assert other is not None
    assert population(run).unhealthy == {run.target.uid, other.uid}


def test_a_control_plane_is_a_pool_of_its_own_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [node(f"worker-{number}", labels=CONTROL_PLANE) for number in (2, 3)]
    found = population(among(monkeypatch, *others, node("worker-9"), labels=CONTROL_PLANE))
    assert (found.pool, found.total) == ("c1/control-plane", 3)
    assert BlastRadius().limit(found.total) == 1


def test_a_group_that_its_makers_name_is_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    found = population(among(monkeypatch, node("worker-2", labels=GENERAL), node("worker-3"), labels=GENERAL))
    assert found == Population("c1/karpenter.sh/nodepool=general", 2, frozenset({"c1/node/worker-1"}))


def test_when_everybody_looks_ill_nobody_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the API server or the network."""
    found = population(among(monkeypatch, *[node(f"worker-{number}", ready=False) for number in range(2, 21)]))
    assert len(found.unhealthy) == 20
    assert BlastRadius().limit(found.total) == 4


def test_a_node_that_left_in_the_middle_does_not_fail_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A healer that replaces it does just that; no action finds the node, whatever comes under its name."""
    run = among(monkeypatch, node("worker-2"))
    run.cluster.state = None
    assert run.toil.population(run.target) is None
    gone = Moot("the node is gone")
    assert run.toil.apply(Cordon.of("node/demo/worker-1", ILL), run.target) == gone
    run.cluster.state = replace(ILL, uid="made anew")
    assert run.toil.apply(EvictPod.of(pod("web-1"), ILL), run.target) == Moot("another node has its name now")


def test_a_healer_has_the_node_since_it_fell_ill(monkeypatch: pytest.MonkeyPatch) -> None:
    run = among(monkeypatch, labels=GENERAL)
    assert run.toil.healer(run.target) == Healer("karpenter", ILL.since)


def test_the_time_of_a_healer_begins_now_at_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    run = among(monkeypatch, labels=GENERAL, since=START + timedelta(hours=1))
    assert run.toil.healer(run.target) == Healer("karpenter", START)


@pytest.mark.parametrize("state", [None, ILL, replace(WELL, labels=GENERAL)], ids=["gone", "unknown", "well"])
def test_no_healer(monkeypatch: pytest.MonkeyPatch, state: NodeState | None) -> None:
    run = remediation(monkeypatch, FakeCluster(state))
    assert run.toil.healer(run.target) is None


BEGUN = {"taints": ("medik8s.io/remediation",)}
BUSY = "medik8s is at work on the node (taint medik8s.io/remediation)"


def test_a_healer_that_has_begun_is_made_way_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run = among(monkeypatch, **BEGUN)
    run.cluster.all_pods = [pod("web-1")]
    later = NotYet(START + timedelta(seconds=60), BUSY)
    assert run.toil.plan(run.target) == later
    assert run.toil.apply(Cordon.of("node/demo/worker-1", ILL), run.target) == later
    run.cluster.change(unschedulable=True)
    assert run.toil.apply(EvictPod.of(pod("web-1"), ILL), run.target) == later
    assert run.cluster.calls == []


def test_a_healer_at_work_on_a_node_that_is_well_is_not_our_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    draft = among(monkeypatch, ready=True, **BEGUN).draft()
    assert (draft.stages, draft.why) == ((), "the node is Ready again")


def test_a_node_that_a_healer_takes_away_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = {CORDONED_BY: "recover_node/r1", CORDONED_AT: START.isoformat()}
    run = among(monkeypatch, ready=True, unschedulable=True, annotations=signed, **BEGUN)
    assert run.toil.plan(run.target) == NotYet(START + timedelta(seconds=60), BUSY)
    uncordon = Uncordon.of("node/demo/worker-1", ILL, "recover_node/r1")
    assert run.toil.apply(uncordon, run.target) == NotYet(START + timedelta(seconds=1), BUSY)
    run.wait(600)
    left = Moot(f"{BUSY}: left cordoned, the machine needs replacement")
    assert run.toil.apply(uncordon, run.target) == left
    assert run.cluster.calls == []
