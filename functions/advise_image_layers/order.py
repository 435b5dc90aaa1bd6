"""The order of instructions in which what changes often comes as late as it can, and what that saves.

Two copies may change places if neither writes below the other. A command may read and write anything: what changes
places with one is asked, and not at all if the command names what is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from functions.advise_image_layers.image import Image, Instruction
from functions.advise_image_layers.ties import folders, tied

Blocks = tuple[tuple[int, ...], ...]
"""Numbers of instructions, in a new order; those of one block become one instruction."""


@dataclass(frozen=True)
class Cost:
    """What one rebuild makes: layers, and their bytes in the registry."""

    layers: int
    size: int


def as_built(image: Image) -> Blocks:
    """The image's own instructions as they are."""
    return tuple((number,) for number in range(image.own, len(image.instructions)))


def sunk(image: Image, volatile: Set[int], *, asking: bool) -> Blocks:
    """The image's own instructions with the volatile ones as late as they may come.

    `asking`: also past what may be affected by it: commands that do not name what is copied, and copies to the same
    folder.
    """
    order = [number for (number,) in as_built(image)]
    places = folders(image)
    for number in sorted(volatile, reverse=True):
        at = order.index(number)
        end = at + 1
        while end < len(order) and not tied(
            image, number, order[end], places, asking=asking and order[end] not in volatile
        ):
            end += 1
        # Behind the last step that makes a layer: what makes none costs nothing, and reads best at the end.
        while end > at + 1 and not image.instructions[order[end - 1]].diff_id:
            end -= 1
        order.insert(end - 1, order.pop(at))
    return tuple((number,) for number in _in_their_order(order, volatile, image))


def by_weight(image: Image, weights: Mapping[int, int], *, asking: bool) -> Blocks:
    """The image's own instructions with those of more weight (how often they change) after those of less."""
    order = [number for (number,) in as_built(image)]
    places = folders(image)
    for number in sorted(weights, key=lambda one: (-weights[one], -one)):
        at = order.index(number)
        end = at + 1
        while end < len(order) and weights.get(order[end], 0) < weights[number]:
            if tied(image, number, order[end], places, asking=asking):
                break
            end += 1
        while end > at + 1 and not image.instructions[order[end - 1]].diff_id:
            end -= 1
        order.insert(end - 1, order.pop(at))
    return tuple((number,) for number in order)


def mean(image: Image, blocks: Blocks, commits: Iterable[Set[int]]) -> Cost:
    """What is built again on average for a commit that touches anything, in this order of instructions."""
    costs = [rebuilt(image, blocks, touched) for touched in commits if touched]
    count = max(1, len(costs))
    return Cost(round(sum(one.layers for one in costs) / count), sum(one.size for one in costs) // count)


def rebuilt(image: Image, blocks: Blocks, volatile: Set[int]) -> Cost:
    """What is built again when the volatile instructions change, in this order of instructions."""
    first = _first(image, blocks, volatile)
    sizes = [_sizes(image, block) for block in blocks[first:]]
    return Cost(sum(bool(one) for one in sizes), sum(map(sum, sizes)))


def _first(image: Image, blocks: Blocks, volatile: Set[int]) -> int:
    """The first block that is built again.

    A variable makes nothing new but the commands that see it, and what follows these; ENV of the classic builder is a
    step like any other.
    """
    seen = False
    for at, block in enumerate(blocks):
        ones = [(number in volatile, image.instructions[number]) for number in block]
        if any(changed and not _is_seen(one) for changed, one in ones):
            return at
        if seen and any(one.word == "RUN" for _, one in ones):
            return at
        seen = seen or any(changed for changed, _ in ones)
    return len(blocks)


def _is_seen(one: Instruction) -> bool:
    return one.word == "ARG" or (one.word == "ENV" and one.kit)


def _sizes(image: Image, block: tuple[int, ...]) -> list[int]:
    return [image.instructions[number].size for number in block if image.instructions[number].diff_id]


def _in_their_order(order: list[int], volatile: Set[int], image: Image) -> list[int]:
    """Volatile copies that ended up side by side, in the order in which they stood: nobody has to wonder."""
    result: list[int] = []
    block: list[int] = []
    for number in order:
        if number in volatile and image.instructions[number].copies:
            block.append(number)
            continue
        result += [*sorted(block), number]
        block = []
    return [*result, *sorted(block)]
