"""What hadolint (https://github.com/hadolint/hadolint) finds in a Dockerfile: the real one, which the function ships.

It reads the Dockerfile from its standard input, in an empty folder and with an empty environment: no settings of a
repository or a machine count. What it finds is bounded, and so is its time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LEVELS = ("error", "warning", "info", "style")
SECONDS = 10.0
ANSWER_LIMIT = 1024 * 1024
_HERE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Fault:
    """One thing that hadolint finds: its `code` (DL3008, SC2086), level, line, and what it says."""

    code: str
    level: str
    line: int
    text: str


class NoHadolint(RuntimeError):
    """It is not there, takes too long, or does not answer as documented."""


def program() -> str | None:
    """Where it lies: beside the function's code, or beside the interpreter that runs the tests."""
    places = (_HERE / "bin", Path(sys.executable).parent)
    return shutil.which("hadolint", path=os.pathsep.join(map(str, places)))


def faults(dockerfile: str, least: str) -> list[Fault]:
    """What it finds at the level `least` or above, by lines. Raises NoHadolint."""
    found = program()
    if found is None:
        raise NoHadolint("hadolint is not there")
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(  # noqa: S603 -- our own program; the Dockerfile is no argument
                [found, "--no-color", "--no-fail", "--format", "json", "-"],
                input=dockerfile.encode(errors="replace"),
                capture_output=True,
                check=False,
                cwd=empty,
                env={"LANG": "C.UTF-8", "HOME": empty},
                timeout=SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoHadolint(f"hadolint does not end well: {type(error).__name__}") from error
    if done.returncode != 0 or len(done.stdout) > ANSWER_LIMIT:
        raise NoHadolint(f"hadolint ends with {done.returncode}")
    try:
        told = json.loads(done.stdout)
        all_ = [Fault(str(it["code"]), str(it["level"]), int(it["line"]), str(it["message"])) for it in told]
    except (ValueError, KeyError, TypeError) as error:
        raise NoHadolint("hadolint does not answer as documented") from error
    wanted = LEVELS[: LEVELS.index(least) + 1]
    return sorted((one for one in all_ if one.level in wanted), key=lambda one: (one.line, one.code))
