"""Times and names: as the API writes them, and repeatable when a number is given to start from."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime

# Without vowels and look-alikes, so that no word comes about: the alphabet of Kubernetes' own suffixes.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, as Leases and Events have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: object) -> float:
    """Seconds since 1970 of what `stamp` wrote; 0 for what is no time, since clients may write such fields too."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


class Names:
    """Uids and suffixes; the same ones again for the same `seed`, others at every start for None."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- names, no secrets

    def uid(self) -> str:
        """A new uid."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def suffix(self, length: int = 5) -> str:
        """A new suffix for a generated name."""
        return "".join(self._random.choice(_ALPHABET) for _ in range(length))
