"""Reading what operators write: JSON or YAML, from a file or stdin, as plain JSON data.

Stricter than the parsers themselves: of a name that stands there twice the second would silently win, and YAML turns
some texts into dates. Both are mistakes in a document that decides what may be done to machines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cli.exits import NotFoundError, UsageError
from paydown.errors import InvalidDocument

MOST_BYTES = 16 * 2**20


def read_document(name: str, kind: str) -> Any:
    """The plain JSON data of a file (`-` is stdin). Raises InvalidDocument, NotFoundError, UsageError."""
    text = _text(name, kind)
    if name.lower().endswith((".yaml", ".yml")):
        return _yaml(text, kind)
    if name.lower().endswith(".json") or text.lstrip()[:1] in ("{", "["):
        return _json(text, kind)
    return _yaml(text, kind)


def _text(name: str, kind: str) -> str:
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {name}") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise InvalidDocument(kind, [("", f"it is over {MOST_BYTES // 2**20} MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDocument(kind, [("", f"it is no UTF-8 text: byte {error.start}")]) from None


def _json(text: str, kind: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise InvalidDocument(kind, [(name, "stands twice in one object")])
            found[name] = value
        return found

    def refused(name: str) -> Any:
        raise InvalidDocument(kind, [("", f"{name} is no number of JSON")])

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refused)
    except json.JSONDecodeError as error:
        raise InvalidDocument(kind, [(f"line {error.lineno}, column {error.colno}", error.msg)]) from None
    except RecursionError:
        raise InvalidDocument(kind, [("", "it is nested too deeply")]) from None


def _yaml(text: str, kind: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError("YAML needs one more package: pip install pyyaml (JSON needs none)") from None

    class Loader(yaml.SafeLoader):
        """SafeLoader that leaves dates as the texts that they are, and refuses a name that stands there twice."""

        yaml_implicit_resolvers = {  # noqa: RUF012 -- the name and type are PyYAML's
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            for name in names:
                if names.count(name) > 1:
                    line = node.start_mark.line + 1
                    raise InvalidDocument(kind, [(f"line {line}", f"{name} stands twice in one map")])
            return super().construct_mapping(node, deep)

    try:
        data = yaml.load(text, Loader)  # noqa: S506 -- it is a SafeLoader
        return json.loads(json.dumps(data, allow_nan=False))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidDocument(kind, [(where, error.problem or "it is no YAML")]) from None
    except yaml.YAMLError as error:
        raise InvalidDocument(kind, [("", f"it is no YAML: {error}")]) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument(kind, [("", f"it holds what JSON cannot: {error}")]) from None
