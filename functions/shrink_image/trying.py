"""Comparing two images: the same commands, one after the other, on the same host, and what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from functions.shrink_image.made import Made
from functions.shrink_image.original import Original
from functions.shrink_image.settings import Trial
from paydown.clients.docker_builds import Cannot, Ran, TrialHost
from paydown.tickets import plain

SHOWN = 120
"""Characters of a line of output that are shown."""


def arguments(image: Original, command: Sequence[str]) -> list[str] | None:
    """What follows the entrypoint: of an image without one, the program that its CMD names stays the first word."""
    if not command:
        return None
    return list(command) if image.config.get("Entrypoint") else [image.command[0], *command]


@dataclass(frozen=True)
class Compared:
    """`why`: what tells the smaller image from its original; empty if nothing does.

    `alive`: what was seen of commands that had not ended when their time was up, in sentences.
    """

    why: str = ""
    alive: tuple[str, ...] = ()


def tried(
    host: TrialHost,
    image: Original,
    smaller: Made,
    trial: Trial,
    name: str,
    login: Mapping[str, str] | None,
    mark: str,
) -> Compared:
    """Compare them on a host, which pulls the original by `name` with `login`, if it is not there.

    Raises PermanentError if they cannot be tried there.
    """
    if host.architecture() != image.document.get("architecture"):
        return Compared("the host has another architecture")
    host.sweep(mark)
    with (
        host.image(image.image_id, name, login) as first,
        host.loaded(smaller.image_id, smaller.archive()) as second,
    ):
        return compare(host, image, (first, second), trial, mark)


def compare(host: TrialHost, image: Original, names: tuple[str, str], trial: Trial, mark: str) -> Compared:
    """Run the commands in both: the original, and the smaller image (the second of `names`)."""
    alive = []
    for command in trial.commands:
        said = f"with {list(command)}" if command else "with its own command"
        words = arguments(image, command)
        first, second = (host.run(name, words, seconds=trial.seconds, mark=mark) for name in names)
        if why := _useless(first):
            return Compared(f"{said}, the original {why}")
        found = _difference(first, second)
        if found:
            if again := _difference(first, host.run(names[0], words, seconds=trial.seconds, mark=mark)):
                return Compared(f"{said}, the original itself differs from run to run ({again})")
            return Compared(f"{said}, it differs from the original: {found}")
        if isinstance(first, Ran) and first.code is None:
            told = f"and had written the same {len(first.out) + len(first.err)} bytes"
            told = told if first.out or first.err else "and had written nothing"
            alive.append(plain(f"{said[0].upper()}{said[1:]} both still ran after {trial.seconds} s, {told}."))
    return Compared(alive=tuple(alive))


def _useless(ran: Ran | Cannot) -> str:
    if isinstance(ran, Cannot):
        return f"cannot be started ({_clean(ran.why)})"
    if ran.cut:
        return "writes more than can be compared"
    return ""


def _difference(one: Ran | Cannot, other: Ran | Cannot) -> str:
    if isinstance(other, Cannot):
        return f"it cannot be started ({_clean(other.why)})"
    if isinstance(one, Cannot):
        return f"one run cannot be started ({_clean(one.why)})"
    if one.code != other.code:
        return f"exit code {_code(one.code)}, then {_code(other.code)}{_first('standard error', one.err, other.err)}"
    return (_first("standard output", one.out, other.out) or _first("standard error", one.err, other.err)).strip("; ")


def _code(code: int | None) -> str:
    return "none in time" if code is None else str(code)


def _first(stream: str, one: bytes, other: bytes) -> str:
    """The first line that is not the same."""
    if one == other:
        return ""
    lines, others = one.splitlines(), other.splitlines()
    at = next((n for n, (a, b) in enumerate(zip(lines, others, strict=False)) if a != b), min(len(lines), len(others)))
    shown = [_clean(told[at]) if at < len(told) else "(nothing)" for told in (lines, others)]
    return f"; line {at + 1} of {stream}: “{shown[0]}”, then “{shown[1]}”"


def _clean(text: str | bytes) -> str:
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = plain(" ".join(told.split()))
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
