"""Command documents (schema 2.2): what SSM checks in them and in the parameters sent, and how parameters get in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
_TYPES = ("String", "StringList")


class SsmError(Exception):
    """An error that SSM would answer; `code` is its type on the wire."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Document:
    """A command document with one `aws:runShellScript` step. `version` counts from 1."""

    name: str
    content: Mapping[str, Any]
    version: int = 1

    @classmethod
    def parse(cls, name: str, text: str, version: int = 1) -> Document:
        """The document in JSON text. Raises SsmError as CreateDocument would."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise SsmError("InvalidDocumentContent", f"no JSON: {error}") from None
        if not isinstance(content, dict) or content.get("schemaVersion") != "2.2":
            raise SsmError("InvalidDocumentSchemaVersion", "the stand-in knows schemaVersion 2.2 only")
        steps = content.get("mainSteps")
        if not isinstance(steps, list) or [step.get("action") for step in steps] != ["aws:runShellScript"]:
            raise SsmError("InvalidDocumentContent", "the stand-in runs documents with one aws:runShellScript step")
        document = cls(name, content, version)
        for parameter, schema in document.parameters.items():
            if schema.get("type") not in _TYPES:
                raise SsmError("InvalidDocumentContent", f"parameter {parameter}: the stand-in knows {_TYPES} only")
        declared = set(document.parameters)
        for used in _REFERENCE.findall(json.dumps(document.inputs)):
            if used not in declared:
                raise SsmError("InvalidDocumentContent", f"parameter {used} is used but not declared")
        return document

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each parameter."""
        found: Mapping[str, Mapping[str, Any]] = self.content.get("parameters", {})
        return found

    @property
    def step(self) -> str:
        """The name of its step, which is part of the output's path."""
        return str(self.content["mainSteps"][0]["name"])

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What its step is given, with references to parameters."""
        found: Mapping[str, Any] = self.content["mainSteps"][0]["inputs"]
        return found

    def check(self, sent: Mapping[str, Sequence[str]]) -> dict[str, str | list[str]]:
        """The value of every parameter, with defaults. Raises SsmError as SendCommand would."""
        for name in sent:
            if name not in self.parameters:
                raise SsmError("InvalidParameters", f"Parameter {name} is not supported by this document")
        return {name: self._value(name, schema, sent) for name, schema in self.parameters.items()}

    def _value(self, name: str, schema: Mapping[str, Any], sent: Mapping[str, Sequence[str]]) -> str | list[str]:
        many = schema["type"] == "StringList"
        if name in sent:
            values = list(sent[name])
        elif "default" in schema:
            values = list(schema["default"]) if many else [schema["default"]]
        else:
            raise SsmError("InvalidParameters", f"Parameter {name} is required")
        if not many and len(values) != 1:
            raise SsmError("InvalidParameters", f"Parameter {name} takes one value")
        if not schema.get("minItems", 0) <= len(values) <= schema.get("maxItems", len(values)):
            raise SsmError("InvalidParameters", f"Parameter {name} has {len(values)} values: too few or too many")
        for value in values:
            self._check_text(name, schema, value)
        return values if many else values[0]

    @staticmethod
    def _check_text(name: str, schema: Mapping[str, Any], value: str) -> None:
        pattern = schema.get("allowedPattern")
        if pattern is not None and re.fullmatch(pattern, value) is None:
            raise SsmError("InvalidParameters", f'Parameter "{name}" has value "{value}" not matching "{pattern}".')
        if "allowedValues" in schema and value not in schema["allowedValues"]:
            raise SsmError("InvalidParameters", f'Parameter "{name}" has value "{value}" that is not allowed.')
        if not schema.get("minChars", 0) <= len(value) <= schema.get("maxChars", len(value)):
            raise SsmError("InvalidParameters", f"Parameter {name} is too short or too long")

    def script(self, values: Mapping[str, str | list[str]]) -> str:
        """The step's script with the parameters put in, as the agent does it: as plain text, without any quoting."""
        lines: list[str] = []
        for line in self.inputs["runCommand"]:
            alone = _REFERENCE.fullmatch(line)
            value = values[alone[1]] if alone else None
            if isinstance(value, list):
                lines.extend(value)
            else:
                lines.append(_filled(line, values))
        return "\n".join(lines) + "\n"

    def seconds(self, values: Mapping[str, str | list[str]]) -> float:
        """How long its script may run; SSM's default is an hour."""
        return float(_filled(str(self.inputs.get("timeoutSeconds", "3600")), values))


def _filled(text: str, values: Mapping[str, str | list[str]]) -> str:
    def text_of(reference: re.Match[str]) -> str:
        value = values[reference[1]]
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return _REFERENCE.sub(text_of, text)
