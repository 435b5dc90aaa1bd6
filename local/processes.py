"""Child processes that are started, waited for, and never left behind.

Each child gets a process group of its own, so that stopping it stops its children too, and a log file, so that a
failure to start can be explained with the last lines that it wrote.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType


class ServiceError(RuntimeError):
    """A child process did not start, or ended early; the message carries the end of its log."""


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on `host:port`."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=0.5):
        return True
    return False


def url_answers(url: str) -> bool:
    """Whether `url` answers at all; any HTTP status counts, a refused connection does not."""
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 -- our own loopback address
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@dataclass
class Service:
    """One child process.

    `ready` is polled until it returns true; `environment` is added to a copy of ours, and a value of None removes the
    variable. Use as a context manager, or call `start` and `stop`.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    directory: Path | None = None
    start_seconds: float = 30.0
    stop_seconds: float = 10.0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> Service:
        """Start the child and wait until it is ready. Raises ServiceError with the end of its log."""
        environment = dict(os.environ)
        for name, value in self.environment.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 -- the callers are our own code
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.directory,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_seconds
        while not self.ready():
            if self.process.poll() is not None:
                raise ServiceError(f"{self.name} ended with status {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"{self.name} was not ready within {self.start_seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """SIGTERM to the group, SIGKILL after `stop_seconds`. Harmless when it has already ended."""
        process, self.process = self.process, None
        if process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.stop_seconds)
                break
        with contextlib.suppress(ProcessLookupError):  # grandchildren that outlived their parent
            os.killpg(process.pid, signal.SIGKILL)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the child's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
