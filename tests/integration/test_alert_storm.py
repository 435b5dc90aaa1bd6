"""Many alerts for many nodes at once, several worker processes, and one of them killed again and again.

`PAYDOWN_STORM=10000x200x3 PAYDOWN_STORM_PACE=2` does as many alerts and nodes, with three in work at once, on a clock
twice as fast as the real one; CI does fewer, faster. The ledger and the queue are the emulator's, so the writes really
race; the nodes lie in files, which keep the books that are asked.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.mending import TOIL
from local.emulator import PROGRAM, PROJECT, REGION, Emulator
from local.processes import Service
from paydown.events import ImagePushed
from paydown.ledger import Ledger, Outcome, Run, run_id
from paydown.toil.worker import look_command, wake_command
from tests.integration.storm_worker import PACE, fast_now
from tests.servers import need
from tests.unit.ledgers import make_table

pytestmark = pytest.mark.slow

ALERTS, NODES, AT_ONCE = map(int, os.environ.get("PAYDOWN_STORM", "200x25x3").split("x"))
"""In CI fewer nodes may be in work than there are workers: they get into each other's way."""
WORKERS = 4
MOST_MB = 256
POLICY: dict[str, Any] = {
    "toils": {
        TOIL: {
            "mode": "enforce",
            "ceiling": "disruptive",
            "max_concurrent": AT_ONCE,
            "budget": {"runs": 1000, "per_target": 1000, "window_seconds": 60},
            "blast_radius": {"count": 1000, "percent": 100},
            "cool_down_seconds": 0,
            "defer_seconds": 2_592_000,
            "storm": {"events": 1_000_000},
        }
    },
    "budget": {"runs": 1000, "concurrent": 1000, "window_seconds": 60},
}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(tmp_path / "emulator") as running:
        yield running


def world_with_faults(folder: Path, ledger: Ledger, chance: random.Random) -> list[tuple[str, str, str]]:
    """All faults are there at once. Returns (fault, node, command) for each."""
    names = [f"node-{number:03}" for number in range(NODES)]
    for name in names:
        (folder / "faults" / name).mkdir(parents=True)
    for name in ("isolated", "mended", "books"):
        (folder / name).mkdir()
    ledger.policy.publish(POLICY, "test", fast_now())
    reach = {"via": "unix", "path": "/run/none"}
    ledger.inventory.publish(
        {"hosts": [{"uid": name, "name": name, "reach": reach} for name in names]}, "t", fast_now()
    )
    sent = []
    for number in range(ALERTS):
        name, fault = chance.choice(names), f"fault-{number:05}"
        (folder / "faults" / name / fault).touch()
        event = ImagePushed(key=fault, at=fast_now(), registry="r", repository=name, digest="sha256:" + "0" * 64)
        sent.append((fault, name, look_command(event, f"host/{name}")))
    return sent


def worker(folder: Path, queue: str, url: str, number: int) -> Service:
    environment = {
        "PYTHONPATH": f"{PROJECT}/layers/shared:{PROJECT}",
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "PAYDOWN_LEDGER_TABLE": "ledger",
    }
    command = [sys.executable, "-m", "tests.integration.storm_worker", str(folder), queue]
    return Service(
        f"worker {number}", command, log=folder / f"worker-{number}.log", ready=lambda: True, environment=environment
    )


def test_a_storm_of_alerts_stays_within_the_policy_and_loses_nothing(emulator: Emulator, tmp_path: Path) -> None:
    folder, chance = tmp_path / "world", random.Random(1)
    folder.mkdir()
    ledger = make_table(emulator.client("dynamodb"))
    sqs = emulator.client("sqs")
    visible = str(90 // PACE)
    queue = sqs.create_queue(QueueName="storm", Attributes={"VisibilityTimeout": visible})["QueueUrl"]
    sent = world_with_faults(folder, ledger, chance)
    commands = [command for _, _, command in sent for _ in range(1 + (chance.random() < 0.1))]
    chance.shuffle(commands)
    for command in commands:
        sqs.send_message(QueueUrl=queue, MessageBody=command)
    with ExitStack() as stack:
        workers = [worker(folder, queue, emulator.url, number) for number in range(WORKERS)]
        for one in workers:
            one.start()
            stack.callback(one.stop)
        runs = ended_runs(ledger, sqs, queue, sent, workers)
    logs = "".join((folder / f"worker-{number}.log").read_text() for number in range(WORKERS))
    assert "unexpected" not in logs, logs
    outcomes = Counter(run.status for run in runs)
    assert set(outcomes) <= {Outcome.VERIFIED, Outcome.SKIPPED}, outcomes
    assert not list((folder / "faults").glob("*/*")), "a fault is there still"
    assert not list((folder / "isolated").iterdir()), "a node was not given back"
    mended = Counter(path.name.partition(".")[0] for path in (folder / "mended").iterdir())
    assert mended == Counter(fault for fault, _, _ in sent), "each once"
    books = list((folder / "books").iterdir())
    counts = [int(line) for book in books if book.suffix == ".most" for line in book.read_text().split()]
    assert max(counts) == AT_ONCE, "as many as allowed were in work, and never more"
    assert {book.read_text() for book in books if book.suffix == ".wrong"} == {"0"}
    rss = max(int(book.read_text()) // 1024 for book in books if book.suffix == ".rss")
    print(f"{ALERTS} alerts, {NODES} nodes: {dict(outcomes)}; at most {max(counts)} in work; {rss} MB at the most")
    assert rss < MOST_MB


def ended_runs(ledger: Ledger, sqs: Any, queue: str, sent: list[Any], workers: list[Service]) -> list[Run]:
    """Nudge what is due each minute of the fast clock, kill a worker now and then, until every event has its run."""
    until = time.monotonic() + 90 + ALERTS / 3
    killings = 3
    found: list[Run] = []
    while True:
        time.sleep(60 / PACE)
        for row in list(ledger.runs.due(fast_now())):
            sqs.send_message(QueueUrl=queue, MessageBody=wake_command(row["id"]))
        if killings:
            killings -= 1
            victim = workers[killings]
            assert victim.process is not None
            os.kill(victim.process.pid, signal.SIGKILL)
            victim.stop()
            victim.start()
        for fault, name, _ in sent[len(found) :]:
            run = ledger.runs.get(run_id(fault, name, TOIL))
            if run is None or not run.ended:
                break  # asking for all of them again and again would be most of the ledger's work
            found.append(run)
        else:
            return found
        assert time.monotonic() < until, f"{len(found)} of {len(sent)} have ended"
