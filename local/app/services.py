"""The processes of one application: started from several threads, stopped all at once, none left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Startable(Protocol):
    """A process that can be started and stopped; to stop it is harmless whether it runs or not."""

    def start(self) -> Any:
        """Start it and wait until it is ready."""

    def stop(self) -> None:
        """Stop it."""


class Stopping(RuntimeError):
    """Nothing is started any more."""


class Services:
    """Starts things in threads of its own. `stop` may come at any moment, in the middle of a start too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[Startable] = []
        self._stopping = False
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="start")
        self._futures: list[Future[Any]] = []

    def start(self, service: Startable) -> None:
        """Start a service, in the caller's thread. Raises Stopping."""
        with self._lock:
            if self._stopping:
                raise Stopping
            self._started.append(service)
        service.start()

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Do something in a thread."""
        future = self._threads.submit(work)
        self._futures.append(future)
        return future

    def join(self, *futures: Future[Any]) -> None:
        """Wait for work that was begun; the first exception ends the wait and is raised."""
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()

    def stop(self) -> None:
        """Stop all services, end all other children (builds), and wait for the threads."""
        with self._lock:
            self._stopping = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stop_started()
        while not all(future.done() for future in self._futures):
            end_children()
            time.sleep(0.05)
        self._stop_started()  # what a thread had begun to start when we came

    def _stop_started(self) -> None:
        with self._lock:
            started, self._started = self._started, []
        if started:
            with ThreadPoolExecutor(len(started)) as pool:
                list(pool.map(lambda service: service.stop(), started))


def end_children() -> None:
    """Send SIGTERM to the descendants of this process in its own process group, where there is a /proc to find them in.

    Services have process groups of their own; what is left are builds.
    """
    for pid in _descendants(os.getpid(), os.getpgrp()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)


def _descendants(root: int, group: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in brackets may hold spaces and brackets of its own.
            _, parent, its_group, *_ = path.read_text().rpartition(")")[2].split()
            if int(its_group) == group:
                children.setdefault(int(parent), []).append(int(path.parent.name))
    pending = children.get(root, [])
    while pending:
        pid = pending.pop()
        yield pid
        pending += children.get(pid, [])
