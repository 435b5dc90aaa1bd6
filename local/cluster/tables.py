"""Lists as tables, which is how kubectl asks for what it prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from local.cluster.clock import seconds_of
from local.cluster.kinds import Resource
from local.cluster.store import Object

Column = tuple[str, Callable[[Object], Any]]


def table(resource: Resource, items: Sequence[Object], metadata: Object, include: str, now: float) -> dict[str, Any]:
    """A metav1.Table of objects; `include` is the query's includeObject: None, Metadata or Object."""
    columns: list[Column] = [("Name", lambda item: item["metadata"]["name"])]
    columns += _COLUMNS.get(resource.kind, []) if not resource.custom else []
    definitions = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name, _ in columns
    ]
    definitions.append({"name": "Age", "type": "string", "format": "", "description": "", "priority": 0})
    rows = [
        {
            "cells": [*(read(item) for _, read in columns), _age(item, now)],
            "object": _shown(item, include),
        }
        for item in items
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _shown(item: Object, include: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return item
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _age(item: Object, now: float) -> str:
    seconds = max(0, int(now - seconds_of(item["metadata"]["creationTimestamp"])))
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _path(*names: str, default: Any = "") -> Callable[[Object], Any]:
    def read(item: Object) -> Any:
        value: Any = item
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return default if value is None else value

    return read


def _node_status(node: Object) -> str:
    ready = [held for held in node.get("status", {}).get("conditions", []) if held["type"] == "Ready"]
    words = {"True": "Ready", "False": "NotReady"}
    status = words.get(ready[0]["status"], "NotReady") if ready else "Unknown"
    return status + (",SchedulingDisabled" if node["spec"].get("unschedulable") else "")


def _roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(name.removeprefix(prefix) for name in labels if name.startswith(prefix))) or "<none>"


def _pod_status(pod: Object) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for held in pod.get("status", {}).get("containerStatuses", []):
        waiting = held.get("state", {}).get("waiting", {}).get("reason")
        if waiting:
            return str(waiting)
    return str(pod.get("status", {}).get("phase", "Unknown"))


def _pod_ready(pod: Object) -> str:
    ready = sum(bool(held.get("ready")) for held in pod.get("status", {}).get("containerStatuses", []))
    return f"{ready}/{len(pod['spec'].get('containers', []))}"


def _restarts(pod: Object) -> str:
    return str(sum(held.get("restartCount", 0) for held in pod.get("status", {}).get("containerStatuses", [])))


def _ready_of(total: Callable[[Object], Any]) -> Callable[[Object], str]:
    return lambda item: f"{item.get('status', {}).get('readyReplicas', 0)}/{total(item)}"


_REPLICAS = _path("spec", "replicas", default=0)
_COLUMNS: dict[str, list[Column]] = {
    "Node": [("Status", _node_status), ("Roles", _roles), ("Version", _path("status", "nodeInfo", "kubeletVersion"))],
    "Pod": [
        ("Ready", _pod_ready),
        ("Status", _pod_status),
        ("Restarts", _restarts),
        ("IP", _path("status", "podIP", default="<none>")),
        ("Node", _path("spec", "nodeName", default="<none>")),
    ],
    "Namespace": [("Status", _path("status", "phase"))],
    "Deployment": [
        ("Ready", _ready_of(_REPLICAS)),
        ("Up-to-date", _path("status", "updatedReplicas", default=0)),
        ("Available", _path("status", "availableReplicas", default=0)),
    ],
    "ReplicaSet": [
        ("Desired", _REPLICAS),
        ("Current", _path("status", "replicas", default=0)),
        ("Ready", _path("status", "readyReplicas", default=0)),
    ],
    "StatefulSet": [("Ready", _ready_of(_REPLICAS))],
    "DaemonSet": [
        ("Desired", _path("status", "desiredNumberScheduled", default=0)),
        ("Current", _path("status", "currentNumberScheduled", default=0)),
        ("Ready", _path("status", "numberReady", default=0)),
    ],
    "PodDisruptionBudget": [
        ("Min Available", _path("spec", "minAvailable", default="N/A")),
        ("Max Unavailable", _path("spec", "maxUnavailable", default="N/A")),
        ("Allowed Disruptions", _path("status", "disruptionsAllowed", default=0)),
    ],
    "Event": [
        ("Type", _path("type")),
        ("Reason", _path("reason")),
        ("Object", lambda item: "{kind}/{name}".format(**{"kind": "", "name": "", **item.get("involvedObject", {})})),
        ("Message", _path("message")),
    ],
    "Lease": [("Holder", _path("spec", "holderIdentity"))],
    "Service": [("Type", _path("spec", "type")), ("Cluster-IP", _path("spec", "clusterIP", default="<none>"))],
}
