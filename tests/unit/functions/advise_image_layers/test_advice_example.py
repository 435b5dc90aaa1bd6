"""The example in docs/ is what the code gives."""

from __future__ import annotations

from tests.unit.functions.advise_image_layers.example import PAGE, advice, page


def test_the_page_is_what_the_code_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m tests.unit.functions.advise_image_layers.example writes it"
    )


def test_the_example_shows_both_kinds_of_looks() -> None:
    rules = [one.rule for one in advice().advice]
    assert rules == ["volatile-before-stable", "package-lists-left", "deleted-later"]
