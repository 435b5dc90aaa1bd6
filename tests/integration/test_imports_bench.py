"""`make bench NAME=imports` measures what it says: plans are made, and their runs end. Not its figures."""

from __future__ import annotations

import json

import pytest

from bench import imports
from local.emulator import PROGRAM
from tests.servers import need


def test_each_function_plans_for_each_event_from_the_built_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    monkeypatch.setattr(imports, "ROUNDS", 1)
    assert imports.main() == 0
    *table, figures = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["peer", *imports.EVENTS]
    assert {name: ratio > 0 for name, ratio in json.loads(figures).items()} == {
        "ratio_max_plain": True,
        "ratio_max_kubernetes": True,
    }
