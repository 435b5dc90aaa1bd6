"""Command documents (schema 2.2 of SSM): which parameters they take, and the script that comes of them.

SSM does this for the hosts that its agent serves. Where a document is run in another way, it is done here, and no less
strictly: nothing gets into a script that the document's own patterns do not allow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paydown.errors import PermanentError

REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
_WORD = re.compile(r"(?<!^)(?=[A-Z])")

Values = Mapping[str, str | list[str]]
"""The value of each parameter: a text, or those of a list."""


class InvalidParameter(PermanentError):
    """A parameter that the document does not take, or not like this."""


@dataclass(frozen=True)
class CommandDocument:
    """A document with one `aws:runShellScript` step."""

    name: str
    content: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each parameter."""
        found: Mapping[str, Mapping[str, Any]] = self.content.get("parameters", {})
        return found

    @property
    def step(self) -> str:
        """The name of its step, which is part of the output's path in SSM."""
        return str(self.content["mainSteps"][0]["name"])

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What its step is given, with references to parameters."""
        found: Mapping[str, Any] = self.content["mainSteps"][0]["inputs"]
        return found

    def check(self, sent: Mapping[str, Sequence[str]]) -> dict[str, str | list[str]]:
        """The value of every parameter, with defaults. Raises InvalidParameter."""
        for name in sent:
            if name not in self.parameters:
                raise InvalidParameter(f"Parameter {name} is not supported by this document")
        return {name: self._value(name, schema, sent) for name, schema in self.parameters.items()}

    def _value(self, name: str, schema: Mapping[str, Any], sent: Mapping[str, Sequence[str]]) -> str | list[str]:
        many = schema["type"] == "StringList"
        if name in sent:
            values = list(sent[name])
        elif "default" in schema:
            values = list(schema["default"]) if many else [schema["default"]]
        else:
            raise InvalidParameter(f"Parameter {name} is required")
        if not many and len(values) != 1:
            raise InvalidParameter(f"Parameter {name} takes one value")
        if not schema.get("minItems", 0) <= len(values) <= schema.get("maxItems", len(values)):
            raise InvalidParameter(f"Parameter {name} has {len(values)} values: too few or too many")
        for value in values:
            _check_text(name, schema, value)
        return values if many else values[0]

    def script(self, values: Values) -> str:
        """The step's script with the parameters put in, as SSM's agent does it: as plain text, without any quoting."""
        lines: list[str] = []
        for line in self.inputs["runCommand"]:
            alone = REFERENCE.fullmatch(line)
            value = values[alone[1]] if alone else None
            if isinstance(value, list):
                lines.extend(value)
            else:
                lines.append(_filled(line, values))
        return "\n".join(lines) + "\n"

    def seconds(self, values: Values) -> float:
        """How long its script may run; SSM's default is an hour."""
        return float(_filled(str(self.inputs.get("timeoutSeconds", "3600")), values))


def file_name(document: str) -> str:
    """The file of a document: that of `ListBasePackages` is `list_base_packages.json`."""
    return f"{_WORD.sub('_', document).lower()}.json"


def read_document(folder: Path, name: str) -> CommandDocument:
    """The document of this name below `folder`, which is a toil type's own."""
    return CommandDocument(name, json.loads((folder / file_name(name)).read_text()))


def _check_text(name: str, schema: Mapping[str, Any], value: str) -> None:
    pattern = schema.get("allowedPattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise InvalidParameter(f'Parameter "{name}" has value "{value}" not matching "{pattern}".')
    if "allowedValues" in schema and value not in schema["allowedValues"]:
        raise InvalidParameter(f'Parameter "{name}" has value "{value}" that is not allowed.')
    if not schema.get("minChars", 0) <= len(value) <= schema.get("maxChars", len(value)):
        raise InvalidParameter(f"Parameter {name} is too short or too long")


def _filled(text: str, values: Values) -> str:
    def text_of(reference: re.Match[str]) -> str:
        value = values[reference[1]]
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return REFERENCE.sub(text_of, text)
