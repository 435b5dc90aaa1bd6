"""The threat model names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs/threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
STRIDE = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((TESTS / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_has_a_test_or_stands_among_those_without() -> None:
    parts = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")[1:]}
    assert [name for name in parts if name in STRIDE] == list(STRIDE)
    for name in STRIDE:
        rows = [line for line in parts[name].splitlines() if line.startswith("| ") and not line.startswith("| threat")]
        rows = [row for row in rows if not row.startswith("| ---")]
        assert rows
        for row in rows:
            assert re.search(r"`[\w/]+\.py::\w+`", row), row
    assert "Without a test" in parts
