"""The rights that our calls need: those of the cluster roles in deploy/kubernetes/paydown-rbac.yaml."""

from __future__ import annotations

from typing import NamedTuple


class Right(NamedTuple):
    """A verb on a resource (`pods/eviction` for a subresource) of an API group, in all namespaces."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


READER = (
    Right("", "nodes", "get"),
    Right("", "nodes", "list"),
    Right("", "pods", "list"),
    Right("", "replicationcontrollers", "get"),
    Right("", "replicationcontrollers", "list"),
    Right("apps", "controllerrevisions", "list"),
    Right("apps", "daemonsets", "list"),
    Right("apps", "deployments", "list"),
    Right("apps", "replicasets", "get"),
    Right("apps", "replicasets", "list"),
    Right("apps", "statefulsets", "get"),
    Right("apps", "statefulsets", "list"),
    Right("batch", "cronjobs", "list"),
    Right("batch", "jobs", "get"),
    Right("batch", "jobs", "list"),
)
OPERATOR = (*READER, Right("", "nodes", "patch"), Right("", "pods/eviction", "create"))
