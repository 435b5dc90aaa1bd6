"""The node lifecycle: silent kubelets, the taints that follow a node's condition, and what those taints evict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from local.cluster import deletion
from local.cluster.api import Options
from local.cluster.clock import seconds_of, stamp
from local.cluster.controllers.common import Context, condition, is_ready
from local.cluster.defaults import NOT_READY, UNREACHABLE, UNSCHEDULABLE
from local.cluster.events import record
from local.cluster.kinds import NODES, PODS
from local.cluster.store import Object

_MANAGER = Options("kube-controller-manager")
_SILENT = ("NodeStatusUnknown", "Kubelet stopped posting node status.")


def run(context: Context) -> None:
    """One pass: conditions, taints, the pods' readiness, evictions by taint."""
    evicting: dict[str, list[Object]] = {}
    not_ready = set()
    for node in context.api.store.all(NODES):
        current = _taint(context, _silence(context, node))
        name = current["metadata"]["name"]
        ready = ready_status(current)
        if ready not in {"True", ""}:
            not_ready.add(name)
        evicting[name] = [taint for taint in current["spec"].get("taints") or [] if taint["effect"] == "NoExecute"]
    for pod in context.api.store.all(PODS):
        name = pod["spec"].get("nodeName", "")
        if name in not_ready and is_ready(pod):
            at = stamp(context.now)
            changed = condition(pod["status"], "Ready", "False", "NodeNotReady", "node is not ready", at)
            pod = context.api.set_status(PODS, pod, {"conditions": changed}, "kube-controller-manager")  # noqa: PLW2901
        if evicting.get(name) and "deletionTimestamp" not in pod["metadata"]:
            _evict(context, pod, evicting[name])


def ready_status(node: Mapping[str, Any]) -> str:
    """The status of the Ready condition: True, False, Unknown, or "" when the node never reported."""
    for held in (node.get("status") or {}).get("conditions") or []:
        if held["type"] == "Ready":
            return str(held["status"])
    return ""


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether any toleration covers the taint, for however long."""
    return any(covers(toleration, taint) for toleration in tolerations)


def covers(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether a toleration covers a taint; an absent key or effect covers all."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _silence(context: Context, node: Object) -> Object:
    """Every condition becomes Unknown once the kubelet has been silent for long enough."""
    machine = context.machines.get(node["metadata"]["name"])
    # A machine that was taken away for good leaves a Node with a status that nobody posts any more.
    silent = machine is None and bool(node.get("status", {}).get("nodeInfo", {}).get("machineID"))
    if machine is not None and not machine.running:
        silent = context.timers.reached(machine.stopped_at + context.settings.node_grace, context.now)
    if not silent or ready_status(node) == "Unknown":
        return node
    status = node.get("status", {})
    at = stamp(context.now)
    for held in status.get("conditions", []):
        status = {**status, "conditions": condition(status, held["type"], "Unknown", *_SILENT, at)}
    record(context.api, node, "Normal", "NodeNotReady", f"Node {node['metadata']['name']} status is now: NodeNotReady")
    return context.api.set_status(NODES, node, status, "kube-controller-manager")


def _taint(context: Context, node: Object) -> Object:
    """The taints that follow from the Ready condition and from being cordoned; others are left alone."""
    ready = ready_status(node)
    wanted: dict[tuple[str, str], bool] = {
        (UNSCHEDULABLE, "NoSchedule"): bool(node["spec"].get("unschedulable")),
    }
    if ready:
        for key, present in ((NOT_READY, ready == "False"), (UNREACHABLE, ready == "Unknown")):
            wanted.update({(key, effect): present for effect in ("NoSchedule", "NoExecute")})
    before = node["spec"].get("taints") or []
    kept = [taint for taint in before if wanted.get((taint["key"], taint["effect"]), True)]
    held = {(taint["key"], taint["effect"]) for taint in kept}
    at = stamp(context.now)
    added = [
        {"key": key, "effect": effect, "timeAdded": at}
        for (key, effect), present in wanted.items()
        if present and (key, effect) not in held
    ]
    if kept + added == before:
        return node
    spec = {**node["spec"], "taints": kept + added}
    if not spec["taints"]:
        del spec["taints"]
    return context.api.commit(NODES, node, {**node, "spec": spec}, _MANAGER)


def _evict(context: Context, pod: Object, taints: list[Object]) -> None:
    """Delete a pod whose toleration of a NoExecute taint has run out or never was; no budget is asked."""
    tolerations = pod["spec"].get("tolerations") or []
    for taint in taints:
        covering = [toleration for toleration in tolerations if covers(toleration, taint)]
        seconds = min((held.get("tolerationSeconds", math.inf) for held in covering), default=0)
        since = seconds_of(taint["timeAdded"]) if "timeAdded" in taint else context.now
        if math.isinf(seconds) or not context.timers.reached(since + seconds, context.now):
            continue
        deletion.mark_or_remove(context.api, PODS, pod, {})
        return
