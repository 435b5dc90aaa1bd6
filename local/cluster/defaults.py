"""What the API server fills in: the defaults of the kinds whose defaults clients or controllers rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.cluster.kinds import Resource

Object = dict[str, Any]
MIRROR = "kubernetes.io/config.mirror"
UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
TOLERATION_SECONDS = 300
_NO_INFO = dict.fromkeys(
    (
        *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "operatingSystem", "architecture"),
        *("containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"),
    ),
    "",
)


def fill(resource: Resource, item: Object) -> None:
    """Set what is absent, in place; called on every write, so that it must not overrule anything."""
    filler = _FILLERS.get(resource.kind)
    if filler and not resource.custom:
        filler(item)


def admit(resource: Resource, item: Object) -> None:
    """What admission adds at creation only, in place."""
    if resource.kind == "Pod":
        _admit_pod(item)
    elif resource.kind == "Node":
        taints = item["spec"].setdefault("taints", [])
        if not any(taint.get("key") == NOT_READY for taint in taints):
            taints.append({"key": NOT_READY, "effect": "NoSchedule"})
    elif resource.kind == "Namespace":
        item["metadata"].setdefault("labels", {}).setdefault("kubernetes.io/metadata.name", item["metadata"]["name"])


def first_status(resource: Resource, given: Any) -> Any:
    """The status of a new object, or None; `given` counts for a Node and where status is no subresource."""
    if resource.kind == "Pod":
        return {"phase": "Pending", "qosClass": "BestEffort"}
    if resource.kind == "Namespace":
        return {"phase": "Active"}
    if resource.kind == "Node":
        return {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": dict(_NO_INFO), **(given or {})}
    if "status" not in resource.subresources:
        return given
    if resource.kind == "PodDisruptionBudget":
        return {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
    return None if resource.custom else {}


def _admit_pod(pod: Object) -> None:
    spec = pod["spec"]
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return
    tolerations = spec.setdefault("tolerations", [])
    for key in (NOT_READY, UNREACHABLE):
        covered = any(
            held.get("key", key) == key and held.get("effect", "NoExecute") == "NoExecute" for held in tolerations
        )
        if not covered:
            seconds = TOLERATION_SECONDS
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})


def _pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if isinstance(container, dict):
            _container(container)


def _container(container: Object) -> None:
    tag = str(container.get("image", "")).rpartition("/")[2].partition(":")[2]
    container.setdefault("imagePullPolicy", "Always" if tag in {"", "latest"} else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")


def _pod(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")


def _template(item: Object) -> Object:
    spec: Object = item.setdefault("spec", {})
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        _pod_spec(template.setdefault("spec", {}))
    return spec


def _deployment(item: Object) -> None:
    spec = _template(item)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _replica_set(item: Object) -> None:
    _template(item).setdefault("replicas", 1)


def _stateful_set(item: Object) -> None:
    spec = _template(item)
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("updateStrategy", {"rollingUpdate": {"partition": 0}}).setdefault("type", "RollingUpdate")
    spec.setdefault("revisionHistoryLimit", 10)


def _daemon_set(item: Object) -> None:
    spec = _template(item)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    spec.setdefault("revisionHistoryLimit", 10)


def _service(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _namespace(item: Object) -> None:
    item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _with_spec(item: Object) -> None:
    item.setdefault("spec", {})


def _secret(item: Object) -> None:
    item.setdefault("type", "Opaque")


_FILLERS: dict[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Node": _with_spec,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Service": _service,
    "Namespace": _namespace,
    "PodDisruptionBudget": _with_spec,
    "Lease": _with_spec,
    "Secret": _secret,
}
