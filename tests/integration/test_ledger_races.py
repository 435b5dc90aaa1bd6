"""The ledger when many want the same at once: against a DynamoDB that answers in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.emulator import PROGRAM, Emulator
from paydown.events import ImagePushed
from paydown.ledger import Busy, Ledger, Outcome, Reason, Status
from tests.servers import need
from tests.unit.ledgers import make_table

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DEADLINE = NOW + timedelta(seconds=58)
MANY = 12


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(tmp_path_factory.mktemp("ledger")) as emulator:
        yield make_table(emulator.client("dynamodb"))


def create(ledger: Ledger, key: str, target: str) -> Any:
    event = ImagePushed(key=key, at=NOW, registry="r", repository="a", digest="sha256:" + "0" * 64)
    return ledger.runs.create("clean", target, f"host/{target}", event, NOW, DEADLINE, timedelta(minutes=5))


def at_once(call: Callable[[int], Any], times: int = MANY) -> list[Any]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(call, range(times)))


def test_one_event_delivered_many_times_at_once_makes_one_run(ledger: Ledger) -> None:
    created = at_once(lambda _: create(ledger, "same", "t1"))
    assert [one.new for one in created].count(True) == 1
    assert len({one.run.id for one in created}) == 1
    assert len(list(ledger.runs.log(created[0].run.id))) == 1


def test_many_events_for_one_target_at_once_make_one_living_run(ledger: Ledger) -> None:
    created = at_once(lambda number: create(ledger, f"e{number}", "t2"))
    living = [one for one in created if one.new]
    assert len(living) == 1
    joined = [one.run for one in created if not one.new]
    assert {run.status for run in joined} == {Outcome.SKIPPED}
    assert ledger.runs.joins(living[0].run) == MANY - 1


def test_a_due_run_goes_to_one_worker(ledger: Ledger) -> None:
    run = create(ledger, "due", "t3").run
    later = DEADLINE + timedelta(seconds=1)
    taken = at_once(lambda _: ledger.runs.take(run.id, later, later + timedelta(seconds=58)))
    assert len([one for one in taken if one is not None]) == 1


def test_a_lease_goes_to_one_run(ledger: Ledger) -> None:
    runs = []
    for number in range(MANY):
        run = create(ledger, f"lease{number}", "t4").run
        # Each has looked already, so that the next one is no mere guest.
        ledger.table.transact([ledger.table.delete("OPEN#clean#t4", "OPEN")])
        runs.append(run)

    def admit(number: int) -> Any:
        from dataclasses import replace

        run = replace(runs[number], owns_open=False)
        try:
            return ledger.runs.admit(run, NOW, 0, DEADLINE + timedelta(minutes=5), [])
        except Busy as busy:
            return busy

    results = at_once(admit)
    winners = [one for one in results if not isinstance(one, Busy)]
    assert len(winners) == 1
    assert {busy.owner for busy in results if isinstance(busy, Busy)} == {winners[0].id}
    assert [ledger.runs.get(run.id).status for run in runs].count(Status.APPLYING) == 1  # type: ignore[union-attr]  # all exist


def test_of_two_decisions_at_once_one_counts(ledger: Ledger) -> None:
    from paydown.ledger import NotHeld

    run = create(ledger, "held", "t5").run
    held = ledger.runs.move(
        run, Status.HELD, NOW, NOW + timedelta(days=1), [Reason("needs_approval", "")], fingerprint="f", plan_number=1
    )

    def decide(number: int) -> Any:
        try:
            return ledger.approvals.decide(held, "f", approved=number % 2 == 0, by=f"p{number}", why="", now=NOW)
        except NotHeld as error:
            return error

    decisions = [one for one in at_once(decide) if not isinstance(one, NotHeld)]
    assert len(decisions) == 1
    assert ledger.approvals.latest(held) == decisions[0]


def test_of_many_publications_at_once_each_version_is_one_of_them(ledger: Ledger) -> None:
    from paydown.ledger import Conflict, Documents
    from paydown.policy import Policy

    def publish(number: int) -> Any:
        documents = Documents(ledger.table, "policy", Policy.parse)
        try:
            return documents.publish({"retention_days": number + 1}, f"p{number}", NOW).number
        except Conflict:
            return None

    numbers = [number for number in at_once(publish) if number is not None]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    for number in numbers:
        version = ledger.policy.version(number)
        assert version.by == f"p{version.document.retention_days - 1}"
