"""Neighbours that can be one instruction, and what they do stays the same."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Set

from functions.advise_image_layers.image import Image, Instruction
from functions.advise_image_layers.order import Blocks

_SHELLS = frozenset({"sh", "bash", "ash", "dash", "ksh", "mksh", "zsh", "busybox"})
_HARD = re.compile(r"[#\n]|<<|\\$")
"""What cannot stand in brackets beside another command."""
_STOPS = re.compile(
    r"(?<![\w-])set\s[^;&|\n]{0,200}?[-+](?:[A-Za-z]*e|o\s+errexit)|errexit|(?<![\w-])(?:shopt|setopt|emulate)\s"
)
"""What would not stop at a failure any more: a shell does not heed `-e` on the left of `&&`."""
_BEHIND = re.compile(r"(?<![&>|<])&(?![&>\d-])")
"""A process that goes on when its command is over: it ends with its own RUN, and not before."""
_OPTION = re.compile(r"-[A-Za-z]*e[A-Za-z]*")


def merged(image: Image, blocks: Blocks, volatile: Set[int], word: str) -> Blocks:
    """The blocks, with neighbours of this word made one where they can be; what changes stays apart from the rest."""
    if word == "RUN" and not _heedless(image):
        return blocks
    found: list[tuple[int, ...]] = []
    for block in blocks:
        if found and image.instructions[block[0]].word == word and _one(image, found[-1], block, volatile):
            found[-1] += block
        else:
            found.append(block)
    return tuple(found)


def _one(image: Image, block: tuple[int, ...], following: tuple[int, ...], volatile: Set[int]) -> bool:
    one, two = image.instructions[block[-1]], image.instructions[following[0]]
    if len({number in volatile for number in (*block, *following)}) > 1 or one.word != two.word:
        return False
    if one.copies:
        alike = one.flags == two.flags and one.target == two.target and one.target.endswith("/")
        return alike and not any(re.search(r"\s|<<", it) for it in (*one.sources, *two.sources))
    return one.word == "RUN" and one.flags == two.flags and _plain(one) and _plain(two)


def _plain(one: Instruction) -> bool:
    """Whether a command can stand in brackets, on the left of `&&`."""
    if one.cut or one.rest.startswith("[") or "tmpfs" in one.flags:
        return False
    return not any(pattern.search(one.rest) for pattern in (_HARD, _STOPS, _BEHIND))


def _heedless(image: Image) -> bool:
    """Whether commands run in a plain shell that does not end at a failure of its own accord (`-e`)."""
    shells = [image.config.get("Shell") or []]
    shells += [re.findall(r"[^\s\[\],\"']+", one.rest) for one in image.instructions if one.word == "SHELL"]
    return all(not shell or _understood([str(it) for it in shell]) for shell in shells)


def _understood(shell: list[str]) -> bool:
    return posixpath.basename(shell[0]) in _SHELLS and not any(
        _OPTION.fullmatch(it) or it == "errexit" for it in shell[1:]
    )
