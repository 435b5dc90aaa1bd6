"""Nodes, pods and workloads as the API gives them, cut down to what decisions need."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.clients.kube import CORDONED_AT, CORDONED_BY, OPT_OUT, ClusterApi, NodeState, Owner, Pod
from paydown.clients.kube.http import Http
from paydown.clients.kube.transport import Request, Response

CREATED = "2026-01-01T00:00:00Z"
CHANGED = "2026-01-02T00:00:00Z"


def node(ready: str | None = "Unknown", *, managers: tuple[str, ...] = (), **more: Any) -> NodeState:
    conditions = [{"type": "MemoryPressure", "status": "Unknown", "lastTransitionTime": CREATED}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": ready, "lastTransitionTime": CHANGED})
    owned = {"f:spec": {"f:unschedulable": {}}}
    meta = {
        "name": "worker-1",
        "uid": "n1",
        "resourceVersion": "7",
        "creationTimestamp": CREATED,
        "managedFields": [
            {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}},
            *({"manager": manager, "operation": "Update", "fieldsV1": owned} for manager in managers),
        ],
        **more.pop("meta", {}),
    }
    return NodeState.parse({"metadata": meta, "spec": more, "status": {"conditions": conditions}})


@pytest.mark.parametrize(
    ("condition", "ready", "since"),
    [("True", True, CHANGED), ("False", False, CHANGED), ("Unknown", False, CHANGED), (None, None, CREATED)],
)
def test_readiness(condition: str | None, ready: bool | None, since: str) -> None:
    state = node(condition)
    assert (state.ready, state.since) == (ready, datetime.fromisoformat(since))


SIGNED = {"annotations": {CORDONED_BY: "recover_node/r1", CORDONED_AT: "2026-01-02T03:04:05+00:00"}}


@pytest.mark.parametrize(
    ("state", "by"),
    [
        (node(unschedulable=True, meta=SIGNED, managers=("paydown",)), "recover_node/r1"),
        (node(unschedulable=True, meta=SIGNED), "recover_node/r1"),  # a server that tracks no managers
        (node(unschedulable=True, meta=SIGNED, managers=("kubectl-cordon",)), None),  # uncordoned and cordoned by hand
        (node(unschedulable=True, managers=("kubectl-cordon",)), None),
        (node(meta=SIGNED), None),  # uncordoned by hand: the signature stays behind
    ],
    ids=["ours", "ours, untracked", "by hand over ours", "by hand", "uncordoned by hand"],
)
def test_whose_cordon_it_is(state: NodeState, by: str | None) -> None:
    assert state.cordoned_by == by


def test_when_it_was_cordoned() -> None:
    assert node(meta=SIGNED).cordoned_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert node(meta={"annotations": {CORDONED_AT: "yesterday"}}).cordoned_at is None
    assert node().cordoned_at is None


@pytest.mark.parametrize(
    ("meta", "opted_out"),
    [
        ({}, False),
        ({"labels": {OPT_OUT: "true"}}, True),
        ({"annotations": {OPT_OUT: "until the disk is swapped"}}, True),
        ({"annotations": {OPT_OUT: "False"}}, False),
    ],
)
def test_opting_out(meta: dict[str, Any], opted_out: bool) -> None:
    assert node(meta=meta).opted_out is opted_out


def test_a_pod_keeps_what_decisions_need() -> None:
    owners = [
        {"kind": "Thing", "name": "other", "uid": "o0"},
        {"kind": "ReplicaSet", "name": "web-5d", "uid": "o1", "controller": True},
    ]
    pod = Pod.parse(
        {
            "metadata": {
                "namespace": "default",
                "name": "web-5d-x",
                "uid": "p1",
                "ownerReferences": owners,
                "deletionTimestamp": "2026-01-02T00:00:30Z",
                "annotations": {"kubernetes.io/config.mirror": "abc"},
            },
            "spec": {
                "nodeName": "worker-1",
                "volumes": [{"name": "a", "configMap": {}}, {"name": "b", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        }
    )
    assert pod == Pod(
        namespace="default",
        name="web-5d-x",
        uid="p1",
        node="worker-1",
        phase="Running",
        ready=False,
        deadline=datetime(2026, 1, 2, 0, 0, 30, tzinfo=UTC),
        mirror=True,
        empty_dir=True,
        owner=Owner("ReplicaSet", "web-5d", "o1"),
    )
    assert (pod.ref, pod.finished) == ("default/web-5d-x", False)


def test_why_a_pod_has_no_node() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
    pod = Pod.parse({"metadata": {"namespace": "a", "name": "b", "uid": "c"}, "status": {"conditions": [condition]}})
    assert (pod.unplaced, pod.node, pod.phase) == ("0/3 nodes are available: 3 Insufficient cpu.", None, "Pending")


class Recorder:
    """Answers every request alike, and keeps them."""

    def __init__(self, status: int, body: Any = None) -> None:
        self.response = Response(status, json.dumps(body or {}).encode())
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response


def api(server: Recorder) -> ClusterApi:
    return ClusterApi(Http(server, name="prod", identity="operator"))


def job(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "o1"}, "spec": spec, "status": status or {}}


@pytest.mark.parametrize(
    ("kind", "body", "wanted"),
    [
        ("ReplicaSet", {"metadata": {"uid": "o1"}, "spec": {"replicas": 4}}, 4),
        ("ReplicaSet", {"metadata": {"uid": "o1"}, "spec": {"replicas": 0}}, 0),
        ("StatefulSet", {"metadata": {"uid": "o1"}, "spec": {}}, 1),
        ("ReplicaSet", {"metadata": {"uid": "made anew"}, "spec": {"replicas": 4}}, 0),
        ("Job", job(parallelism=3, completions=10), 3),
        ("Job", job({"succeeded": 9}, parallelism=3, completions=10), 1),
        ("Job", job(parallelism=2), 2),
        ("Job", job(parallelism=2, suspend=True), 0),
        ("Job", job({"conditions": [{"type": "Complete", "status": "True"}]}, parallelism=2), 0),
        ("Rollout", None, None),
    ],
)
def test_how_many_pods_a_controller_wants(kind: str, body: Any, wanted: int | None) -> None:
    assert api(Recorder(200, body)).wanted("default", Owner(kind, "web", "o1")) == wanted


def test_a_controller_that_is_gone_wants_none() -> None:
    assert api(Recorder(404)).wanted("default", Owner("ReplicaSet", "web", "o1")) == 0


def test_cordon_and_uncordon_are_signed_and_bound_to_what_was_read() -> None:
    server = Recorder(200)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert api(server).cordon(node(), by="recover_node/r1", at=at)
    assert api(server).uncordon(node())
    cordon, uncordon = server.requests
    assert (cordon.method, cordon.path, cordon.query) == (
        "PATCH",
        "/api/v1/nodes/worker-1",
        {"fieldManager": "paydown"},
    )
    assert cordon.headers["Content-Type"] == "application/merge-patch+json"
    assert cordon.body == {
        "metadata": {
            "resourceVersion": "7",
            "annotations": {CORDONED_BY: "recover_node/r1", CORDONED_AT: "2026-01-02T00:00:00+00:00"},
        },
        "spec": {"unschedulable": True},
    }
    assert uncordon.body == {
        "metadata": {"resourceVersion": "7", "annotations": {CORDONED_BY: None, CORDONED_AT: None}},
        "spec": {"unschedulable": None},
    }


@pytest.mark.parametrize("status", [404, 409])
def test_a_node_that_changed_meanwhile_is_not_patched(status: int) -> None:
    assert not api(Recorder(status)).cordon(node(), by="x", at=datetime(2026, 1, 2, tzinfo=UTC))
