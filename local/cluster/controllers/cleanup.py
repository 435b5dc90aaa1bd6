"""Collectors: what lost its owner, pods that nobody runs any more, namespaces that are being deleted."""

from __future__ import annotations

from local.cluster import deletion, kinds
from local.cluster.controllers.common import Context
from local.cluster.controllers.nodes import ready_status
from local.cluster.defaults import OUT_OF_SERVICE
from local.cluster.kinds import NAMESPACES, NODES, PODS
from local.cluster.store import Object

_NOW = {"gracePeriodSeconds": 0}


def run(context: Context) -> None:
    """One pass of the three collectors."""
    _collect_dependents(context)
    _collect_pods(context)
    _finish_namespaces(context)


def _collect_dependents(context: Context) -> None:
    """Delete what has owners and none of them exists."""
    store = context.api.store
    resources = list({resource.key: resource for resource in kinds.served(context.api.definitions())}.values())
    held = [(resource, item) for resource in resources for item in store.all(resource)]
    present = {item["metadata"]["uid"] for _, item in held}
    for resource, item in held:
        owners = item["metadata"].get("ownerReferences") or []
        marked = "deletionTimestamp" in item["metadata"]
        if owners and not marked and not any(owner.get("uid") in present for owner in owners):
            deletion.mark_or_remove(context.api, resource, item, {})


def _collect_pods(context: Context) -> None:
    """Force out pods whose node is gone, or dead and declared out of service; a dead node alone keeps its pods."""
    store = context.api.store
    nodes = {node["metadata"]["name"]: node for node in store.all(NODES)}
    for pod in store.all(PODS):
        name, marked = pod["spec"].get("nodeName", ""), "deletionTimestamp" in pod["metadata"]
        node = nodes.get(name)
        if not name:
            lost = marked
        elif node is None:
            lost = True
        else:
            lost = marked and ready_status(node) != "True" and _out_of_service(node)
        if lost and context.timers.ripe(("collect", pod["metadata"]["uid"]), context.settings.collect, context.now):
            deletion.mark_or_remove(context.api, PODS, pod, _NOW)


def _out_of_service(node: Object) -> bool:
    return any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or [])


def _finish_namespaces(context: Context) -> None:
    """Empty the namespaces that are being deleted; let them go when nothing is left in them."""
    store = context.api.store
    for namespace in store.all(NAMESPACES):
        if "deletionTimestamp" not in namespace["metadata"]:
            continue
        name, left = namespace["metadata"]["name"], 0
        for resource in kinds.served(context.api.definitions()):
            if not resource.namespaced:
                continue
            for item in store.all(resource, name):
                if "deletionTimestamp" not in item["metadata"]:
                    deletion.mark_or_remove(context.api, resource, item, {})
            left += len(store.all(resource, name))
        if not left:
            store.remove(NAMESPACES, namespace)
