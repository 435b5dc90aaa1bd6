"""An uninstall in the middle of a drain, deployed with the roles of the functions enforced: the node is given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.deploy import Stack
from paydown.ledger import Ledger, Outcome, Table, run_id
from tests.real.node_recovery import SEED
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster
from tests.stacks import running_stack, wait_for

pytestmark = pytest.mark.slow

NODE, PODS = "worker-1", 8
SETTINGS = {"settle_seconds": 0, "wait_ready_seconds": 0, "evictions_per_second": 0.25, "parallel": 1}
"""An eviction every four seconds: enough for a person to uninstall in."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    parameters = {"RecoverNodeMode": "Enforce"}
    with running_stack(tmp_path / "stack", mode="Off", authorise=True, parameters=parameters) as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StandIn]:
    nodes = [{"name": "control-plane-1", "control_plane": True}, {"name": NODE}, {"name": "worker-2"}]
    deployments = [{"name": "web", "replicas": PODS, "grace": 1}]
    with standin_cluster(tmp_path, {**SEED, "nodes": nodes, "deployments": deployments}) as running:
        yield running


@pytest.fixture
def ledger(stack: Stack, cluster: StandIn) -> Ledger:
    made = Ledger(Table(stack.outputs["LedgerTable"], stack.emulator.client("dynamodb")))
    for identity in ("reader", "operator"):
        stack.put_secret(f"clusters/demo/{identity}", {"server": cluster.url, "token": TOKEN})
    toil = {
        "mode": "enforce",
        "ceiling": "disruptive",
        "blast_radius": {"count": 2, "percent": 100},
        "settings": SETTINGS,
    }
    made.policy.publish({"toils": {"recover_node": toil}}, "test", datetime.now(UTC))
    secrets = {f"{one}_secret": f"{stack.name}/clusters/demo/{one}" for one in ("reader", "operator")}
    inventory = {"clusters": [{"uid": "demo", "name": "demo", "nodes": ["worker-*"], **secrets}]}
    made.inventory.publish(inventory, "test", datetime.now(UTC))
    return made


def test_a_node_that_is_being_drained_is_given_back(
    stack: Stack, cluster: StandIn, ledger: Ledger, paydown_on: Callable[[Stack], Callable[..., tuple[int, Any]]]
) -> None:
    def serving() -> int:
        pods = [pod for pod in cluster.pods("web") if pod["spec"].get("nodeName") == NODE]
        return sum("deletionTimestamp" not in pod["metadata"] for pod in pods)

    there = serving()
    assert there >= 3
    cluster.kubelet(NODE, running=False)
    detail = {"key": "alert", "at": datetime.now(UTC).isoformat(), "cluster": "demo", "node": NODE}
    stack.put_event("NodeNotReady", detail)
    wait_for(lambda: serving() < there, "the first pod to be evicted", 60)
    cluster.kubelet(NODE, running=True)
    assert cluster.node(NODE)["spec"]["unschedulable"] is True
    assert serving() > 0, "it is in the middle"

    code, told = paydown_on(stack)("drain", "--yes", "--seconds", "120", "--by", "ann")

    assert (code, told["at_rest"], told["alive"], told["half_done"], told["leases"]) == (0, True, [], {}, [])
    node = cluster.node(NODE)
    assert "unschedulable" not in node["spec"]
    assert not [name for name in node["metadata"].get("annotations", {}) if name.startswith("paydown.dev/")]
    assert serving() > 0, "nothing was evicted any more"
    run = ledger.runs.get(run_id("alert", f"demo/node/{NODE}", "recover_node"))
    assert run is not None
    assert (run.status, [reason.code for reason in run.reasons]) == (Outcome.REJECTED, ["uninstalled"])
    assert any("cordon" in left for left in run.evidence["left"])
    undone = ledger.runs.get(run_id(f"undo:{run.id}", run.target, run.toil, 1))
    assert undone is not None
    assert undone.status is Outcome.VERIFIED, undone.reasons
    assert list(ledger.runs.alive()) == []
    assert [stop.scope for stop in ledger.switches.all()] == ["*"]
    stack.emulator.client("cloudformation").delete_stack(StackName=stack.name)
    kept = wait_for(lambda: ledger.runs.get(run.id), "the ledger to be there still")
    assert kept.status is Outcome.REJECTED
