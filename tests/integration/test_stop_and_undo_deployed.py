"""Stopping a drain in the middle, deployed with the roles of the functions enforced: it goes on, or is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.recover_node.app import RecoverNode
from local.deploy import Stack
from paydown.ledger import Ledger, Outcome, Run, Status, Table, run_id
from paydown.plan import Step, StepState
from tests.real.node_recovery import SCHEDULABLE, SEED
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster
from tests.stacks import running_stack, wait_for

pytestmark = pytest.mark.slow

WORKERS, ON_EACH = 4, 4
APART = 4.0
"""Seconds between two evictions: enough for a person to stop in."""
CLUSTER = {"uid": "demo", "name": "demo", "nodes": ["worker-*"]}
VERBS = {action.verb(): action for action in RecoverNode.does}

Command = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Only what a drain needs: a permission that the role of one of its functions lacks is an error."""
    folder = tmp_path_factory.mktemp("stopped")
    with running_stack(folder, mode="Off", authorise=True, parameters={"RecoverNodeMode": "Enforce"}) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    workers = [{"name": f"worker-{number}"} for number in range(1, WORKERS + 1)]
    seed = {
        **SEED,
        "nodes": [{"name": "control-plane-1", "control_plane": True}, *workers],
        "deployments": [{"name": "web", "replicas": WORKERS * ON_EACH, "grace": 1}],
    }
    with standin_cluster(tmp_path_factory.mktemp("cluster"), seed) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(stack: Stack, cluster: StandIn) -> Ledger:
    made = Ledger(Table(stack.outputs["LedgerTable"], stack.emulator.client("dynamodb")))
    for identity in ("reader", "operator"):
        stack.put_secret(f"clusters/demo/{identity}", {"server": cluster.url, "token": TOKEN})
    settings = {"settle_seconds": 0, "wait_ready_seconds": 0, "evictions_per_second": 1 / APART, "parallel": 1}
    toil = {
        "mode": "enforce",
        "ceiling": "disruptive",
        "blast_radius": {"count": WORKERS, "percent": 100},
        "cool_down_seconds": 0,
        "settings": settings,
    }
    made.policy.publish({"toils": {"recover_node": toil}}, "test", datetime.now(UTC))
    secrets = {f"{one}_secret": f"{stack.name}/clusters/demo/{one}" for one in ("reader", "operator")}
    made.inventory.publish({"clusters": [CLUSTER | secrets]}, "test", datetime.now(UTC))
    return made


@pytest.fixture
def paydown(stack: Stack, paydown_on: Callable[[Stack], Command]) -> Command:
    return paydown_on(stack)


def serving(cluster: StandIn, node: str) -> list[str]:
    """The pods on a node that nobody has evicted."""
    pods = [pod for pod in cluster.pods("web") if pod["spec"].get("nodeName") == node]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def steps(ledger: Ledger, run: Run) -> list[Step]:
    return [step for number in run.executed for step in ledger.journal.read(run, number, VERBS)]


def seen(stack: Stack, ledger: Ledger, id: str, met: Callable[[Run], bool], what: str, seconds: float = 120) -> Run:
    """A run once it is so. What is due is nudged meanwhile, as the schedule does each minute."""

    def look() -> Run | None:
        stack.invoke("Wake")
        run = ledger.runs.get(id)
        return run if run and met(run) else None

    return wait_for(look, what, seconds)


