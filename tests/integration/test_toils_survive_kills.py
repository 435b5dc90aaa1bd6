"""Each toil type but those of base images, its worker killed before and after each of its writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.emulator import Emulator
from tests.integration.killed_workers import BASES, WORLDS, check_kills, queues

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with queues(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.mark.parametrize("toil", [toil for toil in WORLDS if toil not in BASES])
def test_a_killed_worker_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator, tmp_path: Path, toil: str
) -> None:
    check_kills(monkeypatch, emulator, tmp_path, toil)
