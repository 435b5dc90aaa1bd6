"""The order of instructions in which what changes often comes as late as it can, and what that saves.

Two copies may change places if neither writes below the other. A command may read and write anything: what changes
places with one is asked, and not at all if the command names what is copied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from functions.advise_image_layers.image import Image, Instruction

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
    folders = _folders(image)
    for number in sorted(volatile, reverse=True):
        at = order.index(number)
        end = at + 1
        while end < len(order) and not _tied(
            image, number, order[end], folders, asking=asking and order[end] not in volatile
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
    folders = _folders(image)
    for number in sorted(weights, key=lambda one: (-weights[one], -one)):
        at = order.index(number)
        end = at + 1
        while end < len(order) and weights.get(order[end], 0) < weights[number]:
            if _tied(image, number, order[end], folders, asking=asking):
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


def merged(image: Image, blocks: Blocks, volatile: Set[int], word: str) -> Blocks:
    """The blocks, with neighbours of this word made one where they can be; what changes stays apart from the rest."""
    found: list[tuple[int, ...]] = []
    for block in blocks:
        if found and image.instructions[block[0]].word == word and _one(image, found[-1], block, volatile):
            found[-1] += block
        else:
            found.append(block)
    return tuple(found)


def rebuilt(image: Image, blocks: Blocks, volatile: Set[int]) -> Cost:
    """What is built again when the volatile instructions change, in this order of instructions."""
    first = next((at for at, block in enumerate(blocks) if volatile & set(block)), len(blocks))
    sizes = [_sizes(image, block) for block in blocks[first:]]
    return Cost(sum(bool(one) for one in sizes), sum(map(sum, sizes)))


def _sizes(image: Image, block: tuple[int, ...]) -> list[int]:
    return [image.instructions[number].size for number in block if image.instructions[number].diff_id]


def _one(image: Image, block: tuple[int, ...], following: tuple[int, ...], volatile: Set[int]) -> bool:
    one, two = image.instructions[block[-1]], image.instructions[following[0]]
    if len({number in volatile for number in (*block, *following)}) > 1 or one.word != two.word:
        return False
    if one.copies:
        alike = one.flags == two.flags and one.target == two.target and one.target.endswith("/")
        return alike and not any(re.search(r"\s|<<", it) for it in (*one.sources, *two.sources))
    return one.word == "RUN" and one.flags == two.flags and _plain(one.rest) and _plain(two.rest)


def _plain(command: str) -> bool:
    """Whether a command can stand in brackets beside another one."""
    return not command.startswith("[") and not re.search(r"[#\n]|<<|\\$", command)


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


def _tied(image: Image, moved: int, other: int, folders: dict[int, str], *, asking: bool) -> bool:
    """Whether the moved instruction must stay before the other one."""
    one, two = image.instructions[moved], image.instructions[other]
    if one.copies and two.copies:
        together = asking and one.target == two.target and one.target.endswith("/")
        if overlap(one.target, two.target):
            return not together
        return not asking and not _made_before(image, moved, _shared(one.target, two.target))
    if one.copies and two.word == "RUN":
        return not asking or _names(two.rest, folders[other], one)
    if one.copies:
        # It makes the folder that it names; a copy below would make it otherwise.
        return bool(two.diff_id) and (two.word != "WORKDIR" or overlap(one.target, two.rest))
    return True


def _shared(one: str, two: str) -> str:
    """The lowest folder that two targets lie in."""
    return posixpath.commonpath([posixpath.dirname(path.rstrip("/")) or "/" for path in (one, two)])


def _made_before(image: Image, number: int, folder: str) -> bool:
    """Whether a folder is there before an instruction: else the first copy below makes it, with its --chown."""
    earlier = (image.instructions[at] for at in range(image.own, number))
    return folder == "/" or any(
        overlap(folder, posixpath.join("/", one.rest)) and posixpath.join("/", one.rest).startswith(folder)
        for one in earlier
        if one.word == "WORKDIR"
    )


def overlap(one: str, two: str) -> bool:
    """Whether one path lies in the other. What is copied to a folder without a slash may be a folder itself."""
    first, second = (posixpath.join("/", path).rstrip("/") + "/" for path in (one, two))
    return first.startswith(second) or second.startswith(first)


def _names(command: str, folder: str, copied: Instruction) -> bool:
    """Whether a command seems to need what was copied: it names it, or runs in the folder to which it went."""
    target = copied.target.rstrip("/")
    if folder != "/" and overlap(folder, copied.target):
        return True
    if not target:
        return True
    names = {target, *(posixpath.basename(source.rstrip("/")) for source in copied.sources if ":" not in source)}
    if not copied.target.endswith("/"):
        names.add(posixpath.basename(target))
    return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", command) for name in names if name not in ("", "."))


def _folders(image: Image) -> dict[int, str]:
    """The working directory in which each instruction runs."""
    found, folder = {}, "/"
    for number, one in enumerate(image.instructions):
        found[number] = folder
        if one.word == "WORKDIR":
            folder = posixpath.join(folder, one.rest)
    return found
