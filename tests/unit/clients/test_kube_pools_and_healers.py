"""Which nodes stand in for each other, and who else looks after them, by what a Node shows."""

from __future__ import annotations

from typing import Any

import pytest

from paydown.clients.kube import STOPPED, NodeState, at_work, native_healer, pool
from paydown.limits import Healers

CREATED = "2026-01-01T00:00:00Z"


def node(
    *taints: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, owner: str = ""
) -> NodeState:
    meta: dict[str, Any] = {
        "name": "worker-1",
        "uid": "n1",
        "resourceVersion": "7",
        "creationTimestamp": CREATED,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [{"kind": owner, "name": "general-x7k2p", "uid": "o1"}] if owner else None,
    }
    return NodeState.parse(
        {"metadata": meta, "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}}
    )


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({}, "workers"),
        ({"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""}, "workers"),
        ({"node-role.kubernetes.io/control-plane": ""}, "control-plane"),
        ({"node-role.kubernetes.io/master": "", "kops.k8s.io/instancegroup": "masters"}, "control-plane"),
        ({"eks.amazonaws.com/nodegroup": "blue"}, "eks.amazonaws.com/nodegroup=blue"),
        ({"alpha.eksctl.io/nodegroup-name": "b", "eks.amazonaws.com/nodegroup": "a"}, "eks.amazonaws.com/nodegroup=a"),
        ({"karpenter.sh/nodepool": "gpu"}, "karpenter.sh/nodepool=gpu"),
        ({"karpenter.sh/nodepool": ""}, "workers"),
    ],
)
def test_pools(labels: dict[str, str], name: str) -> None:
    assert pool(labels) == name


SNR = "is-reboot-capable.self-node-remediation.medik8s.io"
GARDENER = "node.machine.sapcloud.io/last-applied-anno-labels-taints"
SEEN = [
    ({}, {}, "", None),
    ({"topology.kubernetes.io/zone": "a"}, {"node.alpha.kubernetes.io/ttl": "0"}, "", None),
    ({"karpenter.sh/nodepool": "general"}, {}, "NodeClaim", "karpenter"),
    ({}, {}, "NodeClaim", "karpenter"),
    ({"karpenter.sh/nodepool": "system", "eks.amazonaws.com/compute-type": "auto"}, {}, "", "karpenter"),
    ({"eks.amazonaws.com/nodegroup": "blue"}, {}, "", "auto_scaling"),
    ({"alpha.eksctl.io/nodegroup-name": "blue"}, {}, "", "auto_scaling"),
    ({"kops.k8s.io/instancegroup": "nodes"}, {}, "", "auto_scaling"),
    ({"cloud.google.com/gke-nodepool": "default"}, {}, "", "auto_scaling"),
    ({"kubernetes.azure.com/agentpool": "default"}, {}, "", "auto_scaling"),
    ({"bosh.id": "29e4a450", "bosh.zone": "z1", "spec.ip": "10.0.11.6"}, {}, "", "bosh"),
    ({}, {SNR: "true"}, "", "node_health_check"),
    ({}, {"cluster.x-k8s.io/machine": "blue-x7k2p"}, "", "node_health_check"),
    ({}, {"machine.openshift.io/machine": "openshift-machine-api/worker-0"}, "", "node_health_check"),
    ({"worker.gardener.cloud/pool": "a"}, {GARDENER: "{}"}, "", "node_health_check"),
    ({"eks.amazonaws.com/nodegroup": "blue"}, {SNR: "true"}, "", "node_health_check"),
    ({"remediation.medik8s.io/exclude-from-remediation": "true"}, {SNR: "true"}, "", None),
    (
        {"remediation.medik8s.io/exclude-from-remediation": "true", "eks.amazonaws.com/nodegroup": "blue"},
        {SNR: "true"},
        "",
        "auto_scaling",
    ),
    (
        {"worker.gardener.cloud/pool": "a"},
        {GARDENER: "{}", "node.machine.sapcloud.io/not-managed-by-mcm": "true"},
        "",
        None,
    ),
]


@pytest.mark.parametrize(("labels", "annotations", "owner", "kind"), SEEN)
def test_native_healers(labels: dict[str, str], annotations: dict[str, str], owner: str, kind: str | None) -> None:
    assert native_healer(node(labels=labels, annotations=annotations, owner=owner)) == kind


def test_each_kind_has_a_time_in_the_policy() -> None:
    kinds = {kind for *_, kind in SEEN if kind is not None}
    assert kinds == set(Healers.model_fields) - {"margin_seconds"}


@pytest.mark.parametrize(
    ("taint", "who"),
    [
        ("karpenter.sh/disrupted", "Karpenter"),
        ("karpenter.sh/disruption", "Karpenter"),
        ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler"),
        ("medik8s.io/remediation", "medik8s"),
        ("medik8s.io/fence-agents-remediation", "medik8s"),
        ("remediation.medik8s.io/fence-agents-remediation", "medik8s"),
    ],
)
def test_who_has_begun(taint: str, who: str) -> None:
    found = at_work(node("node.kubernetes.io/unreachable", taint))
    assert found == f"{who} is at work on the node (taint {taint})"


@pytest.mark.parametrize(
    "taint",
    ["node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable", "DeletionCandidateOfClusterAutoscaler"],
)
def test_what_is_nobodys_beginning(taint: str) -> None:
    assert at_work(node(taint)) == ""


def test_a_stopped_machine() -> None:
    assert node(STOPPED, "node.kubernetes.io/unreachable").stopped
    assert not node("node.kubernetes.io/unreachable").stopped
