"""The worker dies at every write to the ledger in turn: afterwards world and ledger are as without the crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from paydown.errors import PermanentError
from paydown.ledger import Outcome, Run, Status
from paydown.ledger.table import plain
from paydown.plan import Hazard
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.ledgers import Clock
from tests.unit.toil import lamps


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


@dataclass
class Life:
    """The life of an event in a plant of its own, whose worker dies at its `at`-th write, before or after it."""

    at: int = 0
    after: bool = False
    died: bool = False
    writes: int = 0
    working: bool = False
    clock: Clock = field(default_factory=Clock)
    world: lamps.World = field(default_factory=lambda: lamps.World(burning={"hall", "desk"}))

    def __post_init__(self) -> None:
        self.client = MemoryDynamo()
        self.client.reached = self._reached
        self.plant = lamps.Plant(memory_ledger(self.client), self.clock)
        self.plant.publish()
        self.event = lamps.pushed()

    def _reached(self, operation: str, phase: str, _: Any) -> None:
        if not self.working or operation not in ("transact", "update"):
            return
        self.writes += phase == "before"
        if self.writes == self.at and (phase == "after") == self.after and not self.died:
            self.died = True
            raise Killed

    def look(self) -> None:
        """The event comes; if its worker dies, it comes again, and what is due is nudged."""
        if self._works(lambda: self.plant.look(self.event)):
            return
        self.passes(91)
        self._works(lambda: self.plant.look(self.event))
        self.passes()

    def passes(self, *seconds: float) -> None:
        """Time passes, and what is due is nudged; whoever dies over it is replaced."""
        for one in (*seconds, 61, 61, 61):
            self.clock.tick(one)
            for row in list(self.plant.ledger.runs.due(self.clock())):
                self._works(lambda run=row["id"]: self.plant.worker().handle(_wake(run)))

    def _works(self, work: Callable[[], Any]) -> bool:
        self.working = True
        try:
            work()
        except Killed:
            return False
        finally:
            self.working = False
        return True

    def run(self) -> Run:
        """The run of the event."""
        (found,) = [run for run in self.runs() if run.key == self.event.key]
        return found

    def runs(self) -> list[Run]:
        items = [items["RUN"] for pk, items in self.client.items.items() if pk.startswith("RUN#") and "RUN" in items]
        return [Run.from_item(plain(item)) for item in items]

    def decide(self, *, approved: bool = True) -> None:
        """A person decides on the plan that is held now."""
        run, decide = self.run(), self.plant.ledger.approvals.decide
        assert run.status is Status.HELD, run
        decide(run, run.fingerprint, approved=approved, by="bob", why="", now=self.clock())
        self.passes()

    def summary(self) -> dict[str, Any]:
        """What is left in world and ledger, but for times."""
        items = {(pk, sk): plain(item) for pk, under in self.client.items.items() for sk, item in under.items()}
        return {
            "burning": sorted(self.world.burning),
            "switched": sorted(self.world.switched),
            "runs": sorted(
                (run.key, run.status.value, self.plant.codes(run), dict(run.evidence)) for run in self.runs()
            ),
            "steps": sorted(
                (item["verb"], item["action"], item["state"]) for key, item in items.items() if "STEP#" in key[1]
            ),
            "account": list(self.plant.ledger.account("switch_off_lamps")),
            "leases": [item for key, item in items.items() if key[1] == "LEASE"],
            "open": [item for key, item in items.items() if key[1] == "OPEN"],
            "alive": [row["id"] for row in self.plant.ledger.runs.alive()],
            "tallies": {
                pk: (item["working"], len(item.get("spent", ())), [one[1:] for one in item.get("ended", ())])
                for (pk, sk), item in items.items()
                if sk == "TALLY"
            },
        }


def _wake(run: str) -> dict[str, Any]:
    return {"paydown": 1, "command": "wake", "run_id": run}


def enforced(life: Life) -> None:
    life.world.burning.add("late-1")
    life.look()
    assert life.run().status is Outcome.VERIFIED


def observed(life: Life) -> None:
    life.plant.publish(mode="observe")
    life.look()
    assert life.run().status is Outcome.OBSERVED


def approved(life: Life) -> None:
    life.plant.publish(mode="approve")
    life.look()
    life.decide()
    assert life.run().status is Outcome.VERIFIED


def rejected(life: Life) -> None:
    life.plant.publish(mode="approve")
    life.look()
    life.decide(approved=False)
    assert life.run().status is Outcome.REJECTED


def expired(life: Life) -> None:
    life.plant.publish(mode="approve", hold_seconds=3600)
    life.look()
    life.passes(3600, 301)
    assert life.plant.codes(life.run()) == ["approval_expired"]


def partly_approved(life: Life) -> None:
    life.plant.publish(mode="approve")
    life.look()
    life.world.burning ^= {"hall", "stairs"}
    life.decide()
    assert life.world.switched == ["desk"]
    life.decide()
    assert life.run().status is Outcome.VERIFIED


def stopped_in_the_middle(life: Life) -> None:
    switches = life.plant.ledger.switches

    def stop(_: str) -> None:
        life.world.while_applying = None
        life.working = False  # a person's write, not the worker's
        switches.stop("*", "ann", "", life.clock())
        life.working = True

    life.world.while_applying = stop
    life.look()
    life.passes()
    assert len(life.world.switched) == 1
    switches.resume("*", "ann", "", life.clock())
    life.passes()
    assert life.run().status is Outcome.VERIFIED


def waiting(life: Life) -> None:
    life.world.busy_until["hall"] = life.clock() + timedelta(seconds=900)
    life.look()
    life.passes(900)
    assert life.run().status is Outcome.VERIFIED


def undone(life: Life) -> None:
    life.world.hazards |= dict.fromkeys(("hall", "desk"), Hazard.REVERSIBLE)
    life.look()
    run = life.run()
    life.plant.ledger.runs.undo(run, "ann", "", life.clock())
    life.passes()
    assert life.world.burning == {"hall", "desk"}


def failed_and_taken_back(life: Life) -> None:
    life.world.hazards["desk"] = Hazard.REVERSIBLE
    life.world.while_applying = lambda lamp: _broken(lamp == "hall")
    life.look()
    life.passes()
    assert life.run().status is Outcome.FAILED
    assert life.world.burning == {"hall", "desk"}


def _broken(is_so: bool) -> None:
    if is_so:
        raise PermanentError("the switch is broken")


def overridden(life: Life) -> None:
    life.world.guarded.add("hall")
    life.look()
    assert (life.run().status, life.plant.codes(life.run())) == (Outcome.REFUSED, ["overridden"])


STORIES = {
    # How many writes the workers make: the run, the count of events, the plan, being let in, lease and places, the
    # beginning and the end of each action, verifying, the end; and one whenever a worker takes the run up.
    enforced: 13,
    observed: 4,
    approved: 13,
    rejected: 6,
    expired: 6,
    partly_approved: 20,
    stopped_in_the_middle: 22,
    waiting: 17,
    undone: 21,
    failed_and_taken_back: 18,
    overridden: 10,
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_crash_at_any_write_loses_nothing_and_repeats_nothing(monkeypatch, story, after):
    def lived(life: Life) -> Life:
        monkeypatch.setattr(lamps, "WORLD", life.world)
        story(life)
        return life

    calm = lived(Life())
    assert calm.summary()["alive"] == []
    for at in range(1, calm.writes + 1):
        crashed = lived(Life(at, after))
        assert crashed.died, f"write {at}"
        assert crashed.summary() == calm.summary(), f"write {at}"
    assert calm.writes == STORIES[story]
