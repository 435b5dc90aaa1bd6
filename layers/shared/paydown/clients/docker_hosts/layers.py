"""What the removal of an image freed: worked out from what the engine said before it and in its answer.

The engine answers a removal with what it really deleted: images by their id, layers by their *chain id*, a hash over
the layer and all those below it. It deletes a layer with the last that holds it, be that another image, a container
or the build cache; so what is on that list counts once however many images shared it, and whatever else is built
meanwhile does not disturb the figure, as it would a comparison of free space.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from paydown.clients.docker_hosts.model import Fate, Json, Removal

_MAKES_A_LAYER = re.compile(r"^(/bin/sh -c #\(nop\) +)?(RUN|COPY|ADD|WORKDIR)\b")
_MAKES_NONE = re.compile(r"^(/bin/sh -c #\(nop\) +)?[A-Z]+ ")


def chain_ids(layers: Sequence[str]) -> list[str]:
    """The chain ids of an image's layers (`RootFS.Layers`, lowest first), as OCI defines them."""
    chain: list[str] = []
    for layer in layers:
        below = f"{chain[-1]} {layer}" if chain else ""
        chain.append("sha256:" + hashlib.sha256(below.encode()).hexdigest() if below else layer)
    return chain


class LayerSizes:
    """Sizes of layers that images have in common, so that not each image's history has to be asked for.

    What one image's history told of a layer holds for every image with it; the layer that is known of no other image is
    what is left of its size.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def steps(self, inspected: Json) -> Sequence[Json] | None:
        """Steps as a history has them, newest first, one for each layer; None if more than one layer is unknown."""
        chain = chain_ids(((inspected.get("RootFS") or {}).get("Layers")) or [])
        unknown = [layer for layer in chain if layer not in self._known]
        if len(unknown) > 1:
            return None
        rest = int(inspected["Size"]) - sum(self._known.get(layer, 0) for layer in chain)
        return [{"Size": self._known.get(layer, rest), "CreatedBy": "COPY"} for layer in reversed(chain)]

    def learn(self, inspected: Json, history: Sequence[Json]) -> Sequence[Json]:
        """Remember what a history tells, if it tells it of each layer; the history."""
        chain = chain_ids(((inspected.get("RootFS") or {}).get("Layers")) or [])
        sizes = _sizes(history)
        if len(sizes) == len(chain):
            self._known.update(zip(reversed(chain), sizes, strict=True))
        return history


def removal(inspected: Json, history: Sequence[Json], deleted: Sequence[str]) -> Removal:
    """What became of an image that the engine removed.

    `inspected` and `history` (newest step first) are the engine's own words about it from before, `deleted` the ids
    in the answer to its removal.
    """
    chain = chain_ids(((inspected.get("RootFS") or {}).get("Layers")) or [])
    gone = set(deleted)
    layers = [layer for layer in chain if layer in gone]
    images = [one for one in deleted if one not in set(chain)]
    freed, exact = _freed(inspected, history, len(chain), len(layers))
    driver = (inspected.get("GraphDriver") or {}).get("Name")
    if inspected.get("Descriptor") or driver == "vfs":
        # The containerd store deletes layers later, and does not tell; vfs copies what lies below into each layer.
        exact = False
    return Removal(
        id=str(inspected["Id"]),
        fate=Fate.REMOVED,
        freed=freed,
        exact=exact,
        layers=len(layers),
        parents=max(0, len(images) - 1),
        directories=_directories(inspected)[: len(layers)],
    )


def _freed(inspected: Json, history: Sequence[Json], count: int, deleted: int) -> tuple[int, bool]:
    """The size of the uppermost `deleted` of `count` layers, and whether it is exact.

    The history tells the size of each step but not which of the empty ones made a layer. Those that did are told by
    their command; where that does not add up, the unknown empty layers are taken for the uppermost: a lower bound.
    """
    if not deleted:
        return 0, True
    if deleted == count:
        return int(inspected["Size"]), True
    sizes = _sizes(history)
    if len(sizes) == count:
        return sum(sizes[:deleted]), True
    filled = [int(step["Size"]) for step in history if int(step["Size"])]
    return sum(filled[: max(0, deleted - (count - len(filled)))]), False


def _sizes(history: Sequence[Json]) -> list[int]:
    """The sizes of the steps that made a layer, as far as one can tell; newest first."""
    steps = [(int(step["Size"]), str(step.get("CreatedBy") or "")) for step in history]
    return [size for size, command in steps if size or _is_layer(command)]


def _is_layer(command: str) -> bool:
    if _MAKES_A_LAYER.match(command):
        return True
    # The classic builder writes the bare command line of RUN, and an import or commit says nothing of the kind.
    return not _MAKES_NONE.match(command)


def _directories(inspected: Json) -> tuple[str, ...]:
    """The directories of an image's layers, uppermost first, as far as the storage driver tells them."""
    data = (inspected.get("GraphDriver") or {}).get("Data") or {}
    lower = str(data.get("LowerDir") or "")
    upper = [str(data["UpperDir"])] if data.get("UpperDir") else []
    return tuple(upper + [one for one in lower.split(":") if one])
