"""What `make uninstall` does before the stack is deleted: `paydown drain` for the stack that samconfig.toml names."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from cli.main import main as paydown
from local.emulator import PROJECT


def arguments(environment: str, config: Path = PROJECT / "samconfig.toml") -> list[str]:
    """The options that name the stack of an environment. Raises SystemExit if there is none of that name."""
    found = tomllib.loads(config.read_text())
    try:
        parameters = {**found[environment]["deploy"]["parameters"], **found[environment]["delete"]["parameters"]}
    except KeyError:
        known = ", ".join(name for name, one in found.items() if isinstance(one, dict) and "delete" in one)
        raise SystemExit(f"samconfig.toml has no stack for ENV={environment}; there are: {known}") from None
    options = [("--stack", "stack_name"), ("--region", "region"), ("--profile", "profile")]
    return [part for option, name in options if name in parameters for part in (option, str(parameters[name]))]


def main(argv: Sequence[str]) -> int:
    """Drain the stack of the environment `argv[0]`; the rest are options of `paydown drain`."""
    return paydown(["drain", *arguments(argv[0]), *argv[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
