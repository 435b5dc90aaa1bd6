"""Writes all lock files: the exact versions, with hashes, of what each environment and layer installs.

Run by `make lock`. With `--upgrade` it takes the newest versions that the .in files allow.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SHARED = "layers/shared/requirements"
KUBERNETES = "layers/kubernetes/requirements"
FUNCTIONS = ("functions/advise_image_layers/requirements", "functions/shrink_image/requirements")
"""What single functions ship besides: they stand on the shared layer."""
SETS = (SHARED, KUBERNETES, *FUNCTIONS, "requirements/dev", "requirements/emulator", "requirements/sam")
OPTIONS = ("--quiet", "--strip-extras", "--generate-hashes", "--allow-unsafe", "--no-header")
PRIVATE = ("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host")
ASYNCHRONOUS = {"aiohappyeyeballs", "aiohttp", "aiohttp-retry", "aiosignal", "attrs", "frozenlist", "multidict"} | {
    "propcache",
    "yarl",
}
"""What only the Kubernetes library's asynchronous client needs, which its layer does not ship."""

PIN = re.compile(r"^([a-z0-9._-]+)==[^\n]*\n(?:    [^\n]*\n)*", re.MULTILINE)


def names(lock: Path) -> set[str]:
    """The names that a lock file pins."""
    return set(PIN.findall(lock.read_text()))


def without(lock: Path, left_out: set[str]) -> None:
    """Remove the pins of some packages from a lock file."""
    lock.write_text(PIN.sub(lambda pin: "" if pin[1] in left_out else pin[0], lock.read_text()))


def main() -> None:
    """Write every lock file."""
    for name in SETS:
        print(f"locking {name}.txt", flush=True)
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *PRIVATE, *sys.argv[1:]]
        subprocess.run([*command, f"--output-file={name}.txt", f"{name}.in"], cwd=PROJECT, check=True)  # noqa: S603
        if name == KUBERNETES:  # it stands on the shared layer
            without(PROJECT / f"{name}.txt", names(PROJECT / f"{SHARED}.txt") | ASYNCHRONOUS)
        elif name in FUNCTIONS:
            without(PROJECT / f"{name}.txt", names(PROJECT / f"{SHARED}.txt"))


if __name__ == "__main__":
    main()
