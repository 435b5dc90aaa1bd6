"""What every command document must be, whichever toil type has it run on a host."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from paydown.clients.docker_hosts.report import END


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(path: Path) -> list[str]:
    """The script of a document."""
    found: list[str] = document(path)["mainSteps"][0]["inputs"]["runCommand"]
    return found


def assert_is_shell(path: Path) -> None:
    """It is a script that a POSIX shell reads, and it says that it came to its end."""
    assert lines(path)[-1] == f"echo {END}"
    shell = shutil.which("dash") or "sh"
    checked = subprocess.run([shell, "-n"], input="\n".join(lines(path)), text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
