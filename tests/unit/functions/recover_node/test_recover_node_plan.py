"""What recover_node would do, and when it does nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon, choose
from functions.recover_node.app import RecoverNode, Settings
from paydown.clients.kube import CORDONED_BY, OPT_OUT, Owner, Pod
from paydown.events import NodeNotReady
from paydown.plan import Action, Draft, Hazard, NotYet, Plan
from tests.unit.functions.recover_node.fake_cluster import (
    AGENT,
    EVENT,
    ILL,
    INVENTORY,
    START,
    FakeCluster,
    pod,
    remediation,
)

JOB = Owner("Job", "import", "j1")
STATIC = Owner("Node", "worker-1", "n1")

# name, pod, left alone as, hazard, note
FILTERS: list[tuple[str, Pod, str | None, Hazard | None, str]] = [
    ("controlled", pod("a"), None, Hazard.DISRUPTIVE, ""),
    ("being deleted", pod("a", deadline=START), "terminating", None, ""),
    ("daemonset", pod("a", AGENT), "daemonset", None, ""),
    ("daemonset, being deleted", pod("a", AGENT, deadline=START), "terminating", None, ""),
    ("daemonset, finished", pod("a", AGENT, phase="Failed"), None, Hazard.DISRUPTIVE, ""),
    ("mirror", pod("a", STATIC, mirror=True), "mirror", None, ""),
    ("mirror with emptyDir", pod("a", STATIC, mirror=True, empty_dir=True), "mirror", None, ""),
    ("emptyDir", pod("a", empty_dir=True), None, Hazard.DESTRUCTIVE, "its emptyDir data is lost"),
    ("emptyDir, finished", pod("a", JOB, empty_dir=True, phase="Succeeded"), None, Hazard.DISRUPTIVE, ""),
    ("uncontrolled", pod("a", None), None, Hazard.DESTRUCTIVE, "nothing starts it again"),
    ("uncontrolled, finished", pod("a", None, phase="Failed"), None, Hazard.DISRUPTIVE, ""),
    (
        "uncontrolled with emptyDir",
        pod("a", None, empty_dir=True),
        None,
        Hazard.DESTRUCTIVE,
        "its emptyDir data is lost; nothing starts it again",
    ),
]


@pytest.mark.parametrize(
    ("one", "left", "hazard", "note"), [case[1:] for case in FILTERS], ids=[case[0] for case in FILTERS]
)
def test_kubectls_filters(one: Pod, left: str | None, hazard: Hazard | None, note: str) -> None:
    choice = choose([one], ILL, delete_emptydir_data=False, force=False)
    assert dict(choice.left_alone) == ({} if left is None else {left: 1})
    assert [(action.hazard, action.note) for action in choice.evictions] == ([] if hazard is None else [(hazard, note)])


@pytest.mark.parametrize(
    ("allowed", "hazards"),
    [
        ({}, {"bare": Hazard.DESTRUCTIVE, "cache": Hazard.DESTRUCTIVE}),
        ({"force": True}, {"bare": Hazard.DISRUPTIVE, "cache": Hazard.DESTRUCTIVE}),
        ({"delete_emptydir_data": True}, {"bare": Hazard.DESTRUCTIVE, "cache": Hazard.DISRUPTIVE}),
        ({"force": True, "delete_emptydir_data": True}, {"bare": Hazard.DISRUPTIVE, "cache": Hazard.DISRUPTIVE}),
    ],
)
def test_a_person_decides_where_kubectl_wants_a_flag(
    monkeypatch: pytest.MonkeyPatch, allowed: dict[str, bool], hazards: dict[str, Hazard]
) -> None:
    cluster = FakeCluster(all_pods=[pod("bare", None), pod("cache", empty_dir=True)])
    draft = remediation(monkeypatch, cluster, **allowed).draft()
    assert {action.name: action.hazard for action in draft.stages[1] if isinstance(action, EvictPod)} == hazards


def test_the_plan_is_cordon_then_evictions_then_uncordon(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(all_pods=[pod("web-1"), pod("web-2"), pod("agent", AGENT), pod("elsewhere", node="worker-2")])
    draft = remediation(monkeypatch, cluster).draft()
    assert [[type(action) for action in stage] for stage in draft.stages] == [
        [Cordon],
        [EvictPod, EvictPod],
        [Uncordon],
    ]
    assert [action.object for action in draft.stages[1]] == ["pod/default/web-1", "pod/default/web-2"]
    assert draft.stages[0][0].object == "node/demo/worker-1"
    assert draft.before["left_alone"] == {"daemonset": 1}
    assert json.loads(json.dumps(draft.before)) == draft.before
    assert cluster.calls == []


def test_the_plan_can_be_read_back_from_a_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    draft = remediation(monkeypatch, FakeCluster(all_pods=[pod("web-1"), pod("bare", None)])).draft()
    kinds = {kind.verb(): kind for kind in RecoverNode.does}
    for action in Plan.from_draft(draft).actions:
        assert kinds[action.verb()].model_validate_json(action.model_dump_json()) == action


def test_the_fingerprint_changes_with_the_pods_and_not_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(all_pods=[pod("web-1")]))
    first = Plan.from_draft(run.draft()).fingerprint
    run.wait(60)
    assert Plan.from_draft(run.draft()).fingerprint == first
    another = remediation(monkeypatch, run.cluster, run_id="r2")
    assert Plan.from_draft(another.draft()).fingerprint == first
    run.cluster.all_pods = [pod("web-1", uid="made anew")]
    assert Plan.from_draft(run.draft()).fingerprint != first


NOTHING = [
    ("gone", None, "gone"),
    ("ready", replace(ILL, ready=True), "Ready again"),
    ("ready, cordoned by a person", replace(ILL, ready=True, unschedulable=True), "Ready again"),
    ("being deleted", replace(ILL, deleting=True), "being deleted"),
    ("opted out, and Ready", replace(ILL, ready=True, labels={OPT_OUT: "true"}), "Ready again"),
]


@pytest.mark.parametrize(("state", "why"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch, state: Any, why: str) -> None:
    draft = remediation(monkeypatch, FakeCluster(state, [pod("web-1")])).draft()
    assert (draft.stages, draft.code) == ((), "nothing_to_do")
    assert why in draft.why


@pytest.mark.parametrize("marked", [{"labels": {OPT_OUT: "true"}}, {"annotations": {OPT_OUT: ""}}])
@pytest.mark.parametrize("ready", [False, True], ids=["ill", "Ready, with a cordon of ours"])
def test_a_marked_node_that_is_not_well_is_not_said_to_be(
    monkeypatch: pytest.MonkeyPatch, marked: dict[str, dict[str, str]], ready: bool
) -> None:
    ours = {"annotations": {CORDONED_BY: "recover_node/r0"}, "unschedulable": True, "cordon_managers": ("paydown",)}
    more: dict[str, Any] = ({"ready": True} | ours) if ready else {}
    more["annotations"] = more.get("annotations", {}) | marked.get("annotations", {})
    state = replace(ILL, **(marked | more))
    draft = remediation(monkeypatch, FakeCluster(state, [pod("web-1")])).draft()
    assert (draft.stages, draft.code) == ((), "opted_out")
    assert "a person marked the node with paydown.dev/opt-out" in draft.why


@pytest.mark.parametrize("ready", [False, None])
def test_a_node_that_turned_a_moment_ago_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, ready: bool | None
) -> None:
    state = replace(ILL, ready=ready, since=START - timedelta(seconds=10))
    run = remediation(monkeypatch, FakeCluster(state), settle_seconds=30)
    assert run.toil.plan(run.target) == NotYet(START + timedelta(seconds=20), "the node changed its state a moment ago")
    run.wait(20)
    assert isinstance(run.toil.plan(run.target), Draft)


def test_a_server_with_a_fast_clock_does_not_put_it_off_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    run = remediation(monkeypatch, FakeCluster(replace(ILL, since=START + timedelta(hours=1))), settle_seconds=30)
    found = run.toil.plan(run.target)
    assert isinstance(found, NotYet)
    assert found.until == START + timedelta(seconds=30)


def kinds(draft: Draft) -> list[list[type[Action]]]:
    return [[type(action) for action in stage] for stage in draft.stages]


def test_somebody_elses_cordon_is_neither_signed_nor_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    cordoned = replace(ILL, unschedulable=True, cordon_managers=("kubectl-cordon",))
    assert kinds(remediation(monkeypatch, FakeCluster(cordoned, [pod("web-1")])).draft()) == [[EvictPod]]
    empty = remediation(monkeypatch, FakeCluster(cordoned, [pod("agent", AGENT)])).draft()
    assert (empty.stages, empty.why) == ((), "the node is cordoned by somebody else, and nothing on it needs to move")
    assert empty.code == "left_to_others"


def test_the_cordon_of_another_toil_type_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    cordoned = replace(ILL, unschedulable=True, annotations={CORDONED_BY: "patch_hosts/r7"})
    assert kinds(remediation(monkeypatch, FakeCluster(cordoned, [pod("web-1")])).draft()) == [[EvictPod]]


def test_the_cordon_of_an_earlier_run_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cordoned = replace(ILL, unschedulable=True, annotations={CORDONED_BY: "recover_node/r0"})
    draft = remediation(monkeypatch, FakeCluster(cordoned, [pod("web-1")])).draft()
    assert kinds(draft) == [[Cordon], [EvictPod], [Uncordon]]
    assert draft.stages[0][0].precondition == "n1 is cordoned by recover_node/r0"


def test_a_node_that_came_back_is_freed_from_what_an_earlier_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left = replace(ILL, ready=True, unschedulable=True, annotations={CORDONED_BY: "recover_node/r0"})
    run = remediation(monkeypatch, FakeCluster(left, [pod("web-1")]))
    assert kinds(run.draft()) == [[Uncordon]]
    run.apply()
    assert run.cluster.calls == ["uncordon"]


@pytest.mark.parametrize(
    ("cluster", "node", "count"), [("demo", "worker-1", 1), ("demo", "master-1", 0), ("other", "worker-1", 0)]
)
def test_targets_are_the_nodes_that_the_inventory_gives_us(cluster: str, node: str, count: int) -> None:
    event = EVENT.model_copy(update={"cluster": cluster, "node": node})
    assert len(list(RecoverNode.targets(event, INVENTORY))) == count


def test_the_sample_event_is_one_that_it_listens_to() -> None:
    path = Path(__file__).parents[4] / "events" / "recover_node" / "node_not_ready.json"
    envelope = json.loads(path.read_text())
    assert envelope["source"] == "paydown"
    assert NodeNotReady in RecoverNode.listens_to
    assert envelope["detail-type"] == NodeNotReady.detail_type()
    event = NodeNotReady.from_detail(envelope["detail"])
    assert [target.ref for target in RecoverNode.targets(event, INVENTORY)] == ["node/demo/worker-1"]


def test_the_pace_is_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remediation(monkeypatch, FakeCluster()).toil.pace().per_second == 10.0
    pace = remediation(monkeypatch, FakeCluster(), evictions_per_second=2.5, parallel=3).toil.pace()
    assert (pace.per_second, pace.parallel) == (2.5, 3)


@pytest.mark.parametrize(
    "faulty", [{"parallel": 0}, {"evictions_per_second": 0}, {"settle_seconds": -1}, {"forced": True}]
)
def test_faulty_settings_are_refused(faulty: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(faulty))):
        Settings.model_validate(faulty)
