"""Cordon, evict, uncordon: each looks first, and does only what is still to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon
from paydown.clients.kube import CORDONED_AT, CORDONED_BY, Blocked, Refused
from paydown.errors import RetryableError
from paydown.plan import Done, Moot, NotYet
from tests.unit.functions.recover_node.fake_cluster import ILL, START, FakeCluster, pod, remediation

SIGNED = {CORDONED_BY: "recover_node/r1", CORDONED_AT: START.isoformat()}
OURS = replace(ILL, unschedulable=True, annotations=SIGNED, cordon_managers=("paydown",))


def actions() -> tuple[Cordon, EvictPod, Uncordon]:
    ref = "node/demo/worker-1"
    return Cordon.of(ref, ILL), EvictPod.of(pod("web-1"), ILL), Uncordon.of(ref, ILL, "recover_node/r1")


CORDON, EVICT, UNCORDON = actions()


def test_a_cordon_is_signed_and_dated(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster())
    assert run.toil.apply(CORDON, run.target) == Done()
    state = run.cluster.state
    assert state is not None
    assert (state.unschedulable, state.cordoned_by, state.cordoned_at) == (True, "recover_node/r1", START)
    assert run.toil.apply(CORDON, run.target) == Done(), "doing it twice changes nothing"
    assert run.cluster.calls == ["cordon"]


def test_a_heartbeat_in_between_does_not_stop_a_cordon(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(conflicts=2))
    assert run.toil.apply(CORDON, run.target) == Done()
    run = remediation(monkeypatch, FakeCluster(conflicts=99))
    with pytest.raises(RetryableError, match="changes too often"):
        run.toil.apply(CORDON, run.target)


CHANGED: list[tuple[str, Any, str]] = [
    ("gone", None, "the node is gone"),
    ("replaced", replace(ILL, uid="n2", unschedulable=True), "another node has its name now"),
    ("ready again", replace(ILL, ready=True, unschedulable=True), "Ready again"),
    ("being deleted", replace(ILL, deleting=True, unschedulable=True), "being deleted"),
]


@pytest.mark.parametrize(("state", "why"), [case[1:] for case in CHANGED], ids=[case[0] for case in CHANGED])
@pytest.mark.parametrize("action", [CORDON, EVICT], ids=["cordon", "evict"])
def test_a_node_that_is_no_longer_ill_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, action: Any, state: Any, why: str
) -> None:
    run = remediation(monkeypatch, FakeCluster(state, [pod("web-1")]))
    result = run.toil.apply(action, run.target)
    assert isinstance(result, Moot)
    assert why in result.why
    assert run.cluster.calls == []


def test_a_node_that_comes_back_in_the_middle_keeps_its_other_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(all_pods=[pod("web-1"), pod("web-2")]))
    run.cluster.before_eviction = lambda: run.cluster.change(ready=True)
    assert run.apply() == [Done(), Done(), Moot("the node is Ready again"), Done()]
    assert run.cluster.calls == ["cordon", "evict web-1", "uncordon"]
    assert run.cluster.state is not None
    assert CORDONED_BY not in run.cluster.state.annotations


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod("web-1", deadline=START)], Done()),
        ([], Moot("the pod is gone")),
        ([pod("web-1", uid="made anew")], Moot("another pod has its name now")),
    ],
    ids=["being deleted", "gone", "another"],
)
def test_evicting_again_changes_nothing(monkeypatch: pytest.MonkeyPatch, pods: Any, expected: Any) -> None:
    run = remediation(monkeypatch, FakeCluster(OURS, pods))
    assert run.toil.apply(EVICT, run.target) == expected


def test_a_budget_is_waited_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(OURS, [pod("web-1")], blocked={"web-1": Blocked(10.0, "budget web")}))
    assert run.toil.apply(EVICT, run.target) == NotYet(START + timedelta(seconds=10), "budget web")


def test_a_pod_that_no_eviction_can_move_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(all_pods=[pod("web-1"), pod("web-2")], refused={"web-1": Refused("two budgets")})
    run = remediation(monkeypatch, cluster)
    assert run.apply()[1:3] == [Moot("two budgets"), Done()]


def test_an_uncordon_waits_for_the_node_and_gives_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(OURS), wait_ready_seconds=600)
    waits = []
    while isinstance(result := run.toil.apply(UNCORDON, run.target), NotYet):
        waits.append((result.until - run.time).total_seconds())
        run.time = result.until
    assert result == Moot("still NotReady: left cordoned, the machine needs replacement")
    assert run.time == START + timedelta(seconds=600)
    assert waits[0] == 1
    assert len(waits) < 30
    assert max(waits) == 60
    assert run.cluster.calls == []


def test_the_wait_does_not_begin_anew_with_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(OURS), wait_ready_seconds=600)
    run.wait(599)
    again = run.toil.apply(UNCORDON, run.target)
    assert again == NotYet(START + timedelta(seconds=600), "the node is not Ready")


def test_a_node_that_comes_back_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(replace(OURS, ready=True)))
    assert run.toil.apply(UNCORDON, run.target) == Done()
    assert run.toil.apply(UNCORDON, run.target) == Moot("it is schedulable already")
    assert run.cluster.calls == ["uncordon"]


OTHERS = [
    ("uncordoned by hand", replace(OURS, unschedulable=False), "schedulable already"),
    ("signed by another run", replace(OURS, annotations={CORDONED_BY: "recover_node/r2"}), "another run of ours"),
    ("replaced", replace(OURS, uid="n2"), "another node"),
]


@pytest.mark.parametrize(("state", "why"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_only_our_own_cordon_is_undone(monkeypatch: pytest.MonkeyPatch, state: Any, why: str) -> None:
    run = remediation(monkeypatch, FakeCluster(replace(state, ready=True)))
    result = run.toil.apply(UNCORDON, run.target)
    assert isinstance(result, Moot)
    assert why in result.why
    assert run.cluster.calls == []


def test_taking_over_signs_and_dates_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    left = replace(OURS, annotations={CORDONED_BY: "recover_node/r0", CORDONED_AT: "2026-01-01T00:00:00+00:00"})
    run = remediation(monkeypatch, FakeCluster(left))
    first, last = run.apply()
    assert first == Done()
    assert isinstance(last, NotYet), "the wait begins with this run's cordon"
    assert run.cluster.state is not None
    assert run.cluster.state.cordoned_by == "recover_node/r1"
