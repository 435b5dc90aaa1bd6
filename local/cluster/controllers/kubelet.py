"""Kubelets: register their node, keep it Ready, and start and stop the pods that are bound to it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

from local.cluster import deletion
from local.cluster.api import Options
from local.cluster.clock import micro_stamp, seconds_of, stamp
from local.cluster.controllers.common import Context
from local.cluster.defaults import MIRROR
from local.cluster.kinds import LEASES, NODES, PODS
from local.cluster.machines import Machine
from local.cluster.store import Object

NEVER_READY = "stand-in.paydown.dev/never-ready"
_KUBELET = Options("kubelet")
_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


def run(context: Context) -> None:
    """One pass of every running kubelet."""
    bound: dict[str, list[Object]] = defaultdict(list)
    for pod in context.api.store.all(PODS):
        bound[pod["spec"].get("nodeName", "")].append(pod)
    for machine in context.machines:
        if not machine.running:
            continue
        node = context.api.store.get(NODES, "", machine.name)
        if node is None:
            if machine.registered:
                continue  # a kubelet registers when it starts; later it only complains that its node is gone
            node = _register(context, machine)
        machine.registered = True
        node = _post_status(context, machine, node)
        _renew_lease(context, machine, node)
        _keep_static_pods(context, machine, node)
        for pod in bound[machine.name]:
            _keep_pod(context, machine, pod)


def _register(context: Context, machine: Machine) -> Object:
    labels = {"kubernetes.io/hostname": machine.name, "kubernetes.io/os": "linux", **machine.labels}
    spec: dict[str, Any] = {"taints": [dict(taint) for taint in machine.taints]}
    if machine.provider_id:
        spec["providerID"] = machine.provider_id
    node = {"metadata": {"name": machine.name, "labels": labels}, "spec": spec}
    return context.api.create(NODES, "", node, _KUBELET)


def _post_status(context: Context, machine: Machine, node: Object) -> Object:
    """Write the node's status, if it says something new."""
    at = stamp(context.now)
    held = {entry["type"]: entry for entry in node.get("status", {}).get("conditions") or []}
    wanted = {kind: ("False", reason, message) for kind, (reason, message) in _PRESSURES.items()}
    wanted["Ready"] = ("True", "KubeletReady", "kubelet is posting ready status")
    for kind, (value, reason, message) in wanted.items():
        before = held.get(kind, {})
        if (before.get("status"), before.get("reason")) != (value, reason):
            since = before.get("lastTransitionTime", at) if before.get("status") == value else at
            held[kind] = {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": at,
                "lastTransitionTime": since,
            }
    resources = {"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    status: dict[str, Any] = {
        "conditions": list(held.values()),
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "Hostname", "address": machine.name},
        ],
        "capacity": resources,
        "allocatable": resources,
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.machine_id,
            "bootID": machine.boot_id,
            "kernelVersion": "6.1.0-stand-in",
            "osImage": "stand-in",
            "operatingSystem": "linux",
            "architecture": "amd64",
            "containerRuntimeVersion": "stand-in://1",
            "kubeletVersion": "v1.36.2",
            "kubeProxyVersion": "",
        },
    }
    return context.api.set_status(NODES, node, status, "kubelet")


def _renew_lease(context: Context, machine: Machine, node: Object) -> None:
    place = "kube-node-lease", machine.name
    lease = context.api.store.get(LEASES, *place)
    at = micro_stamp(context.now)
    seconds = context.settings.lease
    if lease is None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": machine.name, "uid": node["metadata"]["uid"]}
        spec = {"holderIdentity": machine.name, "leaseDurationSeconds": 40, "renewTime": at}
        body = {"metadata": {"name": machine.name, "ownerReferences": [owner]}, "spec": spec}
        context.api.create(LEASES, place[0], body, _KUBELET)
        context.timers.reached(context.now + seconds, context.now)
    elif context.timers.reached(seconds_of(lease["spec"].get("renewTime")) + seconds, context.now):
        renewed = {**lease, "spec": {**lease["spec"], "renewTime": at}}
        context.api.commit(LEASES, lease, renewed, _KUBELET)
        context.timers.reached(context.now + seconds, context.now)


def _keep_static_pods(context: Context, machine: Machine, node: Object) -> None:
    """The mirror pods of the static pods: the API only shows them, so a deleted one returns."""
    for given in machine.static_pods:
        metadata = given["metadata"]
        name, namespace = f"{metadata['name']}-{machine.name}", metadata.get("namespace", "kube-system")
        if context.api.store.get(PODS, namespace, name):
            continue
        digest = hashlib.sha256(repr(given).encode()).hexdigest()[:32]
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": machine.name,
            "uid": node["metadata"]["uid"],
            "controller": True,
        }
        annotations = {
            **metadata.get("annotations", {}),
            MIRROR: digest,
            "kubernetes.io/config.hash": digest,
            "kubernetes.io/config.source": "file",
        }
        tolerations = [{"operator": "Exists", "effect": "NoExecute"}]
        mirror = {
            "metadata": {
                "name": name,
                "labels": metadata.get("labels", {}),
                "annotations": annotations,
                "ownerReferences": [owner],
            },
            "spec": {"tolerations": tolerations, **given["spec"], "nodeName": machine.name},
        }
        context.api.create(PODS, namespace, mirror, _KUBELET)


def _keep_pod(context: Context, machine: Machine, pod: Object) -> None:
    metadata, status = pod["metadata"], pod.get("status", {})
    timers, settings, now = context.timers, context.settings, context.now
    if "deletionTimestamp" in metadata:
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        if timers.ripe(("stop", metadata["uid"]), min(settings.stop, grace), now):
            deletion.mark_or_remove(context.api, PODS, pod, {"gracePeriodSeconds": 0})
    elif status.get("phase") == "Pending":
        if timers.ripe(("start", metadata["uid"]), settings.start, now):
            context.api.set_status(PODS, pod, _running(machine, pod, now), "kubelet")
    elif status.get("phase") == "Running" and status.get("containerStatuses"):
        context.api.set_status(PODS, pod, _running(machine, pod, now), "kubelet")


def _running(machine: Machine, pod: Object, now: float) -> dict[str, Any]:
    """The status of a pod whose containers run; the same again for a pod that has it already."""
    metadata, old, at = pod["metadata"], pod.get("status", {}), stamp(now)
    ready = NEVER_READY not in (metadata.get("annotations") or {})
    held = {entry["type"]: entry for entry in old.get("conditions") or []}
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        status = "True" if ready or kind in {"PodScheduled", "Initialized"} else "False"
        if held.get(kind, {}).get("status") != status:
            held[kind] = {"type": kind, "status": status, "lastTransitionTime": at}
    started = old.get("startTime", at)
    address = "10.244." + ".".join(str(1 + int(metadata["uid"][i : i + 2], 16) % 253) for i in (0, 2))
    containers = {entry.get("name"): entry for entry in old.get("containerStatuses") or []}
    return {
        "phase": "Running",
        "conditions": list(held.values()),
        "hostIP": machine.address,
        "podIP": old.get("podIP", address),
        "podIPs": old.get("podIPs", [{"ip": address}]),
        "startTime": started,
        "containerStatuses": [
            {
                "restartCount": 0,
                "state": {"running": {"startedAt": started}},
                "lastState": {},
                **containers.get(container["name"], {}),
                "name": container["name"],
                "image": container["image"],
                "imageID": f"stand-in://{container['image']}",
                "containerID": f"stand-in://{metadata['uid']}/{container['name']}",
                "ready": ready,
                "started": True,
            }
            for container in pod["spec"]["containers"]
        ],
    }
