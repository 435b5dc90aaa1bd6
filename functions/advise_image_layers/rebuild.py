"""What a push rebuilt: two images of one Dockerfile, compared by their layers and instructions.

The builder takes a step from its cache while the step, and all before it, are as they were: the content of what is
copied counts, the times of files do not. Everything after the first step that is not is built again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functions.advise_image_layers.image import Image

MOVABLE = frozenset({"COPY", "ADD", "RUN", "LABEL"})
_PLACED = frozenset({"COPY", "ADD", "RUN", "WORKDIR"})
"""What can make layers."""


@dataclass(frozen=True)
class Rebuild:
    """What was built again, and why.

    `first` is the number of the instruction (of all, counted from 0) that was not taken from the cache. `layers` and
    `size` (bytes in the registry) are what was built from there on. `base`: the base image is another one. `edited`:
    the Dockerfiles differ in more than what is copied. `volatile`: the instructions whose content is known to have
    changed, and which a Dockerfile could say later.
    """

    first: int
    layers: int
    size: int
    base: bool = False
    edited: bool = False
    volatile: frozenset[int] = frozenset()


def compare(before: Image, now: Image) -> Rebuild | None:
    """What the push of `now` rebuilt of `before`; None if no layer did change."""
    same = _common(before.diff_ids, now.diff_ids)
    if same == len(now.diff_ids):
        return None
    layered = [number for number, one in enumerate(now.instructions) if one.diff_id]
    changed = layered[same]
    texts = _common(_texts(before), _texts(now))
    first = min(changed, texts)
    rebuilt = [one for one in now.instructions[first:] if one.diff_id]
    base = first < now.own or before.own != now.own
    edited = not base and [one.shape for one in before.instructions] != [one.shape for one in now.instructions]
    found = Rebuild(first, len(rebuilt), sum(one.size for one in rebuilt), base, edited)
    if base or edited:
        return found
    return Rebuild(first, found.layers, found.size, volatile=_volatile(before, now, first))


def _volatile(before: Image, now: Image, first: int) -> frozenset[int]:
    """The first step, and those after it of whose content the classic builder tells that it changed.

    None if the first one is no step that could come later: an argument changes what follows it.
    """
    if now.instructions[first].word not in MOVABLE:
        return frozenset()
    found = {first}
    for number in range(first + 1, len(now.instructions)):
        old, new = before.instructions[number], now.instructions[number]
        copied = new.copies and old.content and new.content and old.content != new.content
        if copied or (new.word == "LABEL" and old.rest != new.rest and not new.kit):
            found.add(number)
    return frozenset(found)


def _texts(image: Image) -> list[tuple[str, str]]:
    """What a step of the cache is known by. To BuildKit, what makes no layer is none: it shows in what makes one."""
    return [(one.word, one.rest if one.word in _PLACED or not one.kit else "") for one in image.instructions]


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many of the first members are equal."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
