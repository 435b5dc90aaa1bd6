"""Workers in real processes, killed before and after each write to the emulator's ledger in turn.

What is left in world and ledger is what a worker leaves that nobody kills. The worlds are those of
`tests/unit/functions/test_toils_survive.py`, which also kills at each call that changes the world, without processes.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.emulator import PROGRAM, Emulator
from paydown.clients import aws
from paydown.ledger import Ledger, Outcome, Run, Status
from paydown.ledger.table import plain
from paydown.toil.worker import wake_command
from tests.integration.crash_worker import PREFIX, STRIDE, Killing, WorldFile, work
from tests.servers import need
from tests.unit.functions.survival import ENFORCE, ROUNDS
from tests.unit.functions.test_toils_survive import CASES, WORLDS
from tests.unit.ledgers import Clock, make_table

FORK = multiprocessing.get_context("fork")
NUMBERS = itertools.count()
RETURNS = 91
"""Seconds after which the message of a worker that died would be back."""
SAMPLES = {str(case.values[0]): Path(str(case.values[1])) for case in reversed(CASES)}
"""One of each toil type."""
BASES = ("rebuild_stale_images", "refresh_base_image")
"""Toil types whose runs have the most writes."""
FINE = {Outcome.VERIFIED, Outcome.SKIPPED}


@contextmanager
def queues(folder: Path) -> Iterator[Emulator]:
    """An emulator with the queue of each toil type, which gives the message of a worker that died back at once."""
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(folder) as running, pytest.MonkeyPatch.context() as patch:
        for toil in WORLDS:
            attributes = {"VisibilityTimeout": "0"}
            running.client("sqs").create_queue(QueueName=f"{PREFIX}-toil-{toil}", Attributes=attributes)
        patch.setenv("AWS_ENDPOINT_URL", running.url)
        patch.setattr(aws, "_clients", {})
        for service in ("dynamodb", "sqs"):
            aws.client(service)  # made here once, and used in none but the workers
        yield running


class Life:
    """What becomes of an event, with a ledger and a world of its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, emulator: Emulator, folder: Path, toil: str, killing: Killing
    ) -> None:
        self.emulator, self.toil, self.killing, self.clock = emulator, toil, killing, Clock()
        self.dynamo, self.sqs = emulator.client("dynamodb"), emulator.client("sqs")
        self.ledger: Ledger = make_table(self.dynamo, f"ledger-{next(NUMBERS)}")
        make = WORLDS[toil]
        self.world = make(monkeypatch, self.ledger, self.clock)
        toils = {name: {**ENFORCE, "settings": settings} for name, settings in make.settings.items()}
        policy = {"toils": toils, "tickets": {"rules": list(make.rules)}}
        self.ledger.policy.publish(policy, "test", self.clock())
        self.ledger.inventory.publish(dict(make.inventory), "test", self.clock())
        self.file = WorldFile(folder / "world", self.world, {"ledger": self.ledger, "clock": self.clock})
        self.log, self.deaths = folder / "workers.log", 0

    def live(self, message: dict[str, Any]) -> None:
        """The event comes; what is due is nudged each minute, and what is held is approved."""
        self._send(self.toil, json.dumps(message))
        for _ in range(ROUNDS):
            self._work()
            runs = self.runs()
            if runs and all(run.ended for run in runs):
                return
            self.clock.tick(61)
            for run in runs:
                if run.status is Status.HELD and self.ledger.approvals.latest(run) is None:
                    decide = self.ledger.approvals.decide
                    decide(run, run.fingerprint, approved=True, by="ann", why="", now=self.clock())
            for row in list(self.ledger.runs.due(self.clock())):
                self._send(row["toil"], wake_command(row["id"]))

    def _send(self, toil: str, body: str) -> None:
        queue = self.sqs.get_queue_url(QueueName=f"{PREFIX}-toil-{toil}")["QueueUrl"]
        self.sqs.send_message(QueueUrl=queue, MessageBody=body)

    def _work(self) -> None:
        """Workers empty the queues, one after the other as each is killed."""
        while True:
            worker = FORK.Process(
                target=work, args=(self.toil, self.file, self.ledger, self.clock, self.killing, self.log)
            )
            worker.start()
            worker.join(60)
            worker.kill() if worker.exitcode is None else None
            self.clock.tick(self.killing.slept.value)
            self.killing.slept.value = 0
            if worker.exitcode == 0:
                return
            assert worker.exitcode == -signal.SIGKILL, self.log.read_text()
            self.deaths += 1
            self.clock.tick(RETURNS)

    def items(self) -> list[dict[str, Any]]:
        """Everything in the ledger."""
        pages = self.dynamo.get_paginator("scan").paginate(TableName=self.ledger.table.name, ConsistentRead=True)
        return [plain(item) for page in pages for item in page["Items"]]

    def runs(self) -> list[Run]:
        return [Run.from_item(item) for item in self.items() if item["sk"] == "RUN"]

    def summary(self) -> dict[str, Any]:
        """World and ledger, but for times, and for what only the lost answer told (bytes)."""
        self.file.load()
        items = self.items()
        steps = [item for item in items if item["sk"].startswith("STEP#")]
        logs = [(item["pk"], int(item["sk"].removeprefix("LOG#"))) for item in items if item["sk"].startswith("LOG#")]
        # A person's decision takes a number of its run, and is no transition.
        decisions = Counter(item["pk"] for item in items if item["pk"].startswith("APPROVAL#"))
        runs = [Run.from_item(item) for item in items if item["sk"] == "RUN"]
        account = {
            (item["pk"], name): value
            for item in items
            if item["pk"].startswith("DEBT#")
            for name, value in item.items()
            if name not in ("pk", "bytes")
        }
        told = {
            (run.toil, run.target): (run.status, [reason.code for reason in run.reasons], run.fingerprint, run.actions)
            for run in runs
        }
        assert len(told) == len(runs)
        return {
            "world": self.world.summary(),
            "runs": told,
            "steps": Counter((item["pk"], item["verb"], item["action"], item["state"]) for item in steps),
            "account": account,
            "leases": [item for item in items if item["sk"] == "LEASE"],
            "working": [item["working"] for item in items if item["sk"] == "TALLY" and item["working"]],
            "alive": [row["id"] for row in self.ledger.runs.alive()],
            "gaps": {
                run.id: numbers
                for run in runs
                if run.sequence - len(numbers := [number for pk, number in logs if pk == run.partition])
                != decisions[f"APPROVAL#{run.id}"]
            },
        }

    def end(self) -> None:
        """Nothing unexpected was logged, and nothing waits in a queue."""
        assert "unexpected error" not in (log := self.log.read_text()), log
        self.dynamo.delete_table(TableName=self.ledger.table.name)


def check_kills(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, folder: Path, toil: str) -> None:
    """A worker of this toil type that is killed at any of its writes changes nothing."""
    message = json.loads(SAMPLES[toil].read_text())

    def lived(killing: Killing) -> tuple[Life, dict[str, Any]]:
        life = Life(monkeypatch, emulator, folder, toil, killing)
        life.live(message)
        summary = life.summary()
        life.end()
        return life, summary

    calm, expected = lived(Killing())
    writes = calm.killing.writes.value
    statuses = {status for status, *_ in expected["runs"].values()}
    assert Outcome.VERIFIED in statuses
    assert statuses <= FINE
    assert (calm.deaths, writes >= 9) == (0, True)
    for name in ("leases", "working", "alive", "gaps"):
        assert not expected[name], name
    deaths = 0
    for at, after in itertools.product(range(1, min(writes, STRIDE) + 1), (False, True)):
        where = f"{'after' if after else 'before'} write {at} of {writes}"
        life, summary = lived(Killing(at, after))
        assert life.deaths > 0, where
        assert summary == expected, where
        deaths += life.deaths
    print(f"{toil}: {writes} writes, {deaths} killed")
