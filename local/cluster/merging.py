"""How the API's lists merge: which are keyed maps, which are sets, and which are replaced whole.

Source: the `patchMergeKey`, `patchStrategy`, `listType` and `mapType` marks of the public API types. Fields are
known by their name, with the few names that mean different things told apart by their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "resourceClaims": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "conditions": ("type",),
    "addresses": ("type",),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
    "schedulingGates": ("name",),
}
_SETS = frozenset({"finalizers", "podCIDRs"})
_ATOMIC_MAPS = frozenset({"selector", "labelSelector", "nodeSelector", "namespaceSelector", "nodeAffinity"})


def list_keys(field: str, *lists: Sequence[Any]) -> tuple[str, ...]:
    """The fields that identify an element of the list `field`; () when the list is not keyed."""
    elements = [element for items in lists for element in items]
    if not all(isinstance(element, Mapping) for element in elements):
        return ()
    if field == "ports":
        # Key defaults (protocol TCP) are left out of the key by the caller's data, as in a strategic merge.
        if any("containerPort" in element for element in elements):
            return ("containerPort",)
        return ("port",) if any("port" in element for element in elements) else ()
    return _KEYS.get(field, ())


def is_set(field: str, items: Sequence[Any]) -> bool:
    """Whether the list is a set of plain values, merged by union."""
    return field in _SETS and not any(isinstance(item, Mapping) for item in items)


def is_atomic_map(field: str, parent: str) -> bool:
    """Whether the map is owned and replaced as a whole. A controller's `selector` is one."""
    return field in _ATOMIC_MAPS and parent in {"spec", "affinity", ""}


def identity(element: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    """What identifies an element of a keyed list."""
    return tuple(element.get(key) for key in keys)
