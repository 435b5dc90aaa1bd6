"""What the controllers share: their settings, their timers, and how they read the cluster."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.cluster.api import Api
from local.cluster.eviction import is_ready
from local.cluster.kinds import PODS
from local.cluster.machines import Machines
from local.cluster.store import Object

__all__ = [
    "INSTANT",
    "Context",
    "Settings",
    "Timers",
    "active",
    "condition",
    "controller_of",
    "is_ready",
    "manifest",
    "pods_by_owner",
    "reference",
    "revision",
    "share",
]


@dataclass(frozen=True)
class Settings:
    """How long things take, in seconds. All zero: everything happens at once, as when a seed is laid out."""

    start: float = 0.3  # a pod, from its node until it is ready
    stop: float = 0.2  # a pod, from its deletion until it is gone
    node_grace: float = 0.0  # a node, from its kubelet's end until Ready is Unknown (a real cluster: 50)
    collect: float = 1.0  # a pod that nobody runs any more, until it is collected (a real cluster: 8 to 48)
    budget: float = 0.0  # a new or changed disruption budget, until it is processed
    lease: float = 10.0  # between two renewals of a node's lease


INSTANT = Settings(start=0, stop=0, collect=0)


class Timers:
    """Delays by key. A key that a pass does not ask for is forgotten."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._asked: set[Hashable] = set()
        self.next: float | None = None

    def begin(self) -> None:
        """Start a pass."""
        self._since = {key: at for key, at in self._since.items() if key in self._asked}
        self._asked = set()
        self.next = None

    def ripe(self, key: Hashable, delay: float, now: float) -> bool:
        """Whether `delay` seconds passed since the key was first asked for; if not, `next` says when to look again."""
        self._asked.add(key)
        return self.reached(self._since.setdefault(key, now) + delay, now)

    def reached(self, at: float, now: float) -> bool:
        """Whether a time has come; if not, `next` says when to look again."""
        if now >= at:
            return True
        self.next = at if self.next is None else min(self.next, at)
        return False


@dataclass
class Context:
    """What a controller's pass gets."""

    api: Api
    machines: Machines
    settings: Settings
    timers: Timers = field(default_factory=Timers)
    now: float = 0.0


def controller_of(item: Mapping[str, Any]) -> str:
    """The uid of the owner that controls an object, or ""."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def pods_by_owner(api: Api) -> dict[str, list[Object]]:
    """The pods by the uid of their controller."""
    found: dict[str, list[Object]] = defaultdict(list)
    for pod in api.store.all(PODS):
        if owner := controller_of(pod):
            found[owner].append(pod)
    return found


def active(pods: Iterable[Object]) -> list[Object]:
    """The pods that count as replicas: neither finished nor being deleted."""
    return [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    ]


def share(value: int | str, total: int, *, up: bool) -> int:
    """A number or a percentage of `total`, rounded up or down."""
    if isinstance(value, str):
        part = int(value.rstrip("%")) * total / 100
        return math.ceil(part) if up else math.floor(part)
    return value


def manifest(owner: Mapping[str, Any], template: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Object:
    """A pod from a controller's template, owned by the controller; the caller names it."""
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "labels": {**(given.get("labels") or {}), **(labels or {})},
        "ownerReferences": [reference(owner)],
    }
    if given.get("annotations"):
        metadata["annotations"] = dict(given["annotations"])
    return {"metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """The owner reference of what a controller makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def revision(template: Mapping[str, Any]) -> str:
    """A short hash of a pod template: the same for the same template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join("bcdfghjklmnpqrstvwxz2456789"[byte % 27] for byte in digest[:9])


def condition(
    old: Mapping[str, Any], kind: str, status: str, reason: str | None, message: str | None, at: str
) -> list[dict[str, Any]]:
    """The conditions of a status with one of them set; its transition time moves only when its status does."""
    held = {entry["type"]: entry for entry in old.get("conditions") or []}
    before = held.get(kind, {})
    since = before.get("lastTransitionTime", at) if before.get("status") == status else at
    made = {**before, "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    held[kind] = {name: value for name, value in made.items() if value is not None}
    return list(held.values())
