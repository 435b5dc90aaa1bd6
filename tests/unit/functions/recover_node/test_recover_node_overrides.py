"""What a person undid or stopped on purpose is not fought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon
from paydown.clients.kube import CORDONED_AT, CORDONED_BY, OPT_OUT, STOPPED, NodeState
from paydown.plan import Done, Draft, Moot, Overridden
from tests.unit.functions.recover_node.fake_cluster import ILL, START, FakeCluster, pod, remediation

REF = "node/demo/worker-1"
OPTED_OUT = f"a person marked the node with {OPT_OUT}"


def cordoned(run: str = "r1", at: datetime = START, **more: Any) -> NodeState:
    """The node with the cordon of one of our runs."""
    signed = {CORDONED_BY: f"recover_node/{run}", CORDONED_AT: at.isoformat()}
    return replace(ILL, **{"unschedulable": True, "annotations": signed, "cordon_managers": ("paydown",)} | more)


CORDON = Cordon.of(REF, ILL)
TAKE_OVER = Cordon.of(REF, cordoned("r0"))
EVICT = EvictPod.of(pod("web-1"), ILL, signed="recover_node/r1")
EVICT_UNDER_THEIRS = EvictPod.of(pod("web-1"), ILL)
UNCORDON = Uncordon.of(REF, ILL, "recover_node/r1")

UNCORDONED = replace(cordoned(), unschedulable=False, cordon_managers=())
CORDONED_ANEW = cordoned(cordon_managers=("kubectl-cordon",))
THEIRS = replace(ILL, unschedulable=True, cordon_managers=("kubectl-cordon",))

MIDWAY = [
    ("cordoned before us", CORDON, THEIRS, "somebody else (kubectl-cordon) cordoned the node"),
    ("opted out before the cordon", CORDON, replace(ILL, annotations={OPT_OUT: ""}), OPTED_OUT),
    ("stopped before the cordon", CORDON, replace(ILL, taints=(STOPPED,)), "somebody stopped the machine"),
    ("an earlier cordon undone", TAKE_OVER, ILL, "somebody uncordoned the node"),
    ("an earlier cordon taken over", TAKE_OVER, THEIRS, "somebody else (kubectl-cordon) cordoned the node"),
    ("uncordoned", EVICT, UNCORDONED, "somebody uncordoned the node"),
    ("cordoned anew", EVICT, CORDONED_ANEW, "somebody else (kubectl-cordon) cordoned the node"),
    ("signature removed", EVICT, cordoned(annotations={}), "somebody else (paydown) cordoned the node"),
    ("opted out", EVICT, cordoned(labels={OPT_OUT: "true"}), OPTED_OUT),
    ("stopped", EVICT, cordoned(taints=(STOPPED,)), "somebody stopped the machine"),
    ("their own cordon taken back", EVICT_UNDER_THEIRS, ILL, "somebody uncordoned the node"),
    ("uncordoned after the drain", UNCORDON, UNCORDONED, "somebody uncordoned the node"),
    ("cordoned anew after the drain", UNCORDON, CORDONED_ANEW, "somebody else (kubectl-cordon) cordoned the node"),
    ("cordoned anew, and Ready", UNCORDON, replace(CORDONED_ANEW, ready=True), "somebody else (kubectl-cordon)"),
    ("opted out after the drain", UNCORDON, cordoned(labels={OPT_OUT: "yes"}, ready=True), OPTED_OUT),
]


@pytest.mark.parametrize(("action", "state", "why"), [case[1:] for case in MIDWAY], ids=[case[0] for case in MIDWAY])
def test_what_changes_against_us_in_the_middle_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, action: Any, state: NodeState, why: str
) -> None:
    run = remediation(monkeypatch, FakeCluster(state, [pod("web-1")]))
    result = run.toil.apply(action, run.target)
    assert isinstance(result, Overridden)
    assert result.why.startswith(why)
    assert run.cluster.calls == []


def hand(run: Any, **change: Any) -> Callable[[], None]:
    """Somebody who changes the node while the first pod is evicted."""
    evictions = iter(range(10))

    def act() -> None:
        if next(evictions) == 0:
            run.cluster.change(**change)

    return act


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"unschedulable": False, "cordon_managers": ()}, "somebody uncordoned the node"),
        ({"cordon_managers": ("kubectl-edit",)}, "somebody else (kubectl-edit) cordoned the node"),
        ({"labels": {OPT_OUT: ""}}, OPTED_OUT),
    ],
    ids=["uncordoned", "cordoned anew", "opted out"],
)
def test_nothing_is_evicted_after_it(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str) -> None:
    run = remediation(monkeypatch, FakeCluster(all_pods=[pod("web-1"), pod("web-2"), pod("web-3")]))
    run.cluster.before_eviction = hand(run, **change)
    assert run.apply() == [Done(), Done(), Overridden(why)]
    assert run.cluster.calls == ["cordon", "evict web-1"]


def test_under_somebody_elses_cordon_the_drain_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cordoned it before we came: that is no override."""
    run = remediation(monkeypatch, FakeCluster(THEIRS, [pod("web-1")]))
    assert run.apply() == [Done()]
    assert run.cluster.calls == ["evict web-1"]


