"""Which images were promoted, as discovered: the partition `PROMOTIONS`, merged into the inventory when it is read.

- `AT#<hash of stage, registry, repository and tag>`: the last promotion there, in the shape of the inventory.
- `CURRENT`: a number that grows with each write, so that who has read them all knows whether that still holds.

The inventory's document stays people's own: nothing here changes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta

from paydown.inventory import Inventory, Promotion
from paydown.ledger.documents import Version
from paydown.ledger.table import Item, Table

PARTITION = "PROMOTIONS"
KEPT = timedelta(days=1_095)
"""How long a promotion is remembered after its last change. What its tag points to needs no record to be kept."""


class Promotions:
    """The promotions of one ledger."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._known: tuple[int, tuple[Promotion, ...]] = (0, ())
        self._merged: tuple[tuple[int, int], Version[Inventory]] | None = None

    @property
    def pointer_key(self) -> tuple[str, str]:
        """The key of the number that says whether anything changed, for reading it together with other items."""
        return PARTITION, "CURRENT"

    def record(self, promotion: Promotion, now: datetime) -> None:
        """Write down what was promoted to a tag; what was known of that tag is replaced."""
        said = promotion.model_dump(mode="json", exclude_none=True)
        expires = int((now + KEPT).timestamp())
        item = {"pk": PARTITION, "sk": _key(promotion), "promotion": said, "expires": expires}
        self.table.transact([self.table.put(item), self.table.update(*self.pointer_key, "ADD #version :one", one=1)])

    def all(self) -> tuple[Promotion, ...]:
        """All that are recorded, read consistently."""
        return self._read(self.table.get(*self.pointer_key))

    def merged(self, declared: Version[Inventory], pointer: Item | None) -> Version[Inventory]:
        """The inventory with what is recorded; `pointer` is the item at `pointer_key`, as it was read with it."""
        recorded = self._read(pointer)
        if not recorded:
            return declared
        state = (declared.number, self._known[0])
        if self._merged is None or self._merged[0] != state:
            document = declared.document
            both = document.model_copy(update={"promotions": (*document.promotions, *recorded)})
            self._merged = (state, replace(declared, document=both))
        return self._merged[1]

    def _read(self, pointer: Item | None) -> tuple[Promotion, ...]:
        version = int(pointer["version"]) if pointer else 0
        if version != self._known[0]:
            # What is written between the two reads is read once more the next time.
            items = self.table.query(PARTITION, "AT#")
            self._known = (version, tuple(Promotion.model_validate(item["promotion"]) for item in items))
        return self._known[1]


def _key(promotion: Promotion) -> str:
    place = [promotion.stage, promotion.registry, promotion.repository, promotion.tag]
    return f"AT#{hashlib.sha256(json.dumps(place).encode()).hexdigest()[:40]}"
