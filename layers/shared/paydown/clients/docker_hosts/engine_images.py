"""Looking at images and removing them, by the hundred: each looked at again right before it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import zip_longest
from urllib.parse import quote

from paydown.clients.docker_hosts.layers import LayerSizes, removal
from paydown.clients.docker_hosts.model import Fate, Json, Removal
from paydown.clients.docker_hosts.reading import one_line, repositories
from paydown.clients.docker_hosts.wire import AHEAD, Answer, Call, Refused, Wire, Wires, history, look, remove


def inspect_each(wires: Wires, ids: Sequence[str]) -> list[Json]:
    """Those of the images that are there, as the engine describes them."""

    def some(wire: Wire, mine: Sequence[str]) -> list[Json | None]:
        found: list[Json | None] = []
        for first in range(0, len(mine), AHEAD):
            answers = wire.exchange(*map(look, mine[first : first + AHEAD]))
            found += [None if answer.status == 404 else answer.json() for answer in answers]
        return found

    return [one for one in wires.share(some, ids) if one is not None]


def remove_each(wires: Wires, sizes: LayerSizes, ids: Sequence[str], deadline: float) -> list[Removal]:
    """Remove what still dangles and nothing uses; nothing is begun after `deadline` (of the monotonic clock)."""

    def some(wire: Wire, mine: Sequence[str]) -> list[Removal]:
        remover = _Remover(wire, sizes)
        return [
            Removal(id, Fate.SKIPPED, "time was up") if time.monotonic() > deadline else remover.remove(id, following)
            for id, following in zip_longest(mine, mine[1:])
        ]

    return wires.share(some, ids)


class _Remover:
    """Removes one image after another over one connection.

    The call that removes one and the look at the next are sent together, and the next is removed, or not, as soon as
    that look is answered: it takes half the turns, and is as near as a look of its own would be.
    """

    def __init__(self, wire: Wire, sizes: LayerSizes) -> None:
        self._wire = wire
        self._sizes = sizes
        self._ahead: Answer | None = None

    def remove(self, id: str, following: str | None) -> Removal:
        """Remove one if nothing speaks against it now; the engine itself refuses when a container has it."""
        try:
            return self._remove(id, following)
        except Refused as error:
            if error.status == 409:
                return Removal(id, Fate.USED, one_line(error.why))
            if error.status == 404:
                return Removal(id, Fate.ABSENT)
            self._ahead = None  # it would be old by the time of its turn
            # An engine that two ask for the same at once answers one of them with a 500: what is gone is gone.
            [answer] = self._wire.exchange(look(id))
            return Removal(id, Fate.ABSENT) if answer.status == 404 else Removal(id, Fate.FAILED, one_line(error.why))

    def _remove(self, id: str, following: str | None) -> Removal:
        seen, self._ahead = self._ahead, None
        inspected: Json = seen.json() if seen else self._wire.ask(look(id))
        steps = self._sizes.steps(inspected)
        if steps is None:
            told, again = self._wire.exchange(history(id), look(id))  # again, last: as near as can be
            steps, inspected = self._sizes.learn(inspected, told.json()), again.json()
        if inspected["RepoTags"]:
            return Removal(id, Fate.TAGGED, f"it is tagged {inspected['RepoTags'][0]}")
        if len(repositories(inspected)) > 1:
            # The engine refuses an id that has several repositories; by its names, it looks for containers too late.
            if self._wire.ask(_containers_of(id)):
                return Removal(id, Fate.USED, "a container uses it")
            rows = [row for name in inspected["RepoDigests"] for row in self._wire.ask(remove(name))]
        else:
            gone, *rest = self._wire.exchange(remove(id), *([look(following)] if following else ()))
            self._ahead = rest[0] if rest else None
            rows = gone.json()
        deleted = [row["Deleted"] for row in rows if "Deleted" in row]
        if id not in deleted:
            return Removal(id, Fate.USED, "only its names could be removed")
        return removal(inspected, steps, deleted)


def _containers_of(id: str) -> Call:
    filters = quote(json.dumps({"ancestor": [id]}))
    return Call("GET", f"/containers/json?all=1&limit=1&filters={filters}")
