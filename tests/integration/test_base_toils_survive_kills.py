"""The toil types of base images, whose runs are long, killed before and after each of their writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.emulator import Emulator
from tests.integration.killed_workers import BASES, check_kills, queues

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with queues(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.mark.parametrize("toil", BASES)
def test_a_killed_worker_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator, tmp_path: Path, toil: str
) -> None:
    check_kills(monkeypatch, emulator, tmp_path, toil)
