"""Nodes and pods, cut down to what decisions need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paydown.events import utc

FIELD_MANAGER = "paydown"
CORDONED_BY = "paydown.dev/cordoned-by"
"""Annotation of a node that we cordoned: who did it. Written in the same patch, and removed by the uncordon."""
CORDONED_AT = "paydown.dev/cordoned-at"
"""Annotation of a node that we cordoned: when, in ISO 8601."""
OPT_OUT = "paydown.dev/opt-out"
"""Label or annotation of a node that a person wants to be left alone."""

STOPPED = "node.cloudprovider.kubernetes.io/shutdown"
"""Taint that a cloud's controller sets while the machine is stopped, and removes when it runs again."""

MIRROR = "kubernetes.io/config.mirror"
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of a pod, or the Deployment of a ReplicaSet."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node says of itself, and what others say of it.

    `ready` is None when the node never reported; `since` is when that changed last. `cordon_managers` are the field
    managers that set `spec.unschedulable`; empty when the server does not track that. `taints` are their keys, `owners`
    the kinds of objects that own the node.
    """

    name: str
    uid: str
    version: str
    ready: bool | None
    since: datetime
    unschedulable: bool
    deleting: bool
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    cordon_managers: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> NodeState:
        """A node as the API gives it. Ready `Unknown` (the node has gone silent) is not ready."""
        meta, spec = item["metadata"], item.get("spec") or {}
        conditions = (item.get("status") or {}).get("conditions") or ()
        ready = next((one for one in conditions if one.get("type") == "Ready"), None)
        changed = (ready or {}).get("lastTransitionTime") or meta["creationTimestamp"]
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            version=meta["resourceVersion"],
            ready=None if ready is None else ready.get("status") == "True",
            since=utc(changed),
            unschedulable=bool(spec.get("unschedulable")),
            deleting="deletionTimestamp" in meta,
            annotations=meta.get("annotations") or {},
            labels=meta.get("labels") or {},
            cordon_managers=tuple(_cordon_managers(meta)),
            taints=tuple(str(taint.get("key")) for taint in spec.get("taints") or ()),
            owners=tuple(str(owner.get("kind")) for owner in meta.get("ownerReferences") or ()),
        )

    @property
    def in_service(self) -> bool:
        """Whether new pods may run on it: Ready, schedulable, and there to stay."""
        return bool(self.ready) and not self.unschedulable and not self.deleting

    @property
    def stopped(self) -> bool:
        """Whether the cloud says that its machine is stopped."""
        return STOPPED in self.taints

    @property
    def opted_out(self) -> bool:
        """Whether a person wants this node to be left alone."""
        mark = self.labels.get(OPT_OUT, self.annotations.get(OPT_OUT, "false"))
        return mark.lower() != "false"

    @property
    def cordoned_by(self) -> str | None:
        """Who of us cordoned it; None when it is schedulable, or when the cordon that stands is somebody else's.

        After `kubectl uncordon` and `kubectl cordon` our annotation is still there: the field's manager tells.
        """
        if not self.unschedulable or (self.cordon_managers and FIELD_MANAGER not in self.cordon_managers):
            return None
        return self.annotations.get(CORDONED_BY)

    @property
    def cordoned_at(self) -> datetime | None:
        """When we cordoned it, by our own clock; None when the annotation is missing or not ours."""
        try:
            return utc(self.annotations[CORDONED_AT])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. `deadline` is when its grace ends, None unless it is being deleted; `unplaced` is why it has no node."""

    namespace: str
    name: str
    uid: str
    node: str | None
    phase: str
    ready: bool
    deadline: datetime | None
    mirror: bool
    empty_dir: bool
    owner: Owner | None
    unplaced: str = ""

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Pod:
        """A pod as the API gives it."""
        meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
        conditions = {one.get("type"): one for one in status.get("conditions") or ()}
        placed = conditions.get("PodScheduled") or {}
        deleted = meta.get("deletionTimestamp")
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            node=spec.get("nodeName"),
            phase=status.get("phase") or "Pending",
            ready=(conditions.get("Ready") or {}).get("status") == "True",
            deadline=utc(deleted) if deleted else None,
            mirror=MIRROR in (meta.get("annotations") or {}),
            empty_dir=any("emptyDir" in volume for volume in spec.get("volumes") or ()),
            owner=controller_of(meta),
            unplaced=str(placed.get("message") or "")[:200] if placed.get("status") == "False" else "",
        )

    @property
    def finished(self) -> bool:
        """Whether it has run to its end, well or badly."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def ref(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def controller_of(meta: Mapping[str, Any]) -> Owner | None:
    """The one owner that is marked as the controller."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return Owner(owner["kind"], owner["name"], owner["uid"])
    return None


def images_of(item: Mapping[str, Any]) -> Iterator[str]:
    """The images that a pod runs, or that a workload's template would run, and the ids of those that were pulled.

    A ControllerRevision holds, below `data`, the template to which a StatefulSet or DaemonSet can be rolled back.
    """
    spec = item.get("spec") or (item.get("data") or {}).get("spec") or {}
    status = item.get("status") or {}
    template = ((spec.get("jobTemplate") or {}).get("spec") or spec).get("template") or {}
    for pod in (spec, template.get("spec") or {}):
        for kind in ("containers", "initContainers", "ephemeralContainers"):
            yield from (one["image"] for one in pod.get(kind) or () if one.get("image"))
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in status.get(kind) or ():
            yield from (one[field] for field in ("image", "imageID") if one.get(field))


def is_name(text: str) -> bool:
    """Whether text can be the name of a node, a pod or a namespace: such a name is safe in a path and in a selector."""
    return NAME.fullmatch(text) is not None


def _cordon_managers(meta: Mapping[str, Any]) -> list[str]:
    return [
        str(entry.get("manager"))
        for entry in meta.get("managedFields") or ()
        if "f:unschedulable" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
