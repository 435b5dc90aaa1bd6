"""Seed files: the nodes and objects that a cluster starts with.

A seed is a YAML map. `cluster` names it; `nodes` are machines with a kubelet; `deployments`, `statefulsets`,
`daemonsets`, `budgets` and `pods` are short forms; `objects` are plain manifests. docs/stand-in-cluster.md lists
the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from local.cluster import kinds
from local.cluster.api import Api, Options
from local.cluster.kinds import NAMESPACES, PODS
from local.cluster.machines import Machine, Machines

Entry = Mapping[str, Any]
_MANAGER = Options("seed")
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_WORKLOAD = frozenset(
    {
        "name",
        "namespace",
        "labels",
        "replicas",
        "image",
        "grace",
        "empty_dir",
        "node_selector",
        "tolerations",
        "annotations",
    }
)
_KEYS: dict[str, frozenset[str]] = {
    "nodes": frozenset({"name", "labels", "taints", "control_plane", "provider_id", "address", "static_pods"}),
    "deployments": _WORKLOAD,
    "statefulsets": _WORKLOAD,
    "daemonsets": _WORKLOAD - {"replicas"},
    "budgets": frozenset({"name", "namespace", "app", "min_available", "max_unavailable", "unhealthy"}),
    "pods": (_WORKLOAD - {"replicas"}) | {"node"},
}


class SeedError(ValueError):
    """A seed file that cannot be used; the message names the place."""


def read(path: Path) -> dict[str, Any]:
    """The content of a seed file. Raises SeedError for what is no map, and for unknown keys."""
    try:
        seed = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SeedError(f"{path}: {error}") from error
    if not isinstance(seed, dict):
        raise SeedError(f"{path}: expected a map")
    unknown = sorted(set(seed) - {"cluster", "objects", *_KEYS})
    if unknown:
        raise SeedError(f"{path}: unknown keys: {', '.join(unknown)}")
    for section, known in _KEYS.items():
        for index, entry in enumerate(seed.get(section) or []):
            if not isinstance(entry, dict) or not entry.get("name"):
                raise SeedError(f"{path}: {section}[{index}]: expected a map with a name")
            if set(entry) - known:
                raise SeedError(f"{path}: {section}[{index}]: unknown keys: {', '.join(sorted(set(entry) - known))}")
    return seed


def lay_out(seed: Entry, api: Api, machines: Machines) -> None:
    """Create what a seed declares. Raises ApiError for an object that the API refuses."""
    for entry in seed.get("nodes") or []:
        machines.add(_machine(entry))
    for section, build in _BUILDERS.items():
        for entry in seed.get(section) or []:
            _create(api, build(entry))
    for manifest in seed.get("objects") or []:
        _create(api, manifest)


def _create(api: Api, manifest: Entry) -> None:
    resource = kinds.of_kind(manifest.get("apiVersion", ""), manifest.get("kind", ""), api.definitions())
    if resource is None:
        raise SeedError(f"objects: unknown kind {manifest.get('apiVersion')}/{manifest.get('kind')}")
    namespace = manifest["metadata"].get("namespace", "default") if resource.namespaced else ""
    if namespace and not api.store.get(NAMESPACES, "", namespace):
        api.create(NAMESPACES, "", {"metadata": {"name": namespace}}, _MANAGER)
    api.create(resource, namespace, manifest, _MANAGER)


def _machine(entry: Entry) -> Machine:
    labels, taints = dict(entry.get("labels") or {}), list(entry.get("taints") or [])
    if entry.get("control_plane"):
        labels[_CONTROL_PLANE] = ""
        taints.append({"key": _CONTROL_PLANE, "effect": "NoSchedule"})
    static = [_pod({"namespace": "kube-system", **given}) for given in entry.get("static_pods") or []]
    return Machine(
        name=entry["name"],
        labels=labels,
        taints=taints,
        provider_id=entry.get("provider_id", f"stand-in:///{entry['name']}"),
        address=entry.get("address", ""),
        static_pods=static,
    )


def _metadata(entry: Entry) -> dict[str, Any]:
    labels = {"app": entry["name"], **(entry.get("labels") or {})}
    return {"name": entry["name"], "namespace": entry.get("namespace", "default"), "labels": labels}


def _pod_spec(entry: Entry) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": entry.get("image", f"registry.example/{entry['name']}:1")}
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": entry.get("grace", 30)}
    if entry.get("empty_dir"):
        container["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
        spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    if entry.get("node_selector"):
        spec["nodeSelector"] = dict(entry["node_selector"])
    if entry.get("tolerations"):
        spec["tolerations"] = list(entry["tolerations"])
    if entry.get("node"):
        spec["nodeName"] = entry["node"]
    return spec


def _pod(entry: Entry) -> dict[str, Any]:
    metadata = {**_metadata(entry), "annotations": dict(entry.get("annotations") or {})}
    return {"apiVersion": PODS.api_version, "kind": PODS.kind, "metadata": metadata, "spec": _pod_spec(entry)}


def _workload(kind: str) -> Callable[[Entry], dict[str, Any]]:
    def build(entry: Entry) -> dict[str, Any]:
        metadata = _metadata(entry)
        template = {
            "metadata": {"labels": metadata["labels"], "annotations": dict(entry.get("annotations") or {})},
            "spec": _pod_spec(entry),
        }
        spec: dict[str, Any] = {"selector": {"matchLabels": {"app": entry["name"]}}, "template": template}
        if kind != "DaemonSet":
            spec["replicas"] = entry.get("replicas", 1)
        if kind == "StatefulSet":
            spec["serviceName"] = entry["name"]
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}

    return build


def _budget(entry: Entry) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": entry.get("app", entry["name"])}}}
    for key, field in (
        ("min_available", "minAvailable"),
        ("max_unavailable", "maxUnavailable"),
        ("unhealthy", "unhealthyPodEvictionPolicy"),
    ):
        if key in entry:
            spec[field] = entry[key]
    metadata = {"name": entry["name"], "namespace": entry.get("namespace", "default")}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


_BUILDERS: dict[str, Callable[[Entry], dict[str, Any]]] = {
    "budgets": _budget,
    "deployments": _workload("Deployment"),
    "statefulsets": _workload("StatefulSet"),
    "daemonsets": _workload("DaemonSet"),
    "pods": _pod,
}
