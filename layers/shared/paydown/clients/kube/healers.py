"""Native healers: who else looks after a node, and who has begun to, by what the Node object alone shows.

Whether a healer is switched on is in its own settings, which are not read: a node that could have one is taken to have
it, and the policy says how long it is given. docs/recover-node.md lists what is recognised by what.
"""

from __future__ import annotations

from paydown.clients.kube.objects import NodeState

_LABELS = {
    "karpenter.sh/nodepool": "karpenter",
    "bosh.id": "bosh",
    "worker.gardener.cloud/pool": "node_health_check",
    "eks.amazonaws.com/nodegroup": "auto_scaling",
    "alpha.eksctl.io/nodegroup-name": "auto_scaling",
    "kops.k8s.io/instancegroup": "auto_scaling",
    "cloud.google.com/gke-nodepool": "auto_scaling",
    "kubernetes.azure.com/agentpool": "auto_scaling",
}
_ANNOTATIONS = {
    "is-reboot-capable.self-node-remediation.medik8s.io": "node_health_check",
    "cluster.x-k8s.io/machine": "node_health_check",
    "machine.openshift.io/machine": "node_health_check",
    "node.machine.sapcloud.io/last-applied-anno-labels-taints": "node_health_check",
}
_UNLESS = {
    "is-reboot-capable.self-node-remediation.medik8s.io": "remediation.medik8s.io/exclude-from-remediation",
    "worker.gardener.cloud/pool": "node.machine.sapcloud.io/not-managed-by-mcm",
    "node.machine.sapcloud.io/last-applied-anno-labels-taints": "node.machine.sapcloud.io/not-managed-by-mcm",
}
"""Labels or annotations with which people keep a healer from a node, by what shows that healer."""
_ORDER = ("karpenter", "bosh", "node_health_check", "auto_scaling")
"""Of several, the first counts: the nearer to the single node, the earlier."""

_BEGUN = {
    "karpenter.sh/disrupted": "Karpenter",
    "karpenter.sh/disruption": "Karpenter",
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler",
    "medik8s.io/remediation": "medik8s",
    "medik8s.io/fence-agents-remediation": "medik8s",
    "remediation.medik8s.io/fence-agents-remediation": "medik8s",
}
"""Taints that a healer sets when it begins, and removes when it has ended or given up."""


def native_healer(node: NodeState) -> str | None:
    """The kind of healer (as the policy's `healers` call it) that looks after this node, as far as one can see."""
    shown = [key for key in _LABELS if key in node.labels] + [key for key in _ANNOTATIONS if key in node.annotations]
    kinds = {_LABELS.get(key) or _ANNOTATIONS[key] for key in shown if not _kept_away(node, _UNLESS.get(key, ""))}
    if "NodeClaim" in node.owners:
        kinds.add("karpenter")
    return next((kind for kind in _ORDER if kind in kinds), None)


def at_work(node: NodeState) -> str:
    """Which other healer has begun on this node, in words; empty if none has."""
    begun = next((key for key in node.taints if key in _BEGUN), None)
    return f"{_BEGUN[begun]} is at work on the node (taint {begun})" if begun else ""


def _kept_away(node: NodeState, mark: str) -> bool:
    return node.labels.get(mark, node.annotations.get(mark)) == "true"
