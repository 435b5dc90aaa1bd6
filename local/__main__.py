"""`python -m local run` and `python -m local demo`: what `make run` and `make demo` start."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from local.app.lock import AlreadyRunning
from local.deploy import DeployError
from local.emulator import PROJECT
from local.processes import ServiceError

STATE = PROJECT / ".paydown"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody wants us to end: everything is stopped on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when all went well (for `run`: it was stopped), 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("run", "demo"))
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of state and results (%(default)s)")
    options = parser.parse_args(arguments)
    command, state = options.command, options.state.resolve()
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        if command == "run":
            from local.app.command import run

            run(state)
            return 0
        from local.demo import demo

        return demo(state)
    except Interrupted:
        print("stopped", flush=True)
        return 0 if command == "run" else 1
    except (AlreadyRunning, ServiceError, DeployError) as error:
        print(f"\n{error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"\n{' '.join(map(str, error.cmd))} failed with status {error.returncode}", file=sys.stderr)
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:  # the way out is not interrupted
        signal.signal(number, signal.SIG_IGN)
    print("\nstopping everything", flush=True)
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main())
