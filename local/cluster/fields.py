"""Field ownership: which manager owns which field, in the `fieldsV1` form of metadata.managedFields.

A field is a path of parts in the form that fieldsV1 uses: `f:name` (a map's field), `k:{...}` (an element of a keyed
list), `v:...` (an element of a set). A manager's entry is the set of such paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from local.cluster import merging

Path = tuple[str, ...]

_NOT_OWNED = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                "resourceVersion", "generation", "managedFields", "selfLink",
            )
        ),
    }
)  # fmt: skip


def owned(item: Any) -> dict[Path, Any]:
    """Every field of an object that can be owned, with its value; an element of a keyed list has the value None."""
    found: dict[Path, Any] = {}
    _collect(item, (), "", "", found)
    return {path: value for path, value in found.items() if path[:1] not in _NOT_OWNED and path[:2] not in _NOT_OWNED}


def _collect(value: Any, path: Path, field: str, parent: str, found: dict[Path, Any]) -> None:
    if isinstance(value, Mapping) and value and not merging.is_atomic_map(field, parent):
        for name, inner in value.items():
            _collect(inner, (*path, f"f:{name}"), name, field, found)
        return
    if isinstance(value, list) and value:
        if merging.is_set(field, value):
            for inner in value:
                found[(*path, value_part(inner))] = inner
            return
        keys = merging.list_keys(field, value)
        if keys:
            for inner in value:
                part = key_part(inner, keys)
                found[(*path, part)] = None
                _collect(inner, (*path, part), "", "", found)
            return
    found[path] = value


def key_part(element: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The `k:` part of an element of a keyed list."""
    names = {key: element[key] for key in keys if key in element}
    return "k:" + json.dumps(names, separators=(",", ":"), sort_keys=True)


def value_part(value: Any) -> str:
    """The `v:` part of an element of a set."""
    return f"v:{json.dumps(value)}"


def is_element(element: Mapping[str, Any], part: str) -> bool:
    """Whether a `k:` part means this element."""
    names: dict[str, Any] = json.loads(part[2:])
    return all(element.get(name) == value for name, value in names.items())


def key_names(part: str) -> list[str]:
    """The names of the fields that a `k:` part identifies an element by."""
    return list(json.loads(part[2:]))


def to_tree(paths: Iterable[Path]) -> dict[str, Any]:
    """The fieldsV1 form of a set of paths."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        if path and path[-1].startswith("k:"):
            place["."] = {}
    return tree


def from_tree(tree: Mapping[str, Any], path: Path = ()) -> set[Path]:
    """The set of paths of a fieldsV1 form."""
    paths: set[Path] = set()
    for part, inner in tree.items():
        if part == ".":
            paths.add(path)
        elif inner:
            paths |= from_tree(inner, (*path, part))
        else:
            paths.add((*path, part))
    return paths


def readable(path: Path) -> str:
    """A path as people write it, such as `.spec.containers[name="c"].image`."""
    text = ""
    for part in path:
        mark, _, rest = part.partition(":")
        if mark == "f":
            text += f".{rest}"
        elif mark == "k":
            inner = ",".join(f"{name}={json.dumps(value)}" for name, value in json.loads(rest).items())
            text += f"[{inner}]"
        else:
            text += f"[={rest}]"
    return text


def entry(
    manager: str, operation: str, subresource: str, api_version: str, paths: Iterable[Path], at: str
) -> dict[str, Any]:
    """One element of metadata.managedFields."""
    made = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_tree(paths),
    }
    if subresource:
        made["subresource"] = subresource
    return made


def record_update(old: Mapping[str, Any] | None, new: dict[str, Any], manager: str, subresource: str, at: str) -> None:
    """Book in `new` who changed what since `old`: a changed field leaves its former owners and goes to `manager`."""
    before = owned(old) if old else {}
    after = owned(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    # The absence of "." membership for maps means that only leaves move; that is how fieldsV1 is compared too.
    entries = [dict(held) for held in (old or {}).get("metadata", {}).get("managedFields", [])]
    if not changed and not gone:
        _keep(new, entries)
        return
    mine = None
    kept = []
    for held in entries:
        paths = from_tree(held["fieldsV1"]) - gone
        is_mine = (held["manager"], held["operation"], held.get("subresource", "")) == (manager, "Update", subresource)
        paths = paths | changed if is_mine else paths - changed
        if is_mine:
            mine = held
        if paths:
            moved = paths != from_tree(held["fieldsV1"])
            kept.append({**held, "fieldsV1": to_tree(paths), "time": at if moved and is_mine else held["time"]})
    if mine is None and changed:
        kept.append(entry(manager, "Update", subresource, new.get("apiVersion", "v1"), changed, at))
    _keep(new, kept)


def _keep(new: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    metadata = {**new.get("metadata", {})}
    metadata.pop("managedFields", None)
    if entries:
        metadata["managedFields"] = entries
    new["metadata"] = metadata
