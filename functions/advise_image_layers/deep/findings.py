"""Advice from the deep look: what lies in the layers and is of no use, and a program that cannot start."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from functions.advise_image_layers.advice import Advice, Limits, about, megabytes
from functions.advise_image_layers.deep.files import Files, Opener, Sum, files_of, leftovers
from functions.advise_image_layers.deep.leftovers import REMEDIES
from functions.advise_image_layers.deep.programs import interpreter_of, started
from functions.advise_image_layers.image import Image
from paydown.clients.archives import Bounds

ENTRIES = 200_000
SECONDS = 25
"""A function has 60 seconds for all that it does: repositories are read and programs run besides."""
PATH_SHOWN = 120


@dataclass(frozen=True)
class Deep:
    """What a deep look found. `told`: how far it went, for people. `seen`: what the run books of it."""

    advice: tuple[Advice, ...]
    told: str
    seen: dict[str, Any]


def look_into(image: Image, opened: Opener, most: int, limits: Limits) -> Deep:
    """Read the layers of the image's own Dockerfile, of at most so many bytes unpacked. Raises RetryableError."""
    scratch = image.own == 0 and image.base_name in ("", "scratch")
    files = files_of(image, opened, Bounds(most, ENTRIES, time.monotonic() + SECONDS), scratch)
    said = [*_left(image, files), *_hidden(image, files)]
    worth = [one for one in said if one.saves_bytes >= max(1, limits.saving_bytes)]
    worth.sort(key=lambda one: -one.saves_bytes)
    if scratch and not files.trouble:
        worth = [*_dynamic(image, files), *worth]
    seen: dict[str, Any] = {"layers_looked_into": files.looked, "layer_bytes_fetched": files.fetched}
    told = f"Looked into {files.looked} layers of its own Dockerfile ({megabytes(files.fetched)} were read)."
    if files.trouble:
        seen["not_looked_into"] = f"from instruction {files.ended - image.own + 1} on: {files.trouble}"
        told += f" Not looked into, {seen['not_looked_into']}."
    return Deep(tuple(worth), told, seen)


def _left(image: Image, files: Files) -> Iterator[Advice]:
    for (number, manager), total in leftovers(files.present).items():
        text = (
            f"{manager} leaves {_amount(total)} here, which nothing in the image needs once packages are installed: "
            f"{REMEDIES[manager]} leaves nothing. Does the image install packages when it runs?"
        )
        saves = int(total.size * files.shares[number])
        yield about(image, number, "package-lists-left", text, asks=True, saves_bytes=saves)


def _hidden(image: Image, files: Files) -> Iterator[Advice]:
    for (added, hid, deleted), total in files.hidden.items():
        done = "deletes" if deleted else "overwrites"
        remedy = (
            "Delete in the instruction that makes, or make it in a stage of its own."
            if deleted
            else "Give a file its content, owner and mode in one instruction (COPY --chown, --chmod)."
        )
        text = (
            f"{_place(image, hid)} {done} {_amount(total)} of this layer: the image keeps the bytes, and nobody sees "
            f"them. {remedy}"
        )
        saves = int(total.size * files.shares[added])
        rule = "deleted-later" if deleted else "overwritten-later"
        yield about(image, added, rule, text, saves_bytes=saves)


def _dynamic(image: Image, files: Files) -> Iterator[Advice]:
    """A program of an image from scratch whose interpreter is not there.

    Any file of that name counts as the interpreter: folders may be linked.
    """
    names = [files.resolve(path) for path in started(image.config)]
    path = next((name for name in names if name in files.present), "")
    wanted = interpreter_of(files.heads[path]) if path in files.heads else ""
    if not wanted or any(posixpath.basename(one) == posixpath.basename(wanted) for one in files.present):
        return
    text = (
        f"/{_short(path)} is a dynamic program in an image from scratch: {_short(wanted)} is to load it, and is not "
        f"there, so it cannot start. Should it be linked statically, or stand on a base image that has it and the "
        f"libraries?"
    )
    yield about(image, files.present[path][0], "dynamic-in-scratch", text)


def _amount(total: Sum) -> str:
    what = "1 file" if total.files == 1 else f"{total.files} files"
    return f"{what} ({megabytes(total.size)} unpacked; {_short(total.largest)} is the largest)"


def _place(image: Image, number: int) -> str:
    one = image.instructions[number]
    return f"Line {one.lines[0]}" if one.lines[0] else f"Instruction {number - image.own + 1}"


def _short(path: str) -> str:
    said = " ".join(path.encode(errors="replace").decode().split())
    return said if len(said) <= PATH_SHOWN else f"{said[: PATH_SHOWN - 1]}…"
