"""Taking back a cordon: by the run that undoes, for the run that made it, and only if that is safe now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon
from paydown.clients.kube import CORDONED_AT, CORDONED_BY, OPT_OUT, NodeState
from paydown.events import UndoRequested
from paydown.plan import Done, Moot, Step, StepState, left_behind
from tests.unit.functions.recover_node.fake_cluster import ILL, START, FakeCluster, Remediation, pod, remediation

REF = "node/demo/worker-1"
CORDON = Cordon.of(REF, ILL)
UNCORDON = Uncordon.of(REF, ILL, "recover_node/r1", by="this run")
SIGNED = {CORDONED_BY: "recover_node/r1", CORDONED_AT: START.isoformat()}
LEFT = replace(ILL, ready=True, unschedulable=True, annotations=SIGNED, cordon_managers=("paydown",))


def undoing(monkeypatch: pytest.MonkeyPatch, state: NodeState | None, of: str = "r1") -> Remediation:
    """The run u9, which undoes another."""
    run = remediation(monkeypatch, FakeCluster(state), run_id="u9")
    run.event = UndoRequested(key="u", at=START, run_id=of, by="ada")
    return run


def test_a_ready_node_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    run = undoing(monkeypatch, LEFT)
    assert run.toil.undo(CORDON, run.target) == Done()
    assert run.cluster.state is not None
    assert (run.cluster.state.unschedulable, run.cluster.state.annotations) == (False, {})
    assert run.toil.undo(CORDON, run.target) == Done({"node": "schedulable already"}), "twice changes nothing"
    assert run.cluster.calls == ["uncordon"]


def test_the_run_that_cordoned_may_take_it_back_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(LEFT), run_id="r1")
    assert run.toil.undo(CORDON, run.target) == Done()


STANDS = [
    ("still NotReady", replace(LEFT, ready=False), "still NotReady: left cordoned"),
    ("never reported", replace(LEFT, ready=None), "still NotReady: left cordoned"),
    (
        "another run's",
        replace(LEFT, annotations={**SIGNED, CORDONED_BY: "recover_node/r2"}),
        "the cordon is not that of recover_node/r1 any more: left cordoned",
    ),
    (
        "a person's",
        replace(LEFT, cordon_managers=("kubectl-cordon",)),
        "the cordon is not that of recover_node/r1 any more: left cordoned",
    ),
    (
        "opted out",
        replace(LEFT, labels={OPT_OUT: "true"}),
        "a person marked the node with paydown.dev/opt-out: left cordoned",
    ),
    ("being deleted", replace(LEFT, deleting=True), "the node is being deleted: left cordoned"),
    (
        "Karpenter has begun",
        replace(LEFT, taints=("karpenter.sh/disrupted",)),
        "Karpenter is at work on the node (taint karpenter.sh/disrupted): left cordoned",
    ),
]


@pytest.mark.parametrize(("state", "why"), [case[1:] for case in STANDS], ids=[case[0] for case in STANDS])
def test_a_cordon_that_is_left_and_why(monkeypatch: pytest.MonkeyPatch, state: NodeState, why: str) -> None:
    run = undoing(monkeypatch, state)
    assert run.toil.undo(CORDON, run.target) == Moot(why)
    assert run.cluster.calls == []


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (None, "gone"),
        (replace(LEFT, uid="n2"), "another node has its name now"),
        (replace(LEFT, unschedulable=False), "schedulable already"),
    ],
    ids=["gone", "replaced", "opened by hand"],
)
def test_where_nothing_is_left_it_counts_as_taken_back(
    monkeypatch: pytest.MonkeyPatch, state: NodeState | None, found: str
) -> None:
    run = undoing(monkeypatch, state)
    assert run.toil.undo(CORDON, run.target) == Done({"node": found})
    assert run.cluster.calls == []


def test_a_heartbeat_in_between_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = undoing(monkeypatch, LEFT)
    run.cluster.conflicts = 2
    assert run.toil.undo(CORDON, run.target) == Done()


def test_what_cannot_be_taken_back_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = undoing(monkeypatch, LEFT)
    evicted: Any = EvictPod.of(pod("web-1"), ILL)
    assert run.toil.undo(evicted, run.target) == Moot("evict_pod cannot be taken back")
    assert run.toil.undo(UNCORDON, run.target) == Moot("uncordon cannot be taken back")


def test_a_cordon_and_its_uncordon_leave_nothing_behind() -> None:
    cordoned = Step(0, 0, CORDON, StepState.DONE)
    assert left_behind([cordoned]) == [cordoned]
    assert left_behind([cordoned, Step(1, 2, UNCORDON, StepState.DONE)]) == []
    assert left_behind([cordoned, Step(1, 2, UNCORDON, StepState.MOOT)]) == [cordoned]
