"""The daily digest: the day before in a few lines, once, and nothing on a quiet day."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.report_outcome import app
from paydown.errors import RetryableError
from tests.unit.functions.report_outcome.conftest import Outside
from tests.unit.ledgers import Clock

CHAT = "paydown/notify/chat"
EVENTS = Path(__file__).parents[4] / "events" / "report_outcome"


@pytest.fixture(autouse=True)
def busy_day(outside: Outside, clock: Clock) -> None:
    outside.policy(notifications={"webhooks": [CHAT], "at_once": [], "digest_hour": 6})
    clock.time = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
    verified = [outside.happen("Verified", target=f"node/demo/{number}") for number in range(3)]
    outside.tell(*verified, *verified, outside.happen("Failed"), outside.happen("Skipped", "joined"))
    outside.tell(outside.happen("Observed", toil="clean_dangling_images", target="host/b`1"))
    table = outside.ledger.table
    table.transact([table.update("DEBT#recover_node", "2026-11", "ADD #minutes :minutes", minutes=90)])
    assert outside.published() == []
    clock.time = datetime(2026, 11, 22, 5, 59, tzinfo=UTC)


def schedule() -> dict[str, object]:
    return app.handler(json.loads((EVENTS / "every_hour.json").read_text()))


def test_it_is_sent_once_when_its_hour_has_come(outside: Outside, clock: Clock) -> None:
    assert schedule() == {"done": "nothing to tell", "late": 0}
    assert outside.posts == {}
    for _ in range(30):
        clock.tick(3_600)
        schedule()
    ((headline, text, _),) = outside.posts[CHAT]
    assert headline == "Paydown: what happened on 2026-11-21"
    assert text.splitlines()[:4] == [
        "clean_dangling_images: Observed 1",
        "recover_node: Failed 1, Verified 3; 90 minutes saved in 2026-11 so far",
        "",
        "Open findings: 2",
    ]
    assert "recover_node on node/demo/worker-1: Failed, seen 1 times since 2026-11-21 23:59Z" in text
    (message,) = outside.published()
    assert message["Message"] == text


def test_a_quiet_day_has_none(outside: Outside, clock: Clock) -> None:
    clock.time = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert schedule() == {"done": "nothing to tell", "late": 0}
    assert outside.posts == {}


def test_two_schedules_at_once_send_one(outside: Outside, clock: Clock) -> None:
    clock.tick(3_600)
    schedule()
    schedule()
    assert len(outside.posts[CHAT]) == 1
    assert len(outside.published()) == 1


def test_a_channel_that_was_down_gets_it_an_hour_later(outside: Outside, clock: Clock) -> None:
    clock.tick(3_600)
    outside.trouble[CHAT] = RetryableError("down")
    with pytest.raises(RetryableError):
        schedule()
    assert len(outside.published()) == 1
    outside.trouble.clear()
    clock.tick(3_600)
    assert schedule()["done"] == "told"
    assert (len(outside.posts[CHAT]), outside.published()) == (1, [])
