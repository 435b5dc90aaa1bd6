"""What a translated template comes to for given parameters: its conditions decided, its references as readable text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()


class Resolved:
    """The resources that exist for some parameters; `!Ref X` reads `${X}`, and `!GetAtt X.Arn` reads `${X.Arn}`."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._template = template
        defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
        self.parameters: dict[str, Any] = {**defaults, **parameters}
        self.resources: dict[str, dict[str, Any]] = {
            name: self.value({key: part for key, part in resource.items() if key != "Condition"})
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._holds({"Condition": resource["Condition"]})
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of one type."""
        return {name: entry["Properties"] for name, entry in self.resources.items() if entry["Type"] == kind}

    def value(self, node: Any) -> Any:
        """A part of the template with its intrinsic functions resolved."""
        if isinstance(node, list):
            return [found for item in node if (found := self.value(item)) is not ABSENT]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        return {key: found for key, item in node.items() if (found := self.value(item)) is not ABSENT}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return ABSENT if argument == "AWS::NoValue" else self.parameters.get(argument, f"${{{argument}}}")
            case "GetAtt":
                return f"${{{'.'.join(argument)}}}"
            case "If":
                condition, then, otherwise = argument
                return self.value(then if self._holds({"Condition": condition}) else otherwise)
            case "Sub":
                text, names = argument if isinstance(argument, list) else (argument, {})
                resolved = {key: self.value(item) for key, item in names.items()}
                return re.sub(r"\$\{(\w+)\}", lambda found: str(resolved.get(found[1], found[0])), text)
            case "Join":
                return argument[0].join(map(str, self.value(argument[1])))
            case "FindInMap":
                table, row, column = self.value(argument)
                return self._template["Mappings"][table][row][column]
        raise NotImplementedError(name)

    def _holds(self, condition: Any) -> bool:
        ((name, argument),) = condition.items()
        match name:
            case "Condition":
                return self._holds(self._template["Conditions"][argument])
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Equals":
                left, right = (self.value(side) for side in argument)
                return bool(left == right)
        raise NotImplementedError(name)


def statements(resolved: Resolved, role: str) -> Iterator[dict[str, Any]]:
    """The statements of a role: its own and those of the template's policies attached to it, one action each."""
    properties = resolved.resources[role]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for attached in properties.get("ManagedPolicyArns", []):
        name = attached.removeprefix("${").removesuffix("}")
        documents.append(resolved.resources[name]["Properties"]["PolicyDocument"])
    for document in documents:
        for statement in document["Statement"]:
            for action in _list(statement["Action"]):
                yield {**statement, "Action": action, "Resource": _list(statement["Resource"])}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
