"""What is known of images and of their promotions, and how it gets into the inventory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from paydown.events import ImageScanned
from paydown.inventory import Promotion
from paydown.ledger import Ledger
from paydown.ledger.images import Scan
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.ledgers import Clock

DIGESTS = [f"sha256:{number:064x}" for number in range(4)]
DECLARED = {"stage": "prod", "repository": "team/app", "digest": DIGESTS[0]}


def published(clock: Clock) -> tuple[Ledger, MemoryDynamo]:
    client = MemoryDynamo()
    ledger = memory_ledger(client)
    ledger.policy.publish({}, "test", clock())
    ledger.inventory.publish({"promotions": [DECLARED]}, "test", clock())
    return ledger, client


def promotion(clock: Clock, **said: Any) -> Promotion:
    given = {"stage": "prod", "registry": "i.example", "repository": "team/app", "tag": "1", "source": "a run"}
    return Promotion.model_validate({"digest": DIGESTS[1], "last_seen": clock(), **given, **said})


def test_recorded_promotions_stand_behind_those_that_people_declared() -> None:
    clock = Clock()
    ledger, _ = published(clock)
    first = promotion(clock)
    ledger.promotions.record(first, clock())
    _, version = ledger.documents()
    assert version.document.promotions == (Promotion.model_validate(DECLARED), first)
    assert version.number == 1
    assert ledger.inventory.current().document.promotions == (Promotion.model_validate(DECLARED),)
    assert ledger.inventory.text(1) == {"promotions": [DECLARED]}


def test_a_tag_has_one_record_and_each_change_is_seen_by_who_read_before() -> None:
    clock = Clock()
    ledger, client = published(clock)
    reader = memory_ledger(client)
    assert len(reader.documents()[1].document.promotions) == 1
    ledger.promotions.record(promotion(clock), clock())
    ledger.promotions.record(promotion(clock, tag="2"), clock())
    assert len(reader.documents()[1].document.promotions) == 3
    latest = promotion(clock, digest=DIGESTS[2], previous=DIGESTS[1])
    ledger.promotions.record(latest, clock())
    found = reader.documents()[1].document
    assert len(found.promotions) == 3
    assert found.promoted("prod", "i.example", "team/app", "1") == latest
    assert found.promoted("prod", "i.example", "team/app", "3") is None


def test_what_did_not_change_is_not_read_again() -> None:
    clock = Clock()
    ledger, client = published(clock)
    ledger.promotions.record(promotion(clock), clock())
    first = ledger.documents()[1]
    asked: list[str] = []
    client.reached = lambda operation, phase, given: asked.append(operation)
    assert ledger.documents()[1] is first
    assert "query" not in asked
    ledger.inventory.publish({}, "test", clock())
    assert len(ledger.documents()[1].document.promotions) == 1


def scan(clock: Clock, at: int = 0, **findings: int) -> ImageScanned:
    moment = clock() + timedelta(seconds=at)
    return ImageScanned(key="s", at=moment, registry="i", repository="a", digest=DIGESTS[0], findings=findings)


def test_the_latest_scan_counts_in_whatever_order_they_are_told() -> None:
    clock = Clock()
    images = memory_ledger(MemoryDynamo()).images
    assert images.scan("uid", DIGESTS[0]) is None
    for at in (1, 3, 2):
        images.note_scan("uid", scan(clock, at, high=at, low=0), clock())
    assert images.scan("uid", DIGESTS[0]) == Scan({"high": 3}, clock() + timedelta(seconds=3))
    assert images.scan("other", DIGESTS[0]) is None


def test_an_image_is_first_seen_once() -> None:
    clock = Clock()
    images = memory_ledger(MemoryDynamo()).images
    first = clock()
    images.note_scan("uid", scan(clock), clock())
    assert images.seen("uid", DIGESTS[0], clock()) == first
    clock.tick(60)
    assert images.seen("uid", DIGESTS[0], clock()) == first
    assert images.seen("uid", DIGESTS[1], clock()) == clock()
    assert images.later("uid", DIGESTS[1], first)
    assert not images.later("uid", DIGESTS[0], first)
    assert not images.later("uid", DIGESTS[2], first)
