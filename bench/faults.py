"""Alerts under faults: what is lost, done twice or done wrong when workers crash and everything else goes wrong too.

Real: the whole core (workers, ledger, guards, journal) as it is deployed. Simulated: the clock, the queue, the nodes,
and the ledger's table, whose stand-in in memory decides as DynamoDB does (`tests/properties/memory_table.py`, compared
with moto). So 10,000 events take minutes and every fault is repeated exactly by its seed; seconds are simulated ones.

Injected, at the given rates: messages that come twice, late or out of order; workers that crash before or after any
call of the table or of the world; workers that freeze at a call of the table past their time, and go on later; a table
that refuses, or whose answer is lost; nodes that do not answer.

An alert is lost if in the end its event has neither one outcome nor a dead letter, or its fault is there still. An
action is a duplicate if it mends what was mended before, and wrong if it mends a node that is not out of service, or
begins without its run's lease.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import random
import resource
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import paydown.toil.worker
from bench.mending import TOIL, Mending, Node, World
from paydown.errors import PaydownError, RetryableError
from paydown.events import ImagePushed
from paydown.ledger import Outcome, Run
from paydown.ledger.table import plain
from paydown.toil.work import Work
from paydown.toil.worker import look_command, wake_command
from tests.properties.adversary import Hand, Killed, Message, Site, Trap

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
VISIBILITY = 90
"""Seconds after which a message comes back whose worker died or failed, and how often it does (as in template.yaml)."""
RECEIVED = 3
OPERATIONS = ("get", "get_all", "query", "transact", "transact", "lease", "apply")


@dataclass(frozen=True)
class Rates:
    """How often what goes wrong: of messages (duplicates, late) and of invocations (the rest)."""

    duplicates: float = 0.10
    late: float = 0.05
    crashes: float = 0.05
    freezes: float = 0.02
    refusals: float = 0.05
    unreachable: float = 0.05


def policy(at_once: int) -> dict[str, Any]:
    """Wide limits, but for how many nodes may be in work at once: what is measured are faults, not waiting."""
    mend = {
        "mode": "enforce",
        "ceiling": "disruptive",
        "max_concurrent": at_once,
        "budget": {"runs": 1000, "per_target": 1000, "window_seconds": 60},
        "blast_radius": {"count": 1000, "percent": 100, "min_healthy": 0},
        "cool_down_seconds": 0,
        "back_off_seconds": 0,
        "lease_seconds": 60,
        "storm": {"events": 1_000_000},
        "escalation": {"failures": 20},
    }
    return {"toils": {TOIL: mend}, "budget": {"runs": 1000, "concurrent": 1000, "window_seconds": 60}}


@dataclass
class Simulation:
    """Alerts for nodes, in the order of a heap of what is to happen; all chance comes from `seed`."""

    events: int
    nodes: int
    at_once: int
    seconds: float
    rates: Rates
    seed: int
    workers: int = 50
    heap: list[tuple[datetime, int, Any]] = field(default_factory=list)
    count: int = 0
    alive: int = 0
    invocations: int = 0
    crashed: int = 0
    froze: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 -- repeatable, no secret
        self.names = [f"node-{number:03}" for number in range(self.nodes)]
        self.world = World({name: Node() for name in self.names}, site=self)
        mending = type("Mending", (Mending,), {"name": TOIL, "world": self.world})
        self.site = Site({TOIL: mending}, START)
        self.site.policy = self.site.ledger.policy.publish(policy(self.at_once), "bench", START).document
        reach = {"via": "unix", "path": "/run/none"}
        hosts = [{"uid": name, "name": name, "reach": reach} for name in self.names]
        self.site.ledger.inventory.publish({"hosts": hosts}, "bench", START)
        for number in range(self.events):
            self._later(self.chance.uniform(0, self.seconds), functools.partial(self._alert, number))
        self._later(60, self._wake)

    def _later(self, seconds: float, what: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.site.time + timedelta(seconds=seconds), self.count, what))

    def run(self) -> None:
        """Until nothing is left to happen but nudges of nobody."""
        while self.heap:
            at, _, what = heapq.heappop(self.heap)
            self.site.time = max(self.site.time, at)
            what()

    # -- what happens -------------------------------------------------------------------------------------------------

    def _alert(self, number: int) -> None:
        """A fault comes up, and its alert is sent: once or more, at once or late."""
        name, fault = self.chance.choice(self.names), f"fault-{number:06}"
        self.world.nodes[name].faults.add(fault)
        self.world.came[fault] = self.site.time
        event = ImagePushed(
            key=fault, at=self.site.time, registry="bench", repository=name, digest="sha256:" + "0" * 64
        )
        for _ in range(1 + (self.chance.random() < self.rates.duplicates)):
            late = self.chance.uniform(10, 300) if self.chance.random() < self.rates.late else self.chance.uniform(0, 5)
            message = Message(TOIL, look_command(event, f"host/{name}"))
            self._later(late, functools.partial(self._deliver, message))

    def _wake(self) -> None:
        """As `functions/wake` does each minute."""
        rows = list(self.site.ledger.runs.due(self.site.time))
        for row in rows:
            self._later(0, functools.partial(self._deliver, Message(TOIL, wake_command(row["id"]))))
        if self.heap or rows or any(self.site.ledger.runs.alive(1)):
            self._later(60, self._wake)

    def _deliver(self, message: Message) -> None:
        if self.alive >= self.workers:
            self._later(1, functools.partial(self._deliver, message))
            return
        self.alive += 1
        self.invocations += 1
        self._goes_on(Hand(self.site, message, self._trap()))

    def _trap(self) -> Trap | None:
        effects = [("crash", self.rates.crashes), ("freeze", self.rates.freezes), ("error", self.rates.refusals)]
        for effect, rate in effects:
            if self.chance.random() < rate:
                phase = self.chance.choice(["before", "after"])
                operations = OPERATIONS[:-1] if effect == "freeze" else OPERATIONS
                return Trap(self.chance.choice(operations), phase, self.chance.randint(1, 4), effect)
        return None

    def _goes_on(self, hand: Hand) -> None:
        trapped = hand.trap
        hand.advance()
        if not hand.ended:
            if trapped is not None and hand.trap is None and trapped.effect == "freeze":
                self.froze += 1
                self._later(self.chance.uniform(60, 400), functools.partial(self._goes_on, hand))
            else:
                self._later(self.chance.uniform(1, 6), functools.partial(self._goes_on, hand))
            return
        self.alive -= 1
        self.crashed += isinstance(hand.error, Killed)
        if hand.error is None:
            return
        if not isinstance(hand.error, (PaydownError, Killed)):
            raise hand.error
        hand.message.received += 1
        if hand.message.received < RECEIVED:
            self._later(VISIBILITY, functools.partial(self._deliver, hand.message))
        else:
            self.site.dead.append(hand.message)

    # -- what calls of the world go through ---------------------------------------------------------------------------

    def enters(self, toil: Any) -> None:
        """A call takes some seconds, and may not get through."""
        hand = toil.scene.now.__self__
        run, now = toil.run_id, self.site.time
        lease = self.site.client.items.get(f"LEASE#{_node_of(toil)}", {}).get("LEASE")
        self.world.wrong += (
            lease is None or plain(lease)["run"] != run or plain(lease)["until"] < now.timestamp() * 1000
        )
        hand.pause()
        hand.reached("apply", "before")
        if self.chance.random() < self.rates.unreachable:
            raise RetryableError("the node does not answer", delay=5)

    def leaves(self, toil: Any) -> None:
        """The call is over, unless its worker dies before it learns of it."""
        toil.scene.now.__self__.reached("apply", "after")

    # -- the figures --------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """What the world's books and the ledger say."""
        rows = [
            items["RUN"] for pk, items in self.site.client.items.items() if pk.startswith("RUN#") and "RUN" in items
        ]
        runs = [Run.from_item(plain(row)) for row in rows]
        ended = {run.key for run in runs if run.ended}
        dead = " ".join(message.body for message in self.site.dead)
        lost = [
            fault
            for fault in self.world.came
            if not (fault in ended or fault in dead) or self.world.mended.get(fault, 0) == 0
        ]
        took = sorted((self.world.verified[one] - self.world.came[one]).total_seconds() for one in self.world.verified)
        outcomes: dict[str, int] = {}
        for run in runs:
            key = run.status.value if run.status is not Outcome.SKIPPED else f"Skipped ({run.reasons[0].code})"
            outcomes[key] = outcomes.get(key, 0) + 1
        effects = sum(self.world.mended.values())
        return {
            "events": len(self.world.came),
            "lost_rate": _rate(len(lost), len(self.world.came)),
            "duplicate_action_rate": _rate(sum(times - 1 for times in self.world.mended.values()), effects),
            "wrong_action_rate": _rate(self.world.wrong, effects),
            "p50_s": round(statistics.median(took), 1),
            "p99_s": round(took[len(took) * 99 // 100], 1),
            "clock": "simulated",
            "verified": len(took),
            "nodes": self.nodes,
            "most_nodes_in_work": self.world.most_inside,
            "allowed_in_work": self.at_once,
            "invocations": self.invocations,
            "crashed": self.crashed,
            "froze": self.froze,
            "dead_letters": len(self.site.dead),
            "unexpected_errors": len(self.site.reported),
            "outcomes": dict(sorted(outcomes.items())),
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "seed": self.seed,
        }


def _node_of(toil: Any) -> str:
    return str(toil.event.repository) if isinstance(toil.event, ImagePushed) else str(toil.event.run_id)


def _rate(part: int, whole: int) -> float | int:
    return part / whole if part else 0


def simulate(simulation: Simulation) -> dict[str, Any]:
    """Run it; workers sleep by the simulated clock."""
    paydown.toil.worker.Work = functools.partial(Work, sleep=simulation.site.sleep)  # type: ignore[misc,assignment]  # as its class
    try:
        simulation.run()
    finally:
        paydown.toil.worker.Work = Work  # type: ignore[misc]  # as it was
    return simulation.figures()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its figures; 1 if something was lost, done twice or wrong, or beyond the limit."""
    parser = argparse.ArgumentParser(prog="make bench NAME=faults", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20, help="nodes in work at once, as the policy allows")
    parser.add_argument("--hours", type=float, default=24.0, help="over which the alerts are spread; 0: all at once")
    parser.add_argument("--seed", type=int, default=1)
    for name, default in vars(Rates()).items():
        parser.add_argument(f"--{name}", type=float, default=default, metavar="RATE")
    given = parser.parse_args(arguments)
    rates = Rates(**{name: getattr(given, name) for name in vars(Rates())})
    simulation = Simulation(given.events, given.nodes, given.at_once, given.hours * 3600, rates, given.seed)
    figures = simulate(simulation)
    print(json.dumps(figures))
    bad = ("lost_rate", "duplicate_action_rate", "wrong_action_rate", "unexpected_errors")
    return int(any(figures[name] for name in bad) or figures["most_nodes_in_work"] > figures["allowed_in_work"])


if __name__ == "__main__":
    sys.exit(main())
