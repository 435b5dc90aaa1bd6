"""A deployed application for tests: the emulator and the unmodified template, in a folder of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from local.deploy import Stack, deploy
from local.emulator import PROGRAM, Emulator
from tests.servers import need

T = TypeVar("T")


@contextmanager
def running_stack(
    folder: Path,
    *,
    mode: str = "Enforce",
    authorise: bool = False,
    environment: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Start an emulator and deploy to it; both go at the end. `environment` reaches the functions."""
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(folder, authorise=authorise, environment=environment or {}) as emulator:
        yield deploy(emulator, mode=mode, parameters=parameters)


def wait_for(look: Callable[[], T | None], what: str, seconds: float = 90.0) -> T:
    """Look until there is something true to see; fails the test with `what` it waited for."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}; last seen: {seen!r}")
        time.sleep(0.1)
    return seen


def logged(stack: Stack, text: str) -> list[dict[str, Any]]:
    """The log events of the stack's functions that contain `text`."""
    logs = stack.emulator.client("logs")
    group = stack.outputs["LogGroup"]
    found = []
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    for stream in (stream for page in pages for stream in page["logStreams"]):
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        found += [event for event in events if text in event["message"]]
    return found
