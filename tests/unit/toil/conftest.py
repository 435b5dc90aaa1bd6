import pytest

from tests.unit.toil import lamps


@pytest.fixture
def world(monkeypatch):
    fresh = lamps.World(burning={"hall", "desk"})
    monkeypatch.setattr(lamps, "WORLD", fresh)
    return fresh


@pytest.fixture
def plant(ledger, clock, world):
    made = lamps.Plant(ledger, clock)
    made.publish()
    return made
