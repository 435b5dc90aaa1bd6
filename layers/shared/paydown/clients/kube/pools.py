"""The pool that a node belongs to: the nodes that stand in for each other, so that a few of them may be down."""

from __future__ import annotations

from collections.abc import Mapping

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")

GROUPS = (
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "kops.k8s.io/instancegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "worker.gardener.cloud/pool",
)
"""Labels whose value names the group of a node; the first that a node carries counts."""


def pool(labels: Mapping[str, str]) -> str:
    """The pool of a node with these labels, by a name that is unique within its cluster.

    A control-plane node belongs to `control-plane` whatever else it carries; another one to the group that a label of
    its makers names (`karpenter.sh/nodepool=general`), or else to `workers`.
    """
    if any(role in labels for role in CONTROL_PLANE):
        return "control-plane"
    return next((f"{key}={labels[key]}" for key in GROUPS if labels.get(key)), "workers")
