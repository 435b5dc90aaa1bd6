"""Deployments and ReplicaSets: a pod that is being deleted no longer counts, so its replacement starts at once."""

from __future__ import annotations

from collections import defaultdict

from local.cluster import deletion
from local.cluster.api import Options
from local.cluster.clock import stamp
from local.cluster.controllers.common import (
    Context,
    active,
    condition,
    controller_of,
    is_ready,
    manifest,
    pods_by_owner,
    reference,
    revision,
    share,
)
from local.cluster.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from local.cluster.store import Object

_MANAGER = Options("kube-controller-manager")
_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


def run(context: Context) -> None:
    """One pass over all Deployments, then over all ReplicaSets."""
    pods = pods_by_owner(context.api)
    sets: dict[str, list[Object]] = defaultdict(list)
    for replica_set in context.api.store.all(REPLICA_SETS):
        sets[controller_of(replica_set)].append(replica_set)
    for deployment in context.api.store.all(DEPLOYMENTS):
        if "deletionTimestamp" not in deployment["metadata"]:
            _roll(context, deployment, sets[deployment["metadata"]["uid"]], pods)
    for replica_set in context.api.store.all(REPLICA_SETS):
        if "deletionTimestamp" not in replica_set["metadata"]:
            _keep(context, replica_set, active(pods[replica_set["metadata"]["uid"]]))


# -- ReplicaSets


def _keep(context: Context, replica_set: Object, pods: list[Object]) -> None:
    """As many pods as asked for."""
    namespace, name = replica_set["metadata"]["namespace"], replica_set["metadata"]["name"]
    missing = replica_set["spec"]["replicas"] - len(pods)
    for _ in range(missing):
        body = manifest(replica_set, replica_set["spec"]["template"])
        body["metadata"]["generateName"] = f"{name}-"
        pods.append(context.api.create(PODS, namespace, body, _MANAGER))
    newest_first = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    surplus = sorted(newest_first, key=_worth)[: max(0, -missing)]
    for pod in surplus:
        deletion.mark_or_remove(context.api, PODS, pod, {})
    left = [pod for pod in pods if not any(pod is gone for gone in surplus)]
    ready = sum(map(is_ready, left))
    status = {
        "replicas": len(left),
        "fullyLabeledReplicas": len(left),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": replica_set["metadata"]["generation"],
    }
    context.api.set_status(REPLICA_SETS, replica_set, status, "kube-controller-manager")


def _worth(pod: Object) -> tuple[bool, bool]:
    """What goes first when there are too many: unscheduled, then not ready."""
    return bool(pod["spec"].get("nodeName")), is_ready(pod)


# -- Deployments


def _roll(context: Context, deployment: Object, sets: list[Object], pods: dict[str, list[Object]]) -> None:
    """Bring the newest ReplicaSet up and the others down, within maxSurge and maxUnavailable."""
    spec = deployment["spec"]
    mark = revision(spec["template"])
    newest = next((one for one in sets if one["metadata"].get("labels", {}).get(_HASH) == mark), None)
    if newest is None and not spec.get("paused"):
        newest = _new_set(context, deployment, mark, sets)
    older = [one for one in sets if newest is None or one["metadata"]["uid"] != newest["metadata"]["uid"]]
    wanted: int = spec["replicas"]
    old_total = sum(one["spec"]["replicas"] for one in older)
    if spec["strategy"]["type"] == "Recreate":
        older = [_scale(context, one, 0) for one in older]
        if newest and not any(pods[one["metadata"]["uid"]] for one in older):
            newest = _scale(context, newest, wanted)
    elif newest:
        rolling = spec["strategy"]["rollingUpdate"]
        surge = share(rolling["maxSurge"], wanted, up=True)
        missing = share(rolling["maxUnavailable"], wanted, up=False)
        if surge == missing == 0:
            missing = 1
        newest = _scale(context, newest, min(wanted, max(newest["spec"]["replicas"], wanted + surge - old_total)))
        ready = {one["metadata"]["uid"]: _ready(one, pods) for one in [newest, *older]}
        spare = max(0, sum(ready.values()) - (wanted - missing))
        for one in sorted(older, key=lambda held: held["metadata"]["name"]):
            idle = one["spec"]["replicas"] - ready[one["metadata"]["uid"]]
            drop = min(one["spec"]["replicas"], max(0, idle) + spare)
            spare -= max(0, drop - max(0, idle))
            _scale(context, one, one["spec"]["replicas"] - drop)
    _report(context, deployment, newest, [*([newest] if newest else []), *older], pods)


def _new_set(context: Context, deployment: Object, mark: str, sets: list[Object]) -> Object:
    spec, metadata = deployment["spec"], deployment["metadata"]
    template = {**spec["template"], "metadata": {**spec["template"]["metadata"]}}
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), _HASH: mark}
    selector = {**spec["selector"], "matchLabels": {**spec["selector"].get("matchLabels", {}), _HASH: mark}}
    number = 1 + max((int(one["metadata"].get("annotations", {}).get(_REVISION, 0)) for one in sets), default=0)
    body = {
        "metadata": {
            "name": f"{metadata['name']}-{mark}",
            "labels": template["metadata"]["labels"],
            "annotations": {_REVISION: str(number)},
            "ownerReferences": [reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    return context.api.create(REPLICA_SETS, metadata["namespace"], body, _MANAGER)


def _scale(context: Context, replica_set: Object, replicas: int) -> Object:
    changed = {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}
    return context.api.commit(REPLICA_SETS, replica_set, changed, _MANAGER)


def _ready(replica_set: Object, pods: dict[str, list[Object]]) -> int:
    return sum(map(is_ready, active(pods[replica_set["metadata"]["uid"]])))


def _report(
    context: Context, deployment: Object, newest: Object | None, sets: list[Object], pods: dict[str, list[Object]]
) -> None:
    wanted, old, at = deployment["spec"]["replicas"], deployment.get("status", {}), stamp(context.now)
    ready = sum(_ready(one, pods) for one in sets)
    updated = len(active(pods[newest["metadata"]["uid"]])) if newest else 0
    total = sum(len(active(pods[one["metadata"]["uid"]])) for one in sets)
    rolling = deployment["spec"]["strategy"].get("rollingUpdate", {})
    least = wanted - share(rolling.get("maxUnavailable", 0), wanted, up=False)
    word = ("True", "MinimumReplicasAvailable") if ready >= least else ("False", "MinimumReplicasUnavailable")
    words = {"True": "Deployment has minimum availability.", "False": "Deployment does not have minimum availability."}
    conditions = condition(old, "Available", *word, words[word[0]], at)
    done = updated == total == ready == wanted
    progress = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    conditions = condition({"conditions": conditions}, "Progressing", "True", progress, None, at)
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": conditions,
    }
    context.api.set_status(DEPLOYMENTS, deployment, status, "kube-controller-manager")
