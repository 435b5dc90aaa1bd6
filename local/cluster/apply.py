"""Server-side apply: a manager states the fields that it owns; the others' are left alone, or are a conflict."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from local.cluster import fields, merging, validation
from local.cluster.api import Api, Options
from local.cluster.clock import stamp
from local.cluster.failures import ApiError, bad_request
from local.cluster.fields import Path
from local.cluster.kinds import Resource
from local.cluster.store import Object


def apply(
    api: Api, resource: Resource, namespace: str, name: str, wanted: Any, options: Options
) -> tuple[Object, bool]:
    """Apply `wanted`; returns the object and whether it is new. Raises ApiError 400, 409 with the fields, 500."""
    if not isinstance(wanted, Mapping) or not wanted.get("apiVersion") or not wanted.get("kind"):
        raise bad_request("an applied object needs apiVersion and kind")
    if (wanted.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    for path, word, value in validation.wrong_types(wanted) if not resource.custom else ():
        # What a real server answers here: no reason, and no 422.
        given = "string" if isinstance(value, str) else type(value).__name__
        where = f"{namespace}/{name}; {resource.api_version}, Kind={resource.kind}"
        raise ApiError(500, "", f"failed to create typed patch object ({where}): .{path}: expected {word}, got {given}")
    wanted = copy.deepcopy(dict(wanted))
    with api.store.lock:
        old = api.store.get(resource, namespace, name)
        if old is None:
            return _create(api, resource, namespace, name, wanted, options), True
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        mine = fields.owned(wanted)
        others, before = _split(old, options)
        rivals = _rivals(old, mine, others)
        if rivals and not options.force:
            raise _conflict(rivals, resource)
        for held in others:
            held["paths"] -= {path for path, manager in rivals if manager == held["manager"]}
        item = _combine(old, wanted)
        kept: set[Path] = set().union(*(held["paths"] for held in others))
        for dropped in _dropped(before - mine.keys() - kept, kept):
            _remove(item, dropped)
        item["metadata"] = {**item["metadata"], "managedFields": _entries(api, old, others, mine, options, resource)}
        if version:
            item["metadata"]["resourceVersion"] = version
        return api.commit(resource, old, item, options, own_fields=False), False


def _create(api: Api, resource: Resource, namespace: str, name: str, wanted: Object, options: Options) -> Object:
    wanted["metadata"] = {**(wanted.get("metadata") or {}), "name": name}
    made = api.create(resource, namespace, wanted, replace(options, dry_run=True), own_fields=False)
    entry = fields.entry(
        options.manager, "Apply", options.subresource, resource.api_version, fields.owned(wanted), stamp(api.now())
    )
    made["metadata"]["managedFields"] = [entry]
    return made if options.dry_run else api.store.put(resource, made)


def _split(old: Object, options: Options) -> tuple[list[dict[str, Any]], set[Path]]:
    """The other managers' entries with their paths, and what this manager applied before."""
    others, before = [], set()
    for held in old["metadata"].get("managedFields", []):
        paths = fields.from_tree(held["fieldsV1"])
        who = held["manager"], held["operation"], held.get("subresource", "")
        if who == (options.manager, "Apply", options.subresource):
            before = paths
        else:
            others.append({"entry": held, "manager": held["manager"], "paths": paths})
    return others, before


def _rivals(old: Object, mine: Mapping[Path, Any], others: list[dict[str, Any]]) -> list[tuple[Path, str]]:
    """(field, manager) of each field that another manager owns and that the applied object would change."""
    now = fields.owned(old)
    return [
        (path, held["manager"])
        for held in others
        for path in sorted(held["paths"] & mine.keys())
        if now.get(path) != mine[path]
    ]


def _conflict(rivals: list[tuple[Path, str]], resource: Resource) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using {resource.api_version}',
            "field": fields.readable(path),
        }
        for path, manager in rivals
    ]
    many = "conflict" if len(causes) == 1 else "conflicts"
    listed = ", ".join(f'"{manager}": {fields.readable(path)}' for path, manager in rivals)
    message = f"Apply failed with {len(causes)} {many}: {many} with {listed}"
    return ApiError(409, "Conflict", message, {"causes": causes})


def _entries(
    api: Api, old: Object, others: list[dict[str, Any]], mine: Mapping[Path, Any], options: Options, resource: Resource
) -> list[dict[str, Any]]:
    """The new managedFields; an entry that did not change keeps its time, so that a repeated apply changes nothing."""
    entries = [
        held["entry"]
        if held["paths"] == fields.from_tree(held["entry"]["fieldsV1"])
        else {**held["entry"], "fieldsV1": fields.to_tree(held["paths"])}
        for held in others
        if held["paths"]
    ]
    at = stamp(api.now())
    new = fields.entry(options.manager, "Apply", options.subresource, resource.api_version, mine, at)
    for place, held in enumerate(old["metadata"].get("managedFields", [])):
        if {**held, "time": at} == new:
            return [*entries[:place], held, *entries[place:]]
    return [*entries, new]


def _combine(live: Any, wanted: Any, field: str = "", parent: str = "") -> Any:
    """`wanted` laid over `live`: maps and keyed lists merge, sets unite, everything else is replaced."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping) and not merging.is_atomic_map(field, parent):
        merged = dict(live)
        for name, value in wanted.items():
            merged[name] = _combine(live[name], value, name, field) if name in live else copy.deepcopy(value)
        return merged
    if isinstance(wanted, list) and isinstance(live, list):
        if merging.is_set(field, wanted):
            return live + [value for value in wanted if value not in live]
        keys = merging.list_keys(field, live, wanted)
        if keys:
            merged_list = list(live)
            for element in wanted:
                where = merging.identity(element, keys)
                place = next((i for i, held in enumerate(live) if merging.identity(held, keys) == where), None)
                if place is None:
                    merged_list.append(copy.deepcopy(element))
                else:
                    merged_list[place] = _combine(live[place], element)
            return merged_list
    return copy.deepcopy(wanted)


def _dropped(paths: set[Path], kept: set[Path]) -> list[Path]:
    """The fields to remove, whole elements of keyed lists first; an element in which others own something stays."""
    elements = {path for path in paths if path[-1].startswith("k:")}
    stays = {element for element in elements if any(path[: len(element)] == element for path in kept)}
    keys = {(*element, f"f:{name}") for element in stays for name in fields.key_names(element[-1])}
    return sorted(elements - stays) + sorted(paths - elements - keys, key=len, reverse=True)


def _remove(item: Any, path: Path) -> None:
    """Take one owned field out of an object, copying what lies on the way (stored objects are never changed)."""
    part, rest = path[0], path[1:]
    place = _locate(item, part)
    if place is None:
        return
    if rest:
        item[place] = copy.copy(item[place])
        _remove(item[place], rest)
        if item[place] == [] or (item[place] == {} and not part.startswith("k:")):
            del item[place]
    else:
        del item[place]


def _locate(container: Any, part: str) -> Any:
    """The key or index of a path's part in a container, None when it is not there."""
    if part.startswith("f:"):
        name = part[2:]
        return name if isinstance(container, dict) and name in container else None
    if not isinstance(container, list):
        return None
    for index, element in enumerate(container):
        if part.startswith("v:"):
            if fields.value_part(element) == part:
                return index
        elif isinstance(element, Mapping) and fields.is_element(element, part):
            return index
    return None
