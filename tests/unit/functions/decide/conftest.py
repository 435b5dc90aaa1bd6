from __future__ import annotations

import pytest

from tests.fixtures.decide import Desk
from tests.unit.people import asked, publish
from tests.unit.toil.lamps import ROOMS

TRACKER = {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example/", "secret": "s"}


@pytest.fixture
def desk(plant, clock, monkeypatch):
    publish(plant)
    plant.ledger.inventory.publish(ROOMS | {"trackers": [TRACKER]}, "test", clock())
    return Desk(plant.ledger, clock).install(monkeypatch)


@pytest.fixture
def held(desk, plant):
    return plant.look(asked("carl"))
