"""Label and field selectors: as query strings, and as LabelSelector objects."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from local.cluster.failures import bad_request

Requirement = tuple[str, str, tuple[str, ...]]

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SETS = re.compile(rf"^({_NAME})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUALS = re.compile(rf"^({_NAME})\s*(==|=|!=)\s*({_NAME})?$")
_ORDER = re.compile(rf"^({_NAME})\s*([<>])\s*(-?\d+)$")
_EXISTS = re.compile(rf"^(!?)\s*({_NAME})$")
_COMMA = re.compile(r",(?![^(]*\))")


def parse_labels(text: str) -> list[Requirement]:
    """The requirements of a label selector such as `a=1,b in (x,y),!c`. Raises ApiError 400."""
    requirements: list[Requirement] = []
    for part in (piece.strip() for piece in _COMMA.split(text)):
        if not part:
            continue
        if found := _SETS.match(part):
            values = tuple(value.strip() for value in found[3].split(","))
            requirements.append((found[1], "In" if found[2] == "in" else "NotIn", values))
        elif found := _EQUALS.match(part):
            requirements.append((found[1], "NotIn" if found[2] == "!=" else "In", (found[3] or "",)))
        elif found := _ORDER.match(part):
            requirements.append((found[1], "Gt" if found[2] == ">" else "Lt", (found[3],)))
        elif found := _EXISTS.match(part):
            requirements.append((found[2], "DoesNotExist" if found[1] else "Exists", ()))
        else:
            raise bad_request(f"unable to parse requirement: {part!r}")
    return requirements


def from_object(selector: Mapping[str, Any] | None) -> list[Requirement] | None:
    """The requirements of a LabelSelector; None (which matches nothing) for an absent one, [] (everything) for {}."""
    if selector is None:
        return None
    found: list[Requirement] = [(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    expressions = selector.get("matchExpressions") or []
    return found + [(one["key"], one["operator"], tuple(one.get("values") or ())) for one in expressions]


def matches(requirements: Collection[Requirement] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether labels meet every requirement; an absent selector (None) matches nothing."""
    if requirements is None:
        return False
    labels = labels or {}
    return all(_meets(labels, *requirement) for requirement in requirements)


def _meets(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    value = labels.get(key)
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def parse_fields(text: str, allowed: Collection[str]) -> list[tuple[str, bool, str]]:
    """(path, wanted equal, value) of a field selector. Raises ApiError 400 for a field that is not selectable."""
    terms: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.match(r"^([^!=]+)(==|=|!=)(.*)$", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if found[1] not in allowed:
            raise bad_request(f'field label not supported: "{found[1]}"')
        terms.append((found[1], found[2] != "!=", found[3]))
    return terms


def matches_fields(terms: Collection[tuple[str, bool, str]], item: Mapping[str, Any]) -> bool:
    """Whether an object meets every term of a field selector."""
    return all((_field(item, path) == value) is equal for path, equal, value in terms)


def _field(item: Mapping[str, Any], path: str) -> str:
    if path == "source" and isinstance(item.get("source"), Mapping):  # an event's source is its component
        path = "source.component"
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "false" if path in {"spec.unschedulable", "spec.hostNetwork"} else ""
    return str(value)
