"""The small subresources: scale and binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from local.cluster.api import Api, Options
from local.cluster.failures import bad_request, conflict
from local.cluster.kinds import PODS, Resource
from local.cluster.store import Object


def scale(api: Api, resource: Resource, namespace: str, name: str) -> Object:
    """The Scale of a workload."""
    return _scale_of(api.get(resource, namespace, name))


def rescale(
    api: Api, resource: Resource, namespace: str, name: str, change: Callable[[Object], Any], options: Options
) -> Object:
    """Change a workload's replicas through its Scale. Raises ApiError 404, 409, 422."""
    with api.store.lock:
        item = api.get(resource, namespace, name)
        wanted = change(_scale_of(item))
        replicas = ((wanted.get("spec") or {}) if isinstance(wanted, Mapping) else {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise bad_request(f"spec.replicas must be a whole number, not {replicas!r}")
        metadata = {**item["metadata"]}
        given = (wanted.get("metadata") or {}).get("resourceVersion")
        if given:
            metadata["resourceVersion"] = given
        changed = {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": replicas}}
        plain = Options(options.manager, options.dry_run)
        return _scale_of(api.commit(resource, item, changed, plain))


def _scale_of(item: Object) -> Object:
    metadata = item["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    status = {
        "replicas": item.get("status", {}).get("replicas", 0),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
    }
    spec = {"replicas": item["spec"].get("replicas", 0)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}


def bind(api: Api, namespace: str, name: str, body: Mapping[str, Any], options: Options) -> Object:
    """Put a pod on a node, as a scheduler does. Raises ApiError 400, 404, 409 when it has a node already."""
    node = (body.get("target") or {}).get("name")
    if not node:
        raise bad_request("a binding needs target.name")
    with api.store.lock:
        pod = api.get(PODS, namespace, name)
        if pod["spec"].get("nodeName"):
            raise conflict("pods/binding", name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        api.commit(PODS, pod, bound, Options(options.manager, options.dry_run, subresource="binding"))
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
