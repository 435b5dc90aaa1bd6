"""The scheduler: a ready node that takes the pod, spread by owner first, then by load, then by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from local.cluster import selectors
from local.cluster.api import Options
from local.cluster.clock import stamp
from local.cluster.controllers.common import Context, condition, controller_of
from local.cluster.controllers.nodes import ready_status, tolerates
from local.cluster.kinds import NODES, PODS
from local.cluster.store import Object

_SCHEDULER = "kube-scheduler"
_REPELLING = frozenset({"NoSchedule", "NoExecute"})


def run(context: Context) -> None:
    """Bind every pod that waits for a node and fits one."""
    pods = context.api.store.all(PODS)
    waiting = [pod for pod in pods if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]]
    if not waiting:
        return
    nodes = context.api.store.all(NODES)
    load: Counter[str] = Counter()
    spread: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        if name := pod["spec"].get("nodeName"):
            load[name] += 1
            if "deletionTimestamp" not in pod["metadata"]:
                spread[controller_of(pod), name] += 1
    for pod in sorted(waiting, key=lambda item: item["metadata"]["creationTimestamp"]):
        owner = controller_of(pod)
        fitting = [node for node in nodes if fits(pod, node) and load[node["metadata"]["name"]] < _room(node)]
        if not fitting:
            _say_unschedulable(context, pod, len(nodes))
            continue
        name = min(
            (node["metadata"]["name"] for node in fitting), key=lambda name: (spread[owner, name], load[name], name)
        )
        bound = {**pod, "spec": {**pod["spec"], "nodeName": name}}
        stored = context.api.commit(PODS, pod, bound, Options(_SCHEDULER, subresource="binding"))
        at = stamp(context.now)
        changed = condition(stored.get("status", {}), "PodScheduled", "True", None, None, at)
        context.api.set_status(PODS, stored, {"conditions": changed}, _SCHEDULER)
        load[name] += 1
        spread[owner, name] += 1


def fits(pod: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Whether a node is ready, not cordoned, tolerated, and what the pod's selector and required affinity ask for."""
    spec = pod["spec"]
    if ready_status(node) != "True" or node["spec"].get("unschedulable"):
        return False
    repelling = [taint for taint in node["spec"].get("taints") or [] if taint["effect"] in _REPELLING]
    if not all(tolerates(spec.get("tolerations") or [], taint) for taint in repelling):
        return False
    return wants(spec, node)


def wants(spec: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Whether a pod's nodeSelector and required node affinity select a node."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms")
    return terms is None or any(_term(term, labels, node["metadata"]["name"]) for term in terms)


def _term(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    if not term.get("matchExpressions") and not term.get("matchFields"):
        return False  # as in the API: an empty term selects nothing
    by_label = selectors.from_object({"matchExpressions": term.get("matchExpressions") or []})
    by_field = selectors.from_object({"matchExpressions": term.get("matchFields") or []})
    return selectors.matches(by_label, labels) and selectors.matches(by_field, {"metadata.name": name})


def _room(node: Object) -> int:
    return int(node.get("status", {}).get("allocatable", {}).get("pods", 110))


def _say_unschedulable(context: Context, pod: Object, nodes: int) -> None:
    message = f"0/{nodes} nodes are available."
    status = pod.get("status", {})
    changed = condition(status, "PodScheduled", "False", "Unschedulable", message, stamp(context.now))
    context.api.set_status(PODS, pod, {"conditions": changed}, _SCHEDULER)
