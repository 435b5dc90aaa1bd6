"""Starting in threads, and stopping in the middle of it."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from local.app.services import Services, Stopping


class Slow:
    """Takes until `go` to start; counts its stops."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.stops = 0

    def start(self) -> None:
        self.begun.set()
        assert self.go.wait(30)

    def stop(self) -> None:
        self.stops += 1
        self.go.set()


def test_what_is_being_started_is_stopped_too() -> None:
    services, slow = Services(), Slow()
    starting = services.begin(lambda: services.start(slow))
    assert slow.begun.wait(30)
    services.stop()
    assert starting.done()
    assert slow.stops >= 1


def test_nothing_starts_after_the_stop() -> None:
    services, slow = Services(), Slow()
    services.stop()
    with pytest.raises(Stopping):
        services.start(slow)
    assert not slow.begun.is_set()


def test_the_first_failure_ends_the_wait() -> None:
    services, slow = Services(), Slow()
    waiting = services.begin(lambda: services.start(slow))

    def fail() -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        services.join(waiting, services.begin(fail))
    services.stop()


def test_builds_are_ended() -> None:
    services = Services()
    running = threading.Event()

    def build() -> int:
        with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as process:
            running.set()
            return process.wait()

    future = services.begin(build)
    assert running.wait(30)
    began = time.monotonic()
    services.stop()
    assert time.monotonic() - began < 30
    assert future.result() != 0
