"""The 422s: what the API server refuses although it can read it. The checks that clients of a cluster run into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from local.cluster import selectors
from local.cluster.failures import invalid
from local.cluster.kinds import Resource

Fault = tuple[str, str]
Object = Mapping[str, Any]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LOOSE_NAMES = frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"})
_SELECTING = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"})
_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NUMBERS = ("spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit", "spec.terminationGracePeriodSeconds")
_MAPS = (
    *("spec", "status", "metadata.labels", "metadata.annotations", "spec.selector", "spec.strategy"),
    *("spec.template", "spec.template.metadata", "spec.template.metadata.labels", "spec.template.spec"),
)
_LISTS = (
    *("metadata.ownerReferences", "spec.taints", "spec.tolerations", "status.conditions"),
    *("spec.containers", "spec.initContainers", "spec.template.spec.containers"),
)
_STRINGS = (
    *("metadata.name", "metadata.namespace", "metadata.generateName", "metadata.uid", "metadata.resourceVersion"),
    *("spec.nodeName", "spec.podManagementPolicy", "spec.strategy.type"),
)
_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(_STRINGS, (str, "string")),
    **dict.fromkeys(_NUMBERS, (int, "numeric (int or float)")),
    **dict.fromkeys(_MAPS, (dict, "map")),
    **dict.fromkeys(_LISTS, (list, "list")),
}
_POD_IS_FIXED = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
    "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to "
    "existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
    "negative)"
)


def check_status(resource: Resource, item: Object) -> None:
    """Raises ApiError 422 for a status that cannot be."""
    faults = list(_conditions(item))
    if faults:
        raise invalid(resource.kind, resource.group, item["metadata"]["name"], faults)


def check(resource: Resource, item: Object, old: Object | None = None) -> None:
    """Raises ApiError 422 with every fault of a new or changed object."""
    faults = [*_metadata(resource, item), *_conditions(item)]
    if not resource.custom:
        faults += _by_kind(resource, item)
        faults += _immutable(resource, item, old) if old else []
    if faults:
        raise invalid(resource.kind, resource.group, item["metadata"].get("name", ""), faults)


def wrong_types(item: Object) -> Iterator[tuple[str, str, Any]]:
    """(path, what belongs there, value) of each field that the server reads and that holds something else."""
    for path, (kind, word) in _TYPES.items():
        value: Any = item
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kind):
            yield path, word, value
        elif isinstance(value, list) and not all(isinstance(one, Mapping) for one in value):
            yield path, "list of maps", value


def _metadata(resource: Resource, item: Object) -> Iterator[Fault]:
    metadata = item["metadata"]
    name = metadata.get("name", "")
    if not name:
        yield "metadata.name", "Required value: name or generateName is required"
    elif resource.plural not in _LOOSE_NAMES and (len(name) > 253 or not _SUBDOMAIN.fullmatch(name)):
        why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        yield "metadata.name", f'Invalid value: "{name}": {why}, and must start and end with an alphanumeric character'
    for label, value in (metadata.get("labels") or {}).items():
        if not _LABEL_NAME.fullmatch(label):
            yield "metadata.labels", f'Invalid value: "{label}": name part must be a qualified name'
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
            yield "metadata.labels", f'Invalid value: "{value}": {why}'

    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield f"metadata.ownerReferences[{index}].{field}", "Required value"


def _conditions(item: Object) -> Iterator[Fault]:
    for index, held in enumerate((item.get("status") or {}).get("conditions") or []):
        for field in ("type", "status"):
            if not held.get(field):
                yield f"status.conditions[{index}].{field}", "Required value"


def _selector(selector: Object | None, path: str) -> Iterator[Fault]:
    for index, expression in enumerate((selector or {}).get("matchExpressions") or []):
        where, values = f"{path}.matchExpressions[{index}]", expression.get("values")
        if not expression.get("key"):
            yield f"{where}.key", "Required value"
        if expression.get("operator") not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            yield f"{where}.operator", f'Invalid value: "{expression.get("operator")}": not a valid selector operator'
        elif bool(values) != (expression["operator"] in {"In", "NotIn"}):
            yield f"{where}.values", "Invalid value: must be given for In and NotIn, and only for them"


def _amount(value: object, path: str) -> Iterator[Fault]:
    if isinstance(value, int) and value < 0:
        yield path, f"Invalid value: {value}: must be greater than or equal to 0"
    if isinstance(value, str) and not re.fullmatch(r"\d{1,2}%|100%", value):
        yield path, f'Invalid value: "{value}": a valid percent string must be a numeric string and %'


def _by_kind(resource: Resource, item: Object) -> Iterator[Fault]:
    spec = item.get("spec") or {}
    if resource.kind == "Pod":
        yield from _pod_spec(spec, "spec")
    elif resource.kind in _SELECTING:
        yield from _workload(spec)
    elif resource.kind == "PodDisruptionBudget":
        yield from _budget(spec)
    elif resource.kind == "Node":
        yield from _taints(spec.get("taints") or [])


def _pod_spec(spec: Object, path: str) -> Iterator[Fault]:
    containers = spec.get("containers")
    if not containers:
        yield f"{path}.containers", "Required value"
        return
    seen = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        if not container.get("name"):
            yield f"{where}.name", "Required value"
        elif container["name"] in seen:
            yield f"{where}.name", f'Duplicate value: "{container["name"]}"'
        seen.add(container.get("name"))
        if not container.get("image"):
            yield f"{where}.image", "Required value"


def _workload(spec: Object) -> Iterator[Fault]:
    replicas = spec.get("replicas", 1)
    if replicas < 0:
        yield "spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0"
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    for field in ("maxSurge", "maxUnavailable"):
        yield from _amount(rolling.get(field), f"spec.strategy.rollingUpdate.{field}")
    broken = list(_selector(spec.get("selector"), "spec.selector"))
    if broken:
        yield from broken
        return
    requirements = selectors.from_object(spec.get("selector"))
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if requirements is None:
        yield "spec.selector", "Required value"
    elif not requirements:
        yield "spec.selector", "Invalid value: {}: empty selector is invalid for deployment"
    elif not selectors.matches(requirements, labels):
        yield "spec.template.metadata.labels", f"Invalid value: {labels}: `selector` does not match template `labels`"
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")


def _budget(spec: Object) -> Iterator[Fault]:
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield "spec", "Invalid value: minAvailable and maxUnavailable cannot be both set"
    for field in ("minAvailable", "maxUnavailable"):
        yield from _amount(spec.get(field), f"spec.{field}")
    yield from _selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in {None, "IfHealthyBudget", "AlwaysAllow"}:
        supported = 'supported values: "AlwaysAllow", "IfHealthyBudget"'
        yield "spec.unhealthyPodEvictionPolicy", f'Unsupported value: "{policy}": {supported}'


def _taints(taints: list[Object]) -> Iterator[Fault]:
    seen = set()
    for index, taint in enumerate(taints):
        what = taint.get("key"), taint.get("effect")
        if not what[0]:
            yield f"metadata.taints[{index}].key", "Required value"
        if what[1] not in {"NoSchedule", "PreferNoSchedule", "NoExecute"}:
            yield f"metadata.taints[{index}].effect", f'Unsupported value: "{what[1]}"'
        if what in seen:
            yield f"metadata.taints[{index}]", "Duplicate value: taints must be unique by key and effect pair"
        seen.add(what)


def _immutable(resource: Resource, item: Object, old: Object) -> Iterator[Fault]:
    before, after = old.get("spec") or {}, item.get("spec") or {}
    if resource.kind in _SELECTING and before.get("selector") != after.get("selector"):
        yield "spec.selector", "Invalid value: field is immutable"
    if resource.kind == "Pod" and _fixed(before) != _fixed(after):
        yield "spec", _POD_IS_FIXED


def _fixed(spec: Object) -> dict[str, Any]:
    """The part of a pod's spec that may not change."""
    fixed = {name: value for name, value in spec.items() if name not in {"tolerations", "activeDeadlineSeconds"}}
    for field in ("containers", "initContainers"):
        hidden = {"image", "imagePullPolicy"}
        fixed[field] = [{k: v for k, v in one.items() if k not in hidden} for one in spec.get(field) or []]
    return fixed
