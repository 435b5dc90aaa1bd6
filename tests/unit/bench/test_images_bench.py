"""The benchmarks of images print one line of JSON, of all parts or of those that were asked for."""

from __future__ import annotations

import json

import pytest

from bench.images import __main__ as program
from bench.images import advise, clean, registry

FIGURES = {"advise_bytes_share": 0.001, "clean_ratio": 1.1, "registry_peak_mb": 46.0}


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []

    def cleaned(count: int) -> dict[str, float]:
        asked.append(count)
        return {"clean_ratio": 1.1}

    monkeypatch.setattr(advise, "measure", lambda: {"advise_bytes_share": 0.001})
    monkeypatch.setattr(clean, "measure", cleaned)
    monkeypatch.setattr(registry, "measure", lambda: {"registry_peak_mb": 46.0})
    return asked


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], list(FIGURES)),
        (["--only", "clean"], ["clean_ratio"]),
        (["--only", "registry", "--only", "advise"], ["registry_peak_mb", "advise_bytes_share"]),
    ],
)
def test_one_line_says_all_that_was_asked_for(
    arguments: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {name: FIGURES[name] for name in names}


def test_how_many_images_are_cleaned(counts: list[int]) -> None:
    program.main(["--only", "clean"])
    program.main(["--only", "clean", "--count", "50"])
    assert counts == [clean.COUNT, 50]


def test_a_part_that_there_is_not() -> None:
    with pytest.raises(SystemExit):
        program.main(["--only", "everything"])
