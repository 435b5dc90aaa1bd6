"""The steps of runs whose requests count in a storm, recorded from the real code."""

from __future__ import annotations

import re
from datetime import timedelta

from bench.requests import Request, listening
from paydown.guardrails import Tally, toil_scope
from tests.unit.ledgers import Clock, ledger_in_moto
from tests.unit.toil import lamps

TOIL = lamps.SwitchOffLamps.name
_PER_RUN = [
    (re.compile(r"RUN#[0-9a-f]{32}(-\d+)?"), "RUN#{target}"),
    (re.compile(r"room-\d"), "{target}"),
    (re.compile(r"#[0-3]$"), "#{shard}"),
]


def record() -> dict[str, list[Request]]:
    """The requests of each step, with tallies as full as the default policy lets them become."""
    found: dict[str, list[Request]] = {}
    for storm in (False, True):
        with ledger_in_moto() as ledger:
            clock = Clock()
            lamps.WORLD = lamps.World(burning={"desk"})
            plant = lamps.Plant(ledger, clock)
            plant.publish(max_concurrent=200, storm={"events": 1 if storm else 1_000_000})
            _fill(plant)
            plant.look(lamps.pushed("warm-up"), "host/room-2")  # policy and inventory are in the worker's memory by now
            lamps.WORLD.burning = {"desk"}
            if storm:
                found |= _in_a_storm(plant, clock)
            else:
                with listening(ledger.table) as seen:
                    plant.look()
                found["full"] = list(seen)
    return {step: [_placed(request) for request in requests] for step, requests in found.items()}


def _in_a_storm(plant: lamps.Plant, clock: Clock) -> dict[str, list[Request]]:
    table = plant.ledger.table
    found = {}
    for number in range(3):
        plant.look(lamps.pushed(f"noise-{number}"), "host/room-2")
    with listening(table) as seen:
        run = plant.look()
    found["defer"] = list(seen)
    with listening(table) as seen:
        plant.look(lamps.pushed("push-2"))
    found["join"] = list(seen)
    with listening(table) as seen:
        plant.wake(run)
    found["not_due"] = list(seen)[:1]
    clock.tick(300)
    for number in range(3, 6):
        plant.look(lamps.pushed(f"noise-{number}"), "host/room-2")
    clock.time = plant.ledger.runs.get(run.id).due + timedelta(seconds=1)
    with listening(table) as seen:
        plant.worker().handle({"paydown": 1, "command": "wake", "run_id": run.id})
    found["wake_defer"] = list(seen)
    clock.tick(3_600)
    _fill(plant)
    lamps.WORLD.burning = {"desk"}
    with listening(table) as seen:
        plant.worker().handle({"paydown": 1, "command": "wake", "run_id": run.id})
    found["wake_full"] = list(seen)
    lamps.WORLD.burning = {"desk"}
    for number in range(6, 9):
        plant.look(lamps.pushed(f"noise-{number}"), "host/room-2")
    later = plant.look(lamps.pushed("push-3"))
    clock.tick(3_600)
    lamps.WORLD.burning.clear()
    with listening(table) as seen:
        plant.worker().handle({"paydown": 1, "command": "wake", "run_id": later.id})
    found["wake_skip"] = list(seen)
    return found


def _fill(plant: lamps.Plant) -> None:
    """Tallies with as many entries as the default limits allow, less one: their rows are rewritten as a whole."""
    now = plant.clock()
    for scope, spent, working in (("*", 498, 48), (toil_scope(TOIL), 98, 4)):
        tally = plant.ledger.runs.tallies.get(scope)
        full = Tally(
            scope=scope,
            version=tally.version,
            working={f"{number:032x}": (f"node-{number}", now + timedelta(minutes=6)) for number in range(working)},
            spent=tuple(now - timedelta(seconds=number) for number in range(spent, 0, -1)),
        )
        plant.ledger.table.transact([plant.ledger.runs.tallies.put(full, now)])


def _placed(request: Request) -> Request:
    def placed(name: str) -> str:
        for pattern, text in _PER_RUN:
            name = pattern.sub(text, name)
        return name

    units: dict[str, float] = {}
    for name, amount in request.units.items():
        units[placed(name)] = units.get(placed(name), 0) + amount
    locks = frozenset((placed(pk), sk) for pk, sk in request.locks)
    return Request(request.operation, units, locks, request.failed)
