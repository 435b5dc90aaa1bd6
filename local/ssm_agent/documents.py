"""Command documents (schema 2.2) as SSM takes them: what it checks in them, and how it says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paydown.clients.command_documents import REFERENCE, CommandDocument, InvalidParameter

_TYPES = ("String", "StringList")


class SsmError(Exception):
    """An error that SSM would answer; `code` is its type on the wire."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Document(CommandDocument):
    """A document that SSM keeps. `version` counts from 1."""

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
        for used in REFERENCE.findall(json.dumps(document.inputs)):
            if used not in declared:
                raise SsmError("InvalidDocumentContent", f"parameter {used} is used but not declared")
        return document

    def check(self, sent: Mapping[str, Sequence[str]]) -> dict[str, str | list[str]]:
        """The value of every parameter, with defaults. Raises SsmError as SendCommand would."""
        try:
            return super().check(sent)
        except InvalidParameter as error:
            raise SsmError("InvalidParameters", str(error)) from None
