"""Carrying out one stage of a plan: in parallel, at a pace, journalled before and after each action.

Only this module calls `apply`. The main thread asks the switches, writes the journal and starts the calls; threads do
nothing but call. Nothing is started that could outlive its worker, and with it the lease.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from paydown.errors import PermanentError, RetryableError
from paydown.plan import Action, Applied, Done, Moot, NotYet, Overridden, Step, StepState
from paydown.toil.contract import ACTION_SECONDS, Toil

CLOCK_SKEW = timedelta(seconds=4)
"""By how much the clocks of two workers may differ: each is within two seconds of the true time.

A run is taken up once the next worker's clock has passed this one's deadline; so this one's last action is over by so
much earlier.
"""


class OutOfTime(Exception):
    """The worker is too near its end to begin an action; it was not begun."""


@dataclass
class StageResult:
    """What became of a stage. `steps` holds all of it, by index; the rest says why it is not finished, if it is not."""

    steps: dict[int, Step]
    waits: list[NotYet] = field(default_factory=list)
    retries: list[RetryableError] = field(default_factory=list)
    failures: list[Step] = field(default_factory=list)
    overridden: str = ""
    stops: Sequence[str] = ()
    out_of_time: bool = False
    bug: Exception | None = None
    progress: bool = False

    @property
    def finished(self) -> bool:
        """Whether every action of the stage has ended."""
        return all(step.state.ended for step in self.steps.values())


@dataclass
class StageWorker:
    """Carries out stages for one run.

    `write` journals steps with the run's fence; `stops` reads the switches and returns those that are on; nothing is
    begun later than `ACTION_SECONDS` and `CLOCK_SKEW` before `deadline`.
    """

    toil: Toil[Any]
    target: Any
    write: Callable[[Sequence[Step]], None]
    stops: Callable[[], Sequence[str]]
    now: Callable[[], datetime]
    deadline: datetime

    def carry_out(self, steps: Sequence[Step]) -> StageResult:
        """Apply what has not ended yet of a stage."""
        result = StageResult({step.index: step for step in steps})
        pending = [step for step in steps if not step.state.ended]
        size = max(1, self.toil.batch)
        chunks = deque(pending[first : first + size] for first in range(0, len(pending), size))
        pace = self.toil.pace()
        gap = 1 / pace.per_second if pace.per_second else 0.0
        next_start = time.monotonic()
        running: dict[Future[Sequence[Applied]], list[Step]] = {}
        with ThreadPoolExecutor(max_workers=max(1, pace.parallel)) as pool:
            while chunks or running:
                while (
                    chunks
                    and len(running) < pace.parallel
                    and time.monotonic() >= next_start
                    and self._may_begin(result)
                ):
                    chunk = chunks.popleft()
                    next_start = max(next_start, time.monotonic() - gap) + gap * len(chunk)
                    self._record(result, [replace(step, state=StepState.STARTED, why="") for step in chunk])
                    running[pool.submit(self._call, [step.action for step in chunk])] = chunk
                if not running:
                    if self._interrupted(result):
                        break
                    time.sleep(max(0.0, next_start - time.monotonic()))
                    continue
                pause = max(0.01, next_start - time.monotonic()) if chunks and gap else None
                ended, _ = wait(running, timeout=pause, return_when=FIRST_COMPLETED)
                self._settle(result, [(future, running.pop(future)) for future in ended])
        return result

    def _may_begin(self, result: StageResult) -> bool:
        if self._interrupted(result):
            return False
        if self._too_late():
            result.out_of_time = True
            return False
        result.stops = self.stops()
        return not result.stops

    def _too_late(self) -> bool:
        return self.now() + timedelta(seconds=ACTION_SECONDS) + CLOCK_SKEW > self.deadline

    @staticmethod
    def _interrupted(result: StageResult) -> bool:
        ended = result.failures or result.overridden or result.bug
        return bool(result.stops or result.out_of_time or result.retries or ended)

    def _call(self, actions: Sequence[Action]) -> Sequence[Applied]:
        # Again, in the thread: the machine may have been frozen since the main thread looked.
        if self._too_late():
            raise OutOfTime
        results = self.toil.apply_batch(actions, self.target)
        if len(results) != len(actions):
            raise TypeError(f"apply_batch returned {len(results)} results for {len(actions)} actions")
        return results

    def _settle(self, result: StageResult, ended: Sequence[tuple[Future[Sequence[Applied]], list[Step]]]) -> None:
        """Journal what the calls brought. A step whose call raised stays STARTED, unless it surely did not begin."""
        written: list[Step] = []
        for future, chunk in ended:
            try:
                applied = future.result()
            except OutOfTime:
                result.out_of_time = True
                written += chunk
            except RetryableError as error:
                result.retries.append(error)
            except PermanentError as error:
                failed = [replace(step, state=StepState.FAILED, why=str(error)) for step in chunk]
                result.failures += failed
                written += failed
            except Exception as error:  # noqa: BLE001 -- a toil type's bug: the run is retried, and fails in the end
                result.bug = error
            else:
                for step, one in zip(chunk, applied, strict=True):
                    written.append(self._after(result, step, one))
        self._record(result, written)

    def _after(self, result: StageResult, step: Step, applied: Applied) -> Step:
        match applied:
            case Done(evidence=evidence):
                result.progress = True
                return replace(step, state=StepState.DONE, evidence=evidence, why="")
            case Moot(why=why) if step.state is StepState.STARTED:
                # An earlier worker began it, its answer was lost, and its precondition is false now: it happened.
                result.progress = True
                return replace(step, state=StepState.DONE, why=f"before an interruption ({why})")
            case Moot(why=why):
                result.progress = True
                return replace(step, state=StepState.MOOT, why=why)
            case Overridden(why=why):
                # Not ended: were this worker to die now, the next one must meet the person's hand again.
                result.overridden = why
                return replace(step, state=StepState.PLANNED, why=why)
            case NotYet(why=why):
                result.waits.append(applied)
                return replace(step, state=StepState.PLANNED, why=why)

    def _record(self, result: StageResult, steps: Sequence[Step]) -> None:
        if steps:
            self.write(steps)
            result.steps.update((step.index, step) for step in steps)
