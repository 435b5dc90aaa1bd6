"""Which real servers this machine has: a test that needs a missing one is skipped with its name, and fails in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def need(present: object, reason: str) -> None:
    """Skip the test, saying `reason`, unless `present` is true. In CI (CI=true) a missing server is an error."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def need_program(name: str, package: str) -> str:
    """The path of a program, or a skip that names the Debian package which brings it."""
    path = shutil.which(name)
    need(path, f"{name} is not installed (apt-get install {package})")
    assert path is not None
    return path
