"""An alert storm, simulated: 100,000 events about 5,000 targets, through queue, workers and partitions.

What is real: the requests of each kind of step and the capacity that they cost, recorded from the code
(`bench.requests`, with the tests' toy toil type, over tallies as full as the default policy lets them become); the
guards' limits; the template's concurrency. What is assumed stands in `Assumptions` and in docs/scale.md. DynamoDB goes
by its documented rules: 1,000 write and 3,000 read units a second for each partition, with one second's worth at once
and no adaptive splitting; and a transaction that meets another one on an item fails.

`make bench NAME=storm` prints the table of docs/scale.md, which a test compares with the numbers in `bench/storm.json`.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.requests import Request
from bench.steps import TOIL, record
from local.packages import load_template
from paydown.guardrails import patience
from paydown.policy import ToilPolicy

RESULT = Path(__file__).with_suffix(".json")
WRITES, READS = 1_000, 3_000
WAKE_MOST, SHARDS = 500, 4
CONFLICT_TRIES, THROTTLE_TRIES, ADMISSIONS = 10, 4, 10
VISIBILITY = 90.0


@dataclass(frozen=True)
class Assumptions:
    """What was not measured: latencies in seconds within one region, how long the toil type takes, and the storm."""

    events: int = 100_000
    targets: int = 5_000
    spread_s: float = 600.0
    read_s: float = 0.004
    write_s: float = 0.006
    transaction_s: float = 0.012
    message_s: float = 0.015
    plan_s: float = 1.0
    act_s: float = 8.0
    still_broken: float = 0.02
    seed: int = 7


@dataclass
class Message:
    """An event about a target, or a nudge for its run."""

    target: int
    born: float
    wakes: bool = False
    decided: bool = False


@dataclass
class Target:
    """What the ledger knows of a target: whether a run has yet to look, when that is due, and since when it waits."""

    number: int
    open: bool = False
    due: float = 0.0
    since: float | None = None
    acting: bool = False
    healed: bool = False
    queued: bool = False


@dataclass
class Outcome:
    """What came of one simulated storm."""

    scale: str
    limits: str
    decided_s: float = 0.0
    ended_s: float = 0.0
    oldest_message_s: float = 0.0
    deepest_queue: int = 0
    workers: int = 0
    at_work: int = 0
    throttled: int = 0
    conflicts: int = 0
    evaluated_again: int = 0
    came_back: int = 0
    runs: int = 0
    joined: int = 0
    hottest: str = ""
    hottest_units: int = 0
    hottest_percent: int = 0
    heat: dict[str, int] = field(default_factory=dict)


class Storm:
    """One simulation. Time is in seconds since the first event."""

    def __init__(self, case: Case, steps: dict[str, list[Request]], given: Assumptions):
        self.given, self.policy, self.steps = given, case.policy, steps
        self.result = Outcome(case.scale, case.limits)
        self.concurrency = case.concurrency or concurrency(case.scale)
        self.random = random.Random(given.seed)  # noqa: S311 -- a simulation, to be repeated
        self.targets = [Target(number) for number in range(given.targets)]
        self.queue: deque[Message] = deque()
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.order = 0
        self.now = 0.0
        self.busy = 0
        self.acting = 0
        self.undecided = given.events
        self.levels: dict[str, tuple[float, float]] = {}
        self.locked: dict[tuple[str, str], float] = {}
        self.versions: Counter[tuple[str, str]] = Counter()
        self.spent: deque[float] = deque()
        self.seconds: dict[str, Counter[int]] = defaultdict(Counter)
        self.counted: Counter[int] = Counter()

    def run(self) -> Outcome:
        """Until every run has ended."""
        given = self.given
        for time in sorted(self.random.uniform(0, given.spread_s) for _ in range(given.events)):
            target = self.random.randrange(given.targets)
            self._at(time, lambda target=target, time=time: self._arrive(Message(target, time)))
        self._at(60.0, self._wake)
        while self.heap:
            self.now, _, act = heapq.heappop(self.heap)
            act()
        return self._summed()

    def _at(self, time: float, act: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.heap, (time, self.order, act))

    # -- queue and workers ---------------------------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        self.queue.append(message)
        self.result.deepest_queue = max(self.result.deepest_queue, len(self.queue))
        self._dispatch()

    def _dispatch(self) -> None:
        # Lambda begins with five at once and adds 300 a minute.
        allowed = min(self.concurrency, 5 + int(self.now * 5))
        while self.queue and self.busy < allowed:
            message = self.queue.popleft()
            self.busy += 1
            self.result.workers = max(self.result.workers, self.busy)
            work = self._work(message)
            self._at(self.now + self.given.message_s, lambda work=work: self._go_on(work))

    def _go_on(self, work: Iterator[float]) -> None:
        """A worker is a generator of pauses."""
        try:
            pause = next(work)
        except StopIteration:
            self.busy -= 1
            self._dispatch()
        else:
            self._at(self.now + pause, lambda: self._go_on(work))

    def _wake(self) -> None:
        due = [number for number, target in enumerate(self.targets) if target.open and target.due <= self.now]
        self.random.shuffle(due)
        for number in due[: WAKE_MOST * SHARDS]:
            self._arrive(Message(number, self.now, wakes=True))
        if self.undecided or any(target.open or target.acting for target in self.targets) or self.queue or self.busy:
            self._at(self.now + 60.0, self._wake)

    # -- one message ---------------------------------------------------------------------------------------------------

    def _work(self, message: Message) -> Iterator[float]:
        target = self.targets[message.target]
        if message.wakes and not (target.open and target.due <= self.now and not target.queued):
            yield from self._ask(message, "not_due")
            return
        if not message.wakes:
            self.counted[int(self.now // self.policy.storm.bucket_seconds)] += 1
            if target.open:
                yield from self._ask(message, "join")
                self.result.joined += 1
                self._decide(message)
                return
            target.open = True
            self.result.runs += 1
        target.queued = True
        target.due = self.now + 58.0
        yield self.given.plan_s
        until = self._deferred_until(target)
        healed = target.healed or (message.wakes and self.random.random() > self.given.still_broken)
        if healed and message.wakes:
            yield from self._ask(message, "wake_skip")
            target.open, target.healed, target.since = False, True, None
        elif until is not None:
            yield from self._ask(message, "wake_defer" if message.wakes else "defer")
            target.since = self.now if target.since is None else target.since
            target.due = until
        else:
            yield from self._act(message, target)
        target.queued = False
        self._decide(message)

    def _act(self, message: Message, target: Target) -> Iterator[float]:
        self.acting += 1
        self.result.at_work = max(self.result.at_work, self.acting)
        self.spent.append(self.now)
        target.acting = True
        yield from self._ask(message, "wake_full" if message.wakes else "full", acts=True)
        self._decide(message)
        self.acting -= 1
        target.open = target.acting = False
        target.since = None
        target.healed = True

    def _decide(self, message: Message) -> None:
        if not message.wakes and not message.decided:
            message.decided = True
            self.undecided -= 1
            self.result.decided_s = max(self.result.decided_s, self.now)
            self.result.oldest_message_s = max(self.result.oldest_message_s, self.now - message.born)
        self.result.ended_s = max(self.result.ended_s, self.now)

    def _deferred_until(self, target: Target) -> float | None:
        """What the guards say: a storm, a busy or rested target, concurrency and budgets."""
        storm, budget = self.policy.storm, self.policy.budget
        bucket = storm.bucket_seconds
        calm = None
        last = int(self.now // bucket)
        for first in range(max(0, last - 25), last + 1):
            within = sum(self.counted[one] for one in range(first, first + 10))
            if within > storm.events and self.counted[first]:
                calm = (first + 1) * bucket + storm.window_seconds + storm.cool_down_seconds
        if calm is not None and calm > self.now:
            return float(calm)
        if target.acting or self.acting >= self.policy.max_concurrent:
            waited = 0.0 if target.since is None else self.now - target.since
            return self.now + patience(str(target.number), timedelta(seconds=waited)).total_seconds()
        while self.spent and self.spent[0] <= self.now - budget.window_seconds:
            self.spent.popleft()
        if len(self.spent) >= budget.runs:
            return self.spent[0] + budget.window_seconds
        return None

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def _ask(self, message: Message, step: str, *, acts: bool = False) -> Iterator[float]:
        """All requests of a step, one after the other."""
        requests = self.steps[step]
        shared = {("TALLY#*", "TALLY"), (f"TALLY#toil/{TOIL}", "TALLY")}
        admits = next((number for number, one in enumerate(requests) if shared & one.locks), None)
        looks = next((number for number, one in enumerate(requests) if "read:TALLY#*" in one.units), 0)
        shard = self.random.randrange(SHARDS)
        seen: dict[tuple[str, str], int] = {}
        number = again = 0
        while number < len(requests):
            request = requests[number]
            if acts and number == len(requests) - 2:
                yield self.given.act_s
            if number == looks:
                seen = {key: self.versions[key] for key in shared}
            units = {_placed(name, message.target, shard): amount for name, amount in request.units.items()}
            locks = [(_placed(pk, message.target, shard), sk) for pk, sk in request.locks]
            latency = self._latency(request)
            yield from self._admitted(units, locks if request.operation.startswith("Transact") else [], latency)
            if acts and number == admits and any(self.versions[key] != seen[key] for key in shared):
                self.result.evaluated_again += 1
                again += 1
                if again < ADMISSIONS:
                    number = looks
                    continue
            for key in shared & set(locks):
                self.versions[key] += 1
            number += 1

    def _admitted(self, units: dict[str, float], locks: list[tuple[str, str]], latency: float) -> Iterator[float]:
        """One request, until it succeeds: throttled by a partition, or in conflict with another transaction."""
        throttled = conflicts = 0
        while True:
            if not self._take(units):
                self.result.throttled += 1
                throttled += 1
                if throttled % THROTTLE_TRIES == 0:
                    self.result.came_back += 1
                    yield VISIBILITY
                yield self.random.uniform(0, min(1.0, 0.05 * 2**throttled))
                continue
            if any(self.locked.get(key, 0.0) > self.now for key in locks):
                self.result.conflicts += 1
                conflicts += 1
                if conflicts % CONFLICT_TRIES == 0:
                    self.result.came_back += 1
                    yield VISIBILITY
                yield self.random.uniform(0, min(1.0, 0.02 * 2**conflicts))
                continue
            for key in locks:
                self.locked[key] = self.now + latency
            yield latency
            return

    def _latency(self, request: Request) -> float:
        if request.operation.startswith("Transact"):
            return self.given.transaction_s
        return self.given.write_s if request.locks else self.given.read_s

    def _take(self, units: dict[str, float]) -> bool:
        levels = {}
        for name, amount in units.items():
            rate = WRITES if name.startswith("write:") else READS
            level, since = self.levels.get(name, (float(rate), self.now))
            level = min(rate, level + (self.now - since) * rate)
            if level < amount:
                return False
            levels[name] = (level - amount, self.now)
        self.levels.update(levels)
        for name, amount in units.items():
            if "{" not in name and not name.startswith(("write:RUN", "read:RUN")):
                self.seconds[name][int(self.now)] += int(amount)
        return True

    def _summed(self) -> Outcome:
        result = self.result
        peaks = {name: max(counts.values()) for name, counts in self.seconds.items()}
        share = {name: peak / (WRITES if name.startswith("write:") else READS) for name, peak in peaks.items()}
        result.hottest = max(share, key=lambda name: share[name])
        result.hottest_units = peaks[result.hottest]
        result.hottest_percent = round(100 * share[result.hottest])
        hot = sorted(share, key=lambda name: -share[name])
        result.heat = {name: peaks[name] for name in [one for one in hot if "/t" not in one][:6]}
        for name in ("decided_s", "ended_s", "oldest_message_s"):
            setattr(result, name, round(getattr(result, name)))
        return result


def _placed(name: str, target: int, shard: int) -> str:
    return name.replace("{target}", f"t{target}").replace("{shard}", str(shard))


DEFAULT = ToilPolicy(mode="enforce")
WIDE = ToilPolicy(
    mode="enforce",
    max_concurrent=200,
    budget={"runs": 1_000, "per_target": 1_000, "window_seconds": 60},
    storm={"events": 1_000_000, "window_seconds": 60, "cool_down_seconds": 0},
)
"""As wide as a policy may be: no storm, no budget to speak of."""


@dataclass(frozen=True)
class Case:
    """A scale of the template, or a number of workers that it does not offer, and limits."""

    scale: str
    limits: str
    policy: ToilPolicy
    concurrency: int = 0


CASES = (
    Case("small", "default", DEFAULT),
    Case("medium", "default", DEFAULT),
    Case("large", "default", DEFAULT),
    Case("large", "widest", WIDE),
    Case("200 workers", "widest", WIDE, 200),
)


def concurrency(scale: str) -> int:
    """What the template's mapping says."""
    found: int = load_template()["Mappings"]["Scale"][scale]["MaximumConcurrency"]
    return found


