"""What a reconcile of any system works with, and how it tells of what nobody told."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paydown.events import Event
from paydown.ledger.sources_seen import Sources, telling_of

State = dict[str, Any]
"""How far the reconcile of one system came; what a reconcile changes in it is kept, even if it fails."""


@dataclass(frozen=True)
class Desk:
    """The ledger's notes of senders, the bus, the present, and until when (`time.monotonic`) there is time."""

    sources: Sources
    publish: Callable[[Sequence[Event]], None]
    now: datetime
    deadline: float

    @property
    def time_is_up(self) -> bool:
        """Nothing more may be begun."""
        return time.monotonic() >= self.deadline

    def tell_untold(self, sender: str, events: Sequence[Event]) -> int:
        """Publish those events of whose subject the sender told nothing; returns how many they were."""
        tellings = [(event, telling) for event in events if (telling := telling_of(event))]
        known = self.sources.told(sender, [telling.subject for _, telling in tellings])
        untold = [(event, telling) for event, telling in tellings if telling.subject not in known]
        # First the bus: if this ends here, the next pass makes the same events with the same keys.
        self.publish([event for event, _ in untold])
        self.sources.tell(sender, [telling for _, telling in untold], self.now)
        return len(untold)


def digest_of(*parts: str) -> str:
    """32 hex digits that stand for these texts, for a key."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
