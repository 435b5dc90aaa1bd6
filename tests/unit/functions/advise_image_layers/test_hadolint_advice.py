"""hadolint's findings beside our own: what both say of one line is said once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from functions.advise_image_layers import looking
from functions.advise_image_layers.advice import Limits, advise
from functions.advise_image_layers.looking import _linted
from functions.advise_image_layers.sources import hadolint
from functions.advise_image_layers.sources.finding import Found
from functions.advise_image_layers.sources.fitting import fitted
from functions.advise_image_layers.sources.hadolint import Fault
from tests.unit.functions.advise_image_layers.histories import copied, image

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(saving_bytes=1, saving_layers=2, upgrade_age=timedelta(days=30))
TEXT = "FROM debian AS build\nADD x /x\nFROM debian\nADD a.conf /a\n"


def test_what_is_said_of_another_line_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [
        Fault("DL3006", "warning", 1, "Tag it."),
        Fault("DL3020", "error", 2, "Use COPY."),
        Fault("DL3006", "warning", 3, "Tag it."),
        Fault("DL3020", "error", 4, "Use COPY."),
    ]
    monkeypatch.setattr(looking.hadolint, "faults", lambda text, least: faults)
    known = fitted(image(copied("/", "e"), copied("/a", "a", word="ADD")), TEXT)
    assert known is not None
    findings = advise(known, None, LIMITS, NOW)
    said, trouble = _linted(findings, Found(known, TEXT, "Dockerfile"), "warning")
    assert trouble == ""
    assert [(one.rule, one.lines[0], one.asks) for one in said.advice] == [
        ("add-for-copy", 4, True),
        ("floating-base", 3, False),
        ("hadolint/DL3020", 2, True),
        ("hadolint/DL3006", 1, True),
    ]
    assert all("?" in one.text for one in said.advice if one.asks)


def test_the_real_hadolint_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {(one.code, one.line) for one in hadolint.faults(TEXT, "warning")}
    assert {("DL3006", 1), ("DL3020", 2), ("DL3006", 3), ("DL3020", 4)} <= said
