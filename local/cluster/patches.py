"""The three older ways to patch: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from local.cluster import merging
from local.cluster.failures import ApiError, bad_request

_MISSING = object()


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: maps merge, null removes, everything else replaces. Neither argument is changed."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902. Raises ApiError 400 for a malformed operation, 422 for one that does not apply."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise bad_request("a JSON patch is a list of operations")
    holder = {"": copy.deepcopy(document)}
    for operation in operations:
        if not isinstance(operation, Mapping) or "op" not in operation or "path" not in operation:
            raise bad_request(f"malformed JSON patch operation: {operation!r}")
        _operate(holder, operation)
    return holder[""]


def _operate(holder: dict[str, Any], operation: Mapping[str, Any]) -> None:
    verb, path = operation["op"], _pointer(operation["path"])
    if verb == "test":
        if _read(holder, path) != operation.get("value"):
            raise _does_not_apply(f"testing value {operation['path']} failed")
    elif verb == "remove":
        _remove(holder, path)
    elif verb == "replace":
        _read(holder, path)
        _write(holder, path, operation.get("value"), insert=False)
    elif verb == "add":
        _write(holder, path, copy.deepcopy(operation.get("value")), insert=True)
    elif verb in {"move", "copy"}:
        source = _pointer(operation.get("from", ""))
        value = copy.deepcopy(_read(holder, source))
        if verb == "move":
            _remove(holder, source)
        _write(holder, path, value, insert=True)
    else:
        raise bad_request(f"unknown JSON patch operation {verb!r}")


def _does_not_apply(why: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise bad_request(f"malformed JSON pointer: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")]


def _index(part: str, last: int) -> int:
    if not part.isdigit() or int(part) > last:
        raise _does_not_apply(f"no such element: {part}")
    return int(part)


def _read(holder: Any, path: list[str]) -> Any:
    value = holder
    for part in path:
        if isinstance(value, list):
            value = value[_index(part, len(value) - 1)]
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        else:
            raise _does_not_apply(f"path does not exist: {'/'.join(path)}")
    return value


def _remove(holder: Any, path: list[str]) -> None:
    _read(holder, path)
    container, part = _read(holder, path[:-1]), path[-1]
    del container[int(part) if isinstance(container, list) else part]


def _write(holder: Any, path: list[str], value: Any, *, insert: bool) -> None:
    container, part = _read(holder, path[:-1]), path[-1]
    if isinstance(container, list):
        index = len(container) if part == "-" else _index(part, len(container))
        if insert:
            container.insert(index, value)
        else:
            container[index] = value
    elif isinstance(container, dict):
        container[part] = value
    else:
        raise _does_not_apply(f"not a container: {'/'.join(path[:-1])}")


def strategic_merge(target: Any, patch: Any) -> Any:
    """Kubernetes' own patch: keyed lists merge by their key, `$patch` directives are obeyed. Raises ApiError 400."""
    if not isinstance(patch, Mapping):
        raise bad_request("a strategic merge patch is an object")
    merged = _merge_maps(target, patch)
    return {} if merged is _MISSING else merged


def _merge_maps(target: Any, patch: Mapping[str, Any]) -> Any:
    directive = patch.get("$patch")
    if directive == "delete":
        return _MISSING
    merged = dict(target) if isinstance(target, Mapping) and directive != "replace" else {}
    if "$retainKeys" in patch:
        merged = {name: value for name, value in merged.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        result = _MISSING if value is None else _merge(merged.get(name), value, name)
        if result is _MISSING:
            merged.pop(name, None)
        else:
            merged[name] = result
    _obey_list_directives(merged, patch)
    return merged


def _merge(target: Any, patch: Any, field: str) -> Any:
    if isinstance(patch, Mapping):
        return _merge_maps(target, patch)
    if isinstance(patch, list):
        return _merge_lists(target if isinstance(target, list) else [], patch, field)
    return patch


def _merge_lists(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if any(isinstance(item, Mapping) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    if merging.is_set(field, patch):
        return target + [item for item in patch if item not in target]
    keys = merging.list_keys(field, target, patch)[:1]  # a strategic merge knows one key only
    if not keys:
        return [_clean(item) for item in patch]
    merged = list(target)
    for item in patch:
        where = merging.identity(item, keys)
        if where == (None,):
            raise bad_request(f"map: {item!r} does not contain declared merge key: {keys[0]}")
        place = next((i for i, old in enumerate(merged) if merging.identity(old, keys) == where), None)
        result = _merge_maps(merged[place] if place is not None else {}, item)
        if place is None:
            merged += [] if result is _MISSING else [result]
        elif result is _MISSING:
            del merged[place]
        else:
            merged[place] = result
    return merged


def _clean(item: Any) -> Any:
    """An element of a list that is replaced whole, without nulls and directives."""
    return _merge_maps({}, item) if isinstance(item, Mapping) else copy.deepcopy(item)


def _obey_list_directives(merged: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for directive, values in patch.items():
        name = directive.partition("/")[2]
        if not name or not directive.startswith("$") or not isinstance(merged.get(name), list):
            continue
        if directive.startswith("$deleteFromPrimitiveList/"):
            merged[name] = [item for item in merged[name] if item not in values]
        elif directive.startswith("$setElementOrder/"):
            merged[name] = _ordered(merged[name], values, name)


def _ordered(items: list[Any], order: list[Any], field: str) -> list[Any]:
    """`items` in the order of `order`; those that it does not name keep their place at the end."""
    keys = merging.list_keys(field, items)[:1]
    wanted = [merging.identity(item, keys) if keys else item for item in order]

    def rank(item: Any) -> int:
        what = merging.identity(item, keys) if keys else item
        return wanted.index(what) if what in wanted else len(wanted)

    return sorted(items, key=rank)
