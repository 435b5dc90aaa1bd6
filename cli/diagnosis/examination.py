"""Running checks beside each other: one that fails, or that never ends, costs none of the others."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

SECONDS = 20.0
"""The longest that a check may take."""
AT_ONCE = 8
TEXT_LIMIT = 500


class State(StrEnum):
    """How a thing is: `unknown` when it could not be looked at from here."""

    FINE = "fine"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What was found about one `subject`; `about` is the area. A fault has a remedy: a command, or a sentence."""

    about: str
    subject: str
    state: State
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """Something to look at. `look` may raise whatever it likes."""

    about: str
    subject: str
    look: Callable[[], Iterable[Finding]]

    def fine(self, text: str) -> Finding:
        """All is well."""
        return Finding(self.about, self.subject, State.FINE, text)


def fine(about: str, subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(about, subject, State.FINE, text)


def fault(about: str, subject: str, text: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(about, subject, State.FAULT, text, remedy)


def unknown(about: str, subject: str, text: str, remedy: str = "") -> Finding:
    """It cannot be told from here."""
    return Finding(about, subject, State.UNKNOWN, text, remedy)


def examine(checks: Sequence[Check], seconds: float = SECONDS, at_once: int = AT_ONCE) -> list[Finding]:
    """What all checks find, in their order. The threads are daemons: one that hangs does not keep the command."""
    waiting = deque(enumerate(checks))
    running: dict[int, float] = {}
    answers: queue.SimpleQueue[tuple[int, list[Finding]]] = queue.SimpleQueue()
    found: dict[int, list[Finding]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            index, check = waiting.popleft()
            running[index] = time.monotonic() + seconds
            work = threading.Thread(
                target=lambda index=index, check=check: answers.put((index, _look(check))), daemon=True
            )
            work.start()
        try:
            index, findings = answers.get(timeout=max(0.0, min(running.values()) - time.monotonic()) + 0.01)
        except queue.Empty:
            pass
        else:
            # An answer that comes after its time says what is already noted as unknown.
            if running.pop(index, None) is not None:
                found[index] = findings
        for index in [index for index, ends in running.items() if ends < time.monotonic()]:
            del running[index]
            late = checks[index]
            found[index] = [unknown(late.about, late.subject, f"no answer within {seconds:g} s")]
    return [replace(one, text=one.text[:TEXT_LIMIT]) for index in sorted(found) for one in found[index]]


def _look(check: Check) -> list[Finding]:
    from cli.failures import explain

    found: list[Finding] = []
    try:
        found.extend(check.look())
    except Exception as error:  # noqa: BLE001 -- the other checks go on, whatever it is
        failure = explain(error)
        faults = "; ".join(f"{path}: {text}" if path else text for path, text in failure.faults)
        found.append(unknown(check.about, check.subject, ": ".join(filter(None, (failure.message, faults)))))
    return found
