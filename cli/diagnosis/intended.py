"""What a template comes to in its stack: conditions decided, references resolved, as far as the stack tells.

What only AWS knows (most attributes) becomes UNKNOWN within its text, which stands for whatever is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

UNKNOWN = "\ue000"
"""A character that no template holds."""
_ABSENT = object()


class UnreadableError(Exception):
    """The template says something in a way that is not understood here."""


@dataclass(frozen=True)
class Intended:
    """A template with the `parameters` of its stack, the physical ids of its resources, and the pseudo parameters."""

    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    physical: Mapping[str, str]
    pseudo: Mapping[str, str]

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The properties of a resource. Raises UnreadableError."""
        found: dict[str, Any] = self.value(self.template["Resources"][logical_id].get("Properties", {}))
        return found

    def either_way(self, document: Any) -> dict[str, Any]:
        """A policy document with all statements that its conditions may give. Raises UnreadableError."""
        found: list[Any] = []
        waiting = list(document.get("Statement", []))
        while waiting:
            one = waiting.pop()
            if isinstance(one, Mapping) and "Fn::If" in one:
                waiting += one["Fn::If"][1:]
            elif (statement := self.value(one)) is not _ABSENT:
                found.append(statement)
        return {"Statement": found}

    def value(self, node: Any) -> Any:
        """A part of the template with its intrinsic functions resolved. Raises UnreadableError."""
        if isinstance(node, list):
            return [found for item in node if (found := self.value(item)) is not _ABSENT]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in ("Ref", "Condition") and isinstance(argument, str):
                return self._ref(argument) if name == "Ref" else self.holds(node)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: found for key, item in node.items() if (found := self.value(item)) is not _ABSENT}

    def holds(self, condition: Any) -> bool:
        """Whether a condition of the template is met. Raises UnreadableError."""
        ((name, argument),) = condition.items()
        match name:
            case "Condition":
                there = self._conditional.get(argument)
                return self.holds(self.template["Conditions"][argument]) if there is None else there
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Or":
                return any(map(self.holds, argument))
            case "Fn::Equals":
                left, right = (self.value(side) for side in argument)
                return bool(left == right)
        raise UnreadableError(name)

    @cached_property
    def _conditional(self) -> dict[str, bool]:
        """Conditions of resources, and whether the stack has those: what was decided needs no deciding."""
        resources = self.template["Resources"].items()
        return {one["Condition"]: name in self.physical for name, one in resources if "Condition" in one}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Fn::If":
                condition, then, otherwise = argument
                return self.value(then if self.holds({"Condition": condition}) else otherwise)
            case "Fn::GetAtt":
                return self._attribute((argument if isinstance(argument, str) else ".".join(argument)).split(".")[0])
            case "Fn::Join":
                return argument[0].join(map(str, self.value(argument[1])))
            case "Fn::Sub":
                text, names = argument if isinstance(argument, list) else (argument, {})
                local = {key: str(self.value(item)) for key, item in names.items()}
                return re.sub(r"\$\{([^}]+)\}", lambda found: self._substituted(found[1], local), text)
        raise UnreadableError(name)

    def _substituted(self, name: str, local: Mapping[str, str]) -> str:
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        if name in local:
            return local[name]
        if "." in name:
            return self._attribute(name.split(".", maxsplit=1)[0])
        return str(self._ref(name))

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _ABSENT
        if name in self.parameters:
            listed = str(self.template.get("Parameters", {}).get(name, {}).get("Type", "")).startswith(
                ("Comma", "List")
            )
            given = self.parameters[name]
            return given.split(",") if listed else given
        return self.pseudo.get(name) or self.physical.get(name, UNKNOWN)

    def _attribute(self, logical_id: str) -> str:
        """An attribute holds at least the last part of the physical id, as an ARN does."""
        return f"{UNKNOWN}{self.physical.get(logical_id, '').rsplit('/', 1)[-1]}{UNKNOWN}"


def statements(document: Mapping[str, Any]) -> list[str]:
    """The statements of a policy, each as canonical JSON: one action or resource is a list of one."""
    found = document.get("Statement", [])
    return [
        json.dumps(
            {key: _listed(value) if key.endswith(("Action", "Resource")) else value for key, value in one.items()},
            sort_keys=True,
            ensure_ascii=False,
        )
        for one in _listed(found)
    ]


def missing(intended: list[str], granted: list[str]) -> list[str]:
    """Those statements that are intended, and to which none of the granted ones comes."""
    return [one for one in intended if not any(same(one, other) for other in granted)]


def beyond(intended: list[str], granted: list[str]) -> list[str]:
    """Those statements that are granted, and that nobody intended."""
    return [one for one in granted if not any(same(other, one) for other in intended)]


def same(intended: str, granted: str) -> bool:
    """Whether a statement comes to what the template says, whatever stands in the place of what is unknown."""
    return re.fullmatch('[^"]*'.join(map(re.escape, intended.split(UNKNOWN))), granted) is not None


def told(statement: str) -> str:
    """A statement, as people read it."""
    one = json.loads(statement.replace(UNKNOWN, "…"))
    actions = ", ".join(one.get("Action", one.get("NotAction", ["?"])))
    return f"{one.get('Effect')} {actions} on {', '.join(map(str, one.get('Resource', ['?'])))}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
