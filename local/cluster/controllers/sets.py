"""StatefulSets, whose pods return only when the old one is really gone, and DaemonSets, one pod for each node."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from local.cluster import deletion
from local.cluster.api import Options
from local.cluster.controllers.common import Context, active, is_ready, manifest, pods_by_owner, revision
from local.cluster.controllers.nodes import tolerates
from local.cluster.controllers.scheduler import wants
from local.cluster.defaults import NOT_READY, UNREACHABLE, UNSCHEDULABLE
from local.cluster.kinds import DAEMON_SETS, NODES, PODS, STATEFUL_SETS
from local.cluster.store import Object

_MANAGER = Options("kube-controller-manager")
_REVISION = "controller-revision-hash"
_DAEMONS_TOLERATE = [
    {"key": NOT_READY, "operator": "Exists", "effect": "NoExecute"},
    {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"},
    *(
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoSchedule"}
        for key in ("disk-pressure", "memory-pressure", "pid-pressure")
    ),
    {"key": UNSCHEDULABLE, "operator": "Exists", "effect": "NoSchedule"},
]


def run(context: Context) -> None:
    """One pass over all StatefulSets and DaemonSets."""
    pods = pods_by_owner(context.api)
    for stateful_set in context.api.store.all(STATEFUL_SETS):
        if "deletionTimestamp" not in stateful_set["metadata"]:
            _keep_ordinals(context, stateful_set, pods[stateful_set["metadata"]["uid"]])
    nodes = context.api.store.all(NODES)
    for daemon_set in context.api.store.all(DAEMON_SETS):
        if "deletionTimestamp" not in daemon_set["metadata"]:
            _keep_daemons(context, daemon_set, nodes, pods[daemon_set["metadata"]["uid"]])


def _keep_ordinals(context: Context, stateful_set: Object, pods: list[Object]) -> None:
    """Pods name-0 to name-(n-1), in order unless the management is Parallel."""
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    mark = f"{metadata['name']}-{revision(spec['template'])}"
    held = {pod["metadata"]["name"]: pod for pod in pods}
    ordered = spec["podManagementPolicy"] == "OrderedReady"
    wanted = [f"{metadata['name']}-{ordinal}" for ordinal in range(spec["replicas"])]
    settled = True
    for ordinal, name in enumerate(wanted):
        pod = held.get(name)
        if pod is None and context.api.store.get(PODS, metadata["namespace"], name) is None:
            labels = {
                _REVISION: mark,
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(ordinal),
            }
            body = manifest(stateful_set, spec["template"], labels)
            body["metadata"]["name"] = name
            body["spec"]["hostname"] = name
            held[name] = context.api.create(PODS, metadata["namespace"], body, _MANAGER)
        if not (name in held and is_ready(held[name]) and "deletionTimestamp" not in held[name]["metadata"]):
            settled = False
            if ordered:
                break
    for name in sorted(held.keys() - set(wanted), key=_ordinal, reverse=True):
        if settled or not ordered:
            deletion.mark_or_remove(context.api, PODS, held[name], {})
            if ordered:
                break
    if settled and spec["updateStrategy"]["type"] == "RollingUpdate":
        _replace_outdated(context, [held[name] for name in reversed(wanted)], mark)
    _report_ordinals(context, stateful_set, active(pods), mark)


def _ordinal(name: str) -> int:
    text = name.rpartition("-")[2]
    return int(text) if text.isdigit() else -1


def _replace_outdated(context: Context, pods: list[Object], mark: str) -> None:
    """Delete the highest pod that has another template; its replacement comes with the next passes."""
    for pod in pods:
        if pod["metadata"].get("labels", {}).get(_REVISION) != mark:
            deletion.mark_or_remove(context.api, PODS, pod, {})
            return


def _report_ordinals(context: Context, stateful_set: Object, pods: list[Object], mark: str) -> None:
    updated = sum(pod["metadata"].get("labels", {}).get(_REVISION) == mark for pod in pods)
    ready = sum(map(is_ready, pods))
    status = {
        "observedGeneration": stateful_set["metadata"]["generation"],
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": len(pods),
        "updatedReplicas": updated,
        "currentRevision": mark,
        "updateRevision": mark,
    }
    context.api.set_status(STATEFUL_SETS, stateful_set, status, "kube-controller-manager")


def _keep_daemons(context: Context, daemon_set: Object, nodes: list[Object], pods: list[Object]) -> None:
    """One pod on each node that takes it; cordoned and dead nodes keep theirs."""
    metadata, spec = daemon_set["metadata"], daemon_set["spec"]
    mark = revision(spec["template"])
    by_node: dict[str, list[Object]] = defaultdict(list)
    for pod in pods:
        by_node[pod["spec"].get("nodeName", "")].append(pod)
    tolerations = [*(spec["template"]["spec"].get("tolerations") or []), *_DAEMONS_TOLERATE]
    kept: list[Object] = []
    targets = [node["metadata"]["name"] for node in nodes if _takes(spec["template"]["spec"], tolerations, node)]
    for name in targets:
        held = by_node.pop(name, [])
        if not held:
            body = manifest(daemon_set, spec["template"], {_REVISION: mark})
            body["metadata"]["generateName"] = f"{metadata['name']}-"
            body["spec"].update(nodeName=name, tolerations=tolerations)
            held = [context.api.create(PODS, metadata["namespace"], body, _MANAGER)]
        kept += active(held)
    for pod in (pod for held in by_node.values() for pod in held):
        deletion.mark_or_remove(context.api, PODS, pod, {})
    outdated = [pod for pod in kept if pod["metadata"].get("labels", {}).get(_REVISION) != mark]
    if outdated and len(kept) == len(targets) and all(map(is_ready, kept)):
        deletion.mark_or_remove(context.api, PODS, outdated[0], {})
    ready = sum(map(is_ready, kept))
    status: dict[str, Any] = {
        "observedGeneration": metadata["generation"],
        "desiredNumberScheduled": len(targets),
        "currentNumberScheduled": len(kept),
        "updatedNumberScheduled": len(kept) - len(outdated),
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": ready,
        "numberUnavailable": len(targets) - ready,
    }
    context.api.set_status(DAEMON_SETS, daemon_set, status, "kube-controller-manager")


def _takes(pod_spec: dict[str, Any], tolerations: list[dict[str, Any]], node: Object) -> bool:
    """Whether a daemon belongs on a node; what only keeps new pods off a sick node does not count."""
    sick = {NOT_READY, UNREACHABLE}
    taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] not in sick]
    repelling = [taint for taint in taints if taint["effect"] != "PreferNoSchedule"]
    return wants(pod_spec, node) and all(tolerates(tolerations, taint) for taint in repelling)