def stopped_in_the_middle(
    stack: Stack, cluster: StandIn, ledger: Ledger, paydown: Command, node: str
) -> tuple[Run, list[str]]:
    """A node dies, and a person stops its drain when the first of its pods is evicted; the run, and all these pods."""
    wait_for(lambda: len(cluster.ready_pods("web")) == WORKERS * ON_EACH, "all to be ready", 60)
    there = serving(cluster, node)
    assert len(there) >= 3
    cluster.kubelet(node, running=False)
    detail = {"key": f"alert-{node}", "at": datetime.now(UTC).isoformat(), "cluster": "demo", "node": node}
    stack.put_event("NodeNotReady", detail)
    wait_for(lambda: len(serving(cluster, node)) < len(there), f"the first pod of {node} to be evicted", 60)
    code, told = paydown("stop", "recover_node", "--why", "look at this first", "--by", "ann")
    assert (code, [one["scope"] for one in told["stops"]]) == (0, ["recover_node"])

    id = run_id(detail["key"], f"demo/node/{node}", "recover_node")
    run = seen(stack, ledger, id, lambda run: run.status is Status.DEFERRED, "the drain to stop")
    [reason] = run.reasons
    assert (reason.code, "recover_node was stopped by ann" in reason.text) == ("stopped", True)
    states = [step.state for step in steps(ledger, run)]
    assert set(states) == {StepState.DONE, StepState.PLANNED}, "what was begun is finished, and nothing else is begun"
    assert states.count(StepState.DONE) == 1 + len(there) - len(serving(cluster, node)), (
        "the cordon, and what is evicted"
    )
    assert cluster.node(node)["spec"]["unschedulable"] is True
    assert any("cordon" in left for left in run.evidence["left"])
    assert ledger.runs.holder(run.target, datetime.now(UTC)) is None
    return run, there


def test_a_drain_that_is_stopped_in_the_middle_goes_on_when_it_is_resumed(
    stack: Stack, cluster: StandIn, ledger: Ledger, paydown: Command
) -> None:
    run, there = stopped_in_the_middle(stack, cluster, ledger, paydown, "worker-1")
    assert serving(cluster, "worker-1")
    code, told = paydown("resume", "recover_node", "--by", "ann")
    assert (code, told["was_stopped"], told["stops"]) == (0, True, [])
    done = seen(stack, ledger, run.id, lambda run: run.ended, "the drain to end", 180)
    assert done.status is Outcome.VERIFIED, done.reasons
    assert serving(cluster, "worker-1") == []
    done_steps = [step for step in steps(ledger, done) if step.state is StepState.DONE]
    evicted = [step.action.object.rpartition("/")[2] for step in done_steps if step.action.verb() == "evict_pod"]
    assert sorted(evicted) == sorted(there), "each pod was evicted, and once"
    cluster.kubelet("worker-1", running=True)
    cluster.patch_node("worker-1", SCHEDULABLE)


def test_a_stopped_drain_is_taken_back_while_the_switch_is_on(
    stack: Stack, cluster: StandIn, ledger: Ledger, paydown: Command
) -> None:
    run, _ = stopped_in_the_middle(stack, cluster, ledger, paydown, "worker-2")
    cluster.kubelet("worker-2", running=True)
    code, told = paydown("undo", run.id, "--why", "the disk was swapped", "--by", "ann")
    assert (code, told["undoes"], told["by"]) == (0, run.id, "ann")

    ended = ledger.runs.get(run.id)
    assert ended is not None
    assert ended.status is Outcome.REJECTED
    assert [(reason.code, reason.text) for reason in ended.reasons] == [("taken_back", "by ann: the disk was swapped")]
    undone = seen(stack, ledger, told["run"]["id"], lambda run: run.ended, "the drain to be taken back")
    assert undone.status is Outcome.VERIFIED, undone.reasons
    assert (undone.event_type, undone.event["run_id"], undone.event["by"]) == ("UndoRequested", run.id, "ann")
    node = cluster.node("worker-2")
    assert "unschedulable" not in node["spec"]
    assert not [name for name in node["metadata"].get("annotations", {}) if name.startswith("paydown.dev/")]
    assert ledger.runs.holder(run.target, datetime.now(UTC)) is None
    assert sum(month.get("undone", 0) for month in ledger.account("recover_node")) == 1
    assert [stop.scope for stop in ledger.switches.all()] == ["recover_node"], "nobody has resumed it"
