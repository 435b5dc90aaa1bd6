"""The worker dies at every write to the ledger in turn: afterwards world and ledger are as without the crash."""

from __future__ import annotations

import pytest

from paydown.ledger import Outcome
from tests.unit.toil import lamps


class Killed(BaseException):
    """The process dies: nothing of ours catches it."""


class DyingTable:
    """Lets `transact` die at its n-th call, before or after the transaction happened."""

    def __init__(self, table, at: int, *, after: bool):
        self.count, self.at, self.after = 0, at, after
        self._transact = table.transact

    def transact(self, writes):
        self.count += 1
        if self.count == self.at and not self.after:
            raise Killed
        self._transact(writes)
        if self.count == self.at:
            raise Killed


def recover(plant, clock, event):
    """What happens after a crash: the message comes back, and wake nudges what is due."""
    clock.tick(91)
    plant.look(event)
    for _ in range(5):
        clock.tick(61)
        for row in list(plant.ledger.runs.due(clock())):
            plant.worker().handle({"paydown": 1, "command": "wake", "run_id": row["id"]})


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_loses_nothing_and_repeats_nothing(plant, world, clock, monkeypatch, after):
    event = lamps.pushed()
    boundaries = 0
    for at in range(1, 40):
        world.burning |= {"hall", "desk", "late-1"}
        world.switched.clear()
        event = lamps.pushed(f"push-{at}")
        dying = DyingTable(plant.ledger.table, at, after=after)
        with monkeypatch.context() as patch:
            patch.setattr(plant.ledger.table, "transact", dying.transact)
            try:
                plant.look(event)
            except Killed:
                boundaries += 1
            else:
                break
        recover(plant, clock, event)
        assert sorted(world.switched) == ["desk", "hall", "late-1"], f"write {at}"
        (run,) = [run for run in plant.ledger.history.recent(clock()) if run.key == event.key]
        assert run.status is Outcome.VERIFIED, f"write {at}"
        assert run.evidence == {"dark": 3}, f"write {at}"
        assert plant.ledger.runs.holder(run.target, clock()) is None
        assert list(plant.ledger.runs.alive()) == []
    # create, plan, admit, renew, started+ended of three actions, verifying, verified
    assert boundaries == 12
    (month,) = plant.ledger.account("switch_off_lamps")
    assert month["runs"] == boundaries + 1
