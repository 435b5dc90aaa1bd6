"""What a push rebuilt: two images of one Dockerfile, compared by their layers and instructions.

The builder takes a step from its cache while the step, and all before it, are as they were: the content of what is
copied counts, the times of files do not. Everything after the first step that is not is built again.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest

from functions.advise_image_layers.image import VARIABLE, VARIABLES, Image

MOVABLE = frozenset({"COPY", "ADD", "RUN", "LABEL"})
_PLACED = frozenset({"COPY", "ADD", "RUN", "WORKDIR"})
"""What can make layers."""


@dataclass(frozen=True)
class Rebuild:
    """What was built again, and why.

    `first` is the number of the instruction (of all, counted from 0) that was not taken from the cache. `layers` and
    `size` (bytes in the registry) are what was built from there on. `base`: the base image is another one. `edited`:
    the Dockerfiles differ in more than what is copied. `volatile`: the instructions whose content is known to have
    changed, and which a Dockerfile could say later: copies, labels, and the variables whose values are others.
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
    """The first step, the variables that changed, and the later steps of which the classic builder tells that they did.

    None if the first one is no step that could come later. A command that a variable before it made run again is not
    what changed.
    """
    found, word = _variables(before, now), now.instructions[first].word
    if first not in found and not (word == "RUN" and found and min(found) < first):
        if word not in MOVABLE:
            return frozenset()
        found.add(first)
    for number in range(first + 1, len(now.instructions)):
        old, new = before.instructions[number], now.instructions[number]
        copied = new.copies and old.content and new.content and old.content != new.content
        if copied or (new.word == "LABEL" and old.rest != new.rest and not new.kit):
            found.add(number)
    return frozenset(found)


def _variables(before: Image, now: Image) -> set[int]:
    """The instructions ENV and ARG with other values than before. Those of ARG the commands tell that see them."""
    names = frozenset(name for one in now.own_instructions if one.word == "ARG" for name in one.variables)
    pairs = list(zip(before.instructions, now.instructions, strict=True))
    seen = [
        (number, _values(old.arguments, names), _values(new.arguments, names))
        for number, (old, new) in enumerate(pairs)
        if new.arguments
    ]
    found = set()
    for number, (old, new) in enumerate(pairs[now.own :], now.own):
        others = any(
            at > number and one.get(name) != two.get(name)
            for at, one, two in seen
            for name in new.variables
            if new.word == "ARG"
        )
        if others or (new.word in VARIABLES and old.rest != new.rest):
            found.add(number)
    return found


def _values(arguments: str, names: Set[str]) -> dict[str, str]:
    """The values of these variables among the arguments: nothing but the next name ends one."""
    starts = [one for one in VARIABLE.finditer(arguments) if one[1] in names]
    ends = [one.start() for one in starts[1:]]
    return {one[1]: arguments[one.end() : end].strip() for one, end in zip_longest(starts, ends)}


def _texts(image: Image) -> list[tuple[str, str]]:
    """What a step of the cache is known by. To BuildKit, what makes no layer is none: it shows in what makes one."""
    return [(one.word, one.rest if one.word in _PLACED or not one.kit else "") for one in image.instructions]


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many of the first members are equal."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