def simulate(given: Assumptions, cases: Sequence[Case] = CASES) -> list[Outcome]:
    """One storm for each case, the same one."""
    steps = record()
    return [Storm(case, steps, given).run() for case in cases]


def main() -> None:
    """Simulate, keep the numbers, and print the table."""
    given = Assumptions()
    outcomes = simulate(given)
    units = {
        step: {
            "requests": len(requests),
            "write_units": sum(int(amount) for one in requests for name, amount in one.units.items() if name[0] == "w"),
            "read_units": sum(int(amount) for one in requests for name, amount in one.units.items() if name[0] == "r"),
        }
        for step, requests in record().items()
    }
    kept: dict[str, Any] = {"assumptions": asdict(given), "steps": units, "outcomes": [asdict(one) for one in outcomes]}
    RESULT.write_text(json.dumps(kept, indent=2) + "\n")
    print("\n".join(table(kept)))


def table(kept: dict[str, Any]) -> list[str]:
    """The lines of the tables in docs/scale.md."""
    lines = ["| step | requests | write units | read units |", "| --- | --- | --- | --- |"]
    for step, one in kept["steps"].items():
        lines.append(f"| {step.replace('_', ' ')} | {one['requests']} | {one['write_units']} | {one['read_units']} |")
    names = [
        ("workers at once, at most", "workers"),
        ("targets under remediation at once", "at_work"),
        ("deepest queue", "deepest_queue"),
        ("all events decided after (s)", "decided_s"),
        ("longest wait for a decision (s)", "oldest_message_s"),
        ("all runs ended after (s)", "ended_s"),
        ("runs / events that joined one", ""),
        ("requests throttled", "throttled"),
        ("transactions in conflict", "conflicts"),
        ("evaluated again", "evaluated_again"),
        ("messages that came back", "came_back"),
        ("hottest partition", "hottest"),
        ("… units in its worst second (of its limit)", "hottest_units"),
    ]
    outcomes = kept["outcomes"]
    lines += ["", "| | " + " | ".join(f"{one['scale']}, {one['limits']}" for one in outcomes) + " |"]
    lines.append("| --- |" + " --- |" * len(outcomes))
    for title, name in names:
        cells = []
        for one in outcomes:
            if not name:
                cells.append(f"{one['runs']:,} / {one['joined']:,}")
            elif name == "hottest_units":
                cells.append(f"{one[name]:,} ({one['hottest_percent']} %)")
            elif name == "hottest":
                cells.append(f"`{one[name].removeprefix('write:').removeprefix('read:')}`")
            else:
                cells.append(f"{one[name]:,}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
