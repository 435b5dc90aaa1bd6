"""One worker process of the alert storm: takes commands from the queue and works on a world that lies in files.

    python -m tests.integration.storm_worker FOLDER QUEUE_URL

The clock runs `PACE` times as fast as the real one, so that a minute's wait is some seconds. The world keeps its own
books: each fault that is mended leaves a line, and each call how many nodes are out of service.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.mending import TOIL, Mending
from paydown.errors import PaydownError
from paydown.ledger import open_ledger
from paydown.toil.worker import Worker

PACE = int(os.environ.get("PAYDOWN_STORM_PACE", "10"))
EPOCH = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def fast_now() -> datetime:
    """The same in all processes."""
    return EPOCH + timedelta(seconds=(time.time() - EPOCH.timestamp()) * PACE)


class Faults(set[str]):
    """The faults of a node; each is a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(path.name for path in folder.iterdir())
        self.folder = folder

    def discard(self, fault: str) -> None:
        """Mend it: the books say so, even if it was mended already."""
        (self.folder.parent.parent / "mended" / f"{fault}.{uuid.uuid4().hex}").touch()
        (self.folder / fault).unlink(missing_ok=True)


@dataclass
class FileNode:
    """A node whose state lies in files."""

    folder: Path
    name: str

    @property
    def faults(self) -> Faults:
        return Faults(self.folder / "faults" / self.name)

    @property
    def isolated(self) -> bool:
        return (self.folder / "isolated" / self.name).exists()

    @isolated.setter
    def isolated(self, value: bool) -> None:
        path = self.folder / "isolated" / self.name
        path.touch() if value else path.unlink(missing_ok=True)


@dataclass
class FileWorld:
    """What `bench.mending.World` is, for several processes."""

    folder: Path
    verified: dict[str, datetime] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    wrong: int = 0

    def __post_init__(self) -> None:
        self.nodes = {path.name: FileNode(self.folder, path.name) for path in (self.folder / "faults").iterdir()}
        self.site = self

    def enters(self, what: Any) -> None:
        """A call takes a while; before and after, the nodes out of service are counted."""
        self._counts()
        time.sleep(0.02)

    def leaves(self, what: Any) -> None:
        self._counts()

    def _counts(self) -> None:
        with (self.folder / "books" / f"{os.getpid()}.most").open("a") as book:
            book.write(f"{len(list((self.folder / 'isolated').iterdir()))}\n")
        _noted(self.folder, "wrong", str(self.wrong))


def main(folder: Path, queue: str) -> None:
    """Work until there is no queue any more."""
    from paydown.clients.aws import client

    sqs, ledger = client("sqs"), open_ledger()
    toil = type("Mending", (Mending,), {"name": TOIL, "world": FileWorld(folder)})
    while True:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        for message in received.get("Messages", []):
            now = fast_now()
            worker = Worker(
                toil=toil,
                ledger=ledger,
                observing=False,
                send=lambda *_: None,
                report=_report,
                now=fast_now,
                deadline=now + timedelta(seconds=58),
            )
            try:
                worker.handle(json.loads(message["Body"]))
            except PaydownError as error:
                print(f"message comes back: {error}", flush=True)
                continue
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            # Not getrusage: its maximum counts the process that started this one, too.
            used = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]
            _noted(folder, "rss", used)


def _noted(folder: Path, what: str, text: str) -> None:
    """Write one of this process's books, at once as a whole: it may be killed at any moment."""
    draft = folder / f"{os.getpid()}.draft"
    draft.write_text(text)
    draft.replace(folder / "books" / f"{os.getpid()}.{what}")


def _report(run: str, error: Exception) -> None:
    print(f"unexpected: {run}: {error!r}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
