"""One command on one instance: run, watched, and its output kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

OUTPUT_CHARACTERS = 24_000
ERROR_CHARACTERS = 8_000
_CUT = "\n---Output truncated---"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Invocation:
    """A command on an instance. `upload` gets the directory with the whole output when the script has ended."""

    command_id: str
    instance_id: str
    document: str
    step: str
    script: str
    seconds: float
    directory: Path
    environment: Mapping[str, str]
    comment: str = ""
    output_url: str = ""
    error_url: str = ""
    upload: Callable[[Path], None] | None = None
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    sent: float = field(default_factory=time.time)
    started: datetime | None = None
    ended: datetime | None = None
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def run(self) -> None:
        """Run the script to its end, or to its time limit."""
        self.directory.mkdir(parents=True)
        script = self.directory / "_script.sh"
        script.write_text(self.script)
        with (self.directory / "stdout").open("wb") as out, (self.directory / "stderr").open("wb") as err, self._lock:
            if self._stopped:
                return
            self.started = datetime.now(UTC)
            self.status = self.details = "InProgress"
            self._process = subprocess.Popen(  # noqa: S603 -- to run the documents' scripts is what it is for
                # Read, not executed: a process that another thread forks just now may hold it open for writing.
                ["sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.directory,
                env={"PATH": _PATH, "AWS_SSM_INSTANCE_ID": self.instance_id, **self.environment},
                start_new_session=True,
            )
        try:
            code = self._process.wait(self.seconds)
            status, details = ("Success", "Success") if code == 0 else ("Failed", "Failed")
        except subprocess.TimeoutExpired:
            self._kill()
            code, status, details = self._process.wait(), "TimedOut", "ExecutionTimedOut"
        if self.upload:
            self.upload(self.directory)
        self.ended = datetime.now(UTC)
        self.code, self.details, self.status = code, details, status

    def stop(self) -> None:
        """Kill what still runs: the agent ends."""
        with self._lock:
            self._stopped = True
        self._kill()

    def _kill(self) -> None:
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def output(self) -> str:
        """What it wrote to stdout, as far as SSM's answer holds it; empty until it has ended."""
        return self._text("stdout", OUTPUT_CHARACTERS)

    def errors(self) -> str:
        """What it wrote to stderr, as far as SSM's answer holds it."""
        return self._text("stderr", ERROR_CHARACTERS)

    def _text(self, name: str, limit: int) -> str:
        if self.ended is None:
            return ""
        text = (self.directory / name).read_text(errors="replace")
        return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT
