"""One application at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local.app.lock import AlreadyRunning, only_one


def test_a_second_one_is_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "state" / "run.lock"
    with (
        only_one(path, "make run"),
        pytest.raises(AlreadyRunning, match=f"make run is running already .*process {os.getpid()}"),
        only_one(path, "make run"),
    ):
        pass
    with only_one(path, "make run"):
        assert path.read_text() == str(os.getpid())
    assert path.read_text() == ""
