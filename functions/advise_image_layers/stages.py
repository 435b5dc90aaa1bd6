"""The Dockerfile with a stage of its own for the compiler, and another for what the image needs when it runs."""

from __future__ import annotations

import posixpath
import re

from functions.advise_image_layers.commands import builds, compiled
from functions.advise_image_layers.compilers import Compiler
from functions.advise_image_layers.dockerfile import LONGEST, base_of, finished, said, told_whole
from functions.advise_image_layers.image import Image
from functions.advise_image_layers.ties import folders, names

ELSEWHERE = "/where/it/was/built"
"""Stands for what is built, where no command says it."""
SLIM = "<a base image without the compiler>"
SHOWN = 200
_LEFT = "# Left in the stage that builds; does the image need what they make or bring when it runs?"
_BUILDING = frozenset({"COPY", "ADD", "RUN", "WORKDIR", "ENV", "ARG", "SHELL", "USER", "VOLUME"})
_FROM = re.compile(r"(?P<from>FROM\s+(?:--\S+\s+)*)(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*", re.IGNORECASE)


def multi_stage(image: Image, compiler: Compiler) -> str:
    """The Dockerfile whose first stage builds as the image does now, and whose second gets what was built.

    What is built is read from `-o`; where nothing says it, a name stands that has to be replaced. The second stage
    keeps the copies that no command of the build seems to need, and says above itself what it does not keep. Empty if
    the image does not tell all of an instruction.
    """
    if not told_whole(image):
        return ""
    head, first, second = _froms(image, compiler)
    own = list(enumerate(image.own_instructions, image.own))
    building = [text for _, one in own if one.word in _BUILDING and (text := said(image, one))]
    kept, left = _second(image, compiler, _name(first))
    told = [_LEFT, *(f"#   {line}" for line in left)] if left else []
    body = [*building, "", *told, second, *kept]
    if image.script is None:
        return finished([first, *body], classic=image.classic)
    tail = f"\n{image.script.tail}\n" if image.script.tail else ""
    text = head + "\n".join([first, *body]) + "\n" + tail
    return text if len(text) <= LONGEST else ""


def _second(image: Image, compiler: Compiler, stage: str) -> tuple[list[str], list[str]]:
    """The lines of the second stage after its FROM, and those that stay in the first."""
    own = list(enumerate(image.own_instructions, image.own))
    places = folders(image)
    runs = [number for number, one in own if one.word == "RUN" and (compiler.in_base or number >= compiler.number)]
    building = [number for number in runs if builds(image.instructions[number].rest)] or runs
    built = [
        posixpath.normpath(posixpath.join(places[number], path))
        for number in runs
        for path in compiled(image.instructions[number].rest)
    ]
    brought = [f"COPY --from={stage} {path} {path}" for path in dict.fromkeys(built) or (ELSEWHERE,)]
    kept: list[str] = []
    left: list[str] = []
    for number, one in own:
        needed = one.copies and any(
            at > number and names(image.instructions[at].rest, places[at], one) for at in building
        )
        if one.word == "RUN" or needed:
            left.append(_short(one.line))
        elif one.word:
            kept.append(said(image, one))
        if number == max(building):
            kept += brought
    return [line for line in kept if line], left


def _froms(image: Image, compiler: Compiler) -> tuple[str, str, str]:
    """What stands before, and the lines FROM of the two stages. The second keeps the name that the stage had."""
    if image.script is None:
        base = base_of(image)
        return "", f"{base} AS build", f"FROM {SLIM}" if compiler.in_base else base
    lines = image.script.head.splitlines(keepends=True)
    head = "".join(lines[: image.script.line - 1])
    written = " ".join(line.strip().rstrip("\\`").strip() for line in lines[image.script.line - 1 :])
    found = _FROM.fullmatch(written)
    if found is None:
        return head, f"{written} AS build", written
    every = f"{image.script.head}{image.script.tail}".lower()
    name = next(it for it in ("build", "compile", "paydown-build") if not re.search(rf"\bas\s+{it}\b", every))
    base = f"{found['from']}{found['base']}"
    slim = f"FROM {SLIM}" if compiler.in_base else base
    return head, f"{base} AS {name}", f"{slim} AS {found['name']}" if found["name"] else slim


def _name(line: str) -> str:
    return line.rpartition(" ")[2]


def _short(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