def test_a_node_that_came_back_and_was_uncordoned_by_hand_is_simply_well(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(replace(UNCORDONED, ready=True), [pod("web-1")]))
    assert run.toil.apply(EVICT, run.target) == Moot("the node is Ready again")
    assert run.toil.apply(UNCORDON, run.target) == Moot("it is schedulable already")


def test_a_cordon_that_another_run_of_ours_took_over_is_no_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(cordoned("r2"), [pod("web-1")]))
    for action in (TAKE_OVER, EVICT, UNCORDON):
        assert run.toil.apply(action, run.target) == Moot("another run of ours took over the cordon")


PLANNED = [
    ("uncordoned in this fault", UNCORDONED, "somebody uncordoned the node, which run r1 had cordoned"),
    (
        "cordoned anew in this fault",
        CORDONED_ANEW,
        "somebody else (kubectl-cordon) cordoned the node, which run r1 had cordoned",
    ),
    ("the machine stopped", replace(ILL, taints=(STOPPED,)), f"somebody stopped the machine (taint {STOPPED})"),
]


@pytest.mark.parametrize(("state", "why"), [case[1:] for case in PLANNED], ids=[case[0] for case in PLANNED])
def test_a_plan_does_not_do_again_what_a_person_undid(
    monkeypatch: pytest.MonkeyPatch, state: NodeState, why: str
) -> None:
    """`kubectl uncordon` leaves our signature behind: a run that is planned afresh sees what became of its cordon."""
    run = remediation(monkeypatch, FakeCluster(state, [pod("web-1")]), run_id="r2")
    assert run.toil.plan(run.target) == Overridden(why)


@pytest.mark.parametrize(
    "state",
    [
        replace(UNCORDONED, since=START + timedelta(minutes=1)),
        replace(UNCORDONED, annotations={CORDONED_BY: "patch_hosts/r7", CORDONED_AT: START.isoformat()}),
        replace(UNCORDONED, annotations={CORDONED_BY: "recover_node/r1"}),
        cordoned("r0"),
    ],
    ids=["the node was Ready since", "another toil type's", "not dated", "it still stands"],
)
def test_what_is_no_override_of_this_fault(monkeypatch: pytest.MonkeyPatch, state: NodeState) -> None:
    run = remediation(monkeypatch, FakeCluster(state, [pod("web-1")]), settle_seconds=0)
    draft = run.toil.plan(run.target)
    assert isinstance(draft, Draft)
    assert draft.stages


def test_what_stood_against_us_before_is_no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(replace(ILL, labels={OPT_OUT: "true"}), [pod("web-1")]))
    assert run.toil.plan(run.target) == Draft(why=OPTED_OUT, code="opted_out")
