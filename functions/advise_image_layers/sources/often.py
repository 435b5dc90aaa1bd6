"""How often the files of each copy changed, by the commits of the repository that the image is built from."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from functions.advise_image_layers.image import Image

_STARS = 12
"""A pattern with more of them names nothing but itself: matching could take for ever."""


def touched(
    image: Image, changes: Iterable[Iterable[str]], context: str, ignored: Sequence[str]
) -> tuple[frozenset[int], ...]:
    """For each commit, the numbers of the copies of which it changed a file; `ignored` are lines of `.dockerignore`."""
    copies = {
        number: [posixpath.normpath(source.lstrip("/") or ".") for source in one.sources]
        for number, one in enumerate(image.instructions)
        if number >= image.own and one.copies and one.lines != (0, 0) and "--from=" not in one.flags
    }
    rules = _rules(ignored)
    found = []
    for paths in changes:
        seen = [path for path in (_within(path, context) for path in paths) if path and not _ignored(path, rules)]
        found.append(frozenset(number for number, names in copies.items() if _holds(names, seen)))
    return tuple(found)


def _within(path: str, context: str) -> str:
    folder = posixpath.normpath(context)
    if folder == ".":
        return path
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else ""


def _holds(names: Iterable[str], paths: Iterable[str]) -> bool:
    patterns = [_pattern(name, folder=True) for name in names if "://" not in name and "$" not in name]
    return any(one.fullmatch(path) for one in patterns for path in paths)


def _rules(lines: Iterable[str]) -> list[tuple[bool, re.Pattern[str]]]:
    """Whether a rule leaves out or takes in again, and what it is of, in their order; the last that fits counts."""
    found = []
    for line in lines:
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        out = not said.startswith("!")
        name = posixpath.normpath(said.lstrip("!").strip().lstrip("/") or ".")
        found.append((out, _pattern(name, folder=True)))
    return found


def _ignored(path: str, rules: Iterable[tuple[bool, re.Pattern[str]]]) -> bool:
    left_out = False
    for out, pattern in rules:
        if pattern.fullmatch(path):
            left_out = out
    return left_out


@lru_cache(maxsize=1024)
def _pattern(name: str, *, folder: bool) -> re.Pattern[str]:
    """A pattern of Go's `filepath.Match`, with `**` for any folders; what lies below a folder belongs to it."""
    if name.count("*") > _STARS:
        return re.compile(re.escape(name))
    if name == ".":
        return re.compile(r".*", re.DOTALL)
    made = ""
    for part in re.findall(r"\*\*/?|\*|\?|\[[^\]/]*\]|\\.|[^*?\[\\]+|.", name, re.DOTALL):
        if part.startswith("**"):
            made += r"(?:.*/)?" if part.endswith("/") else r".*"
        elif part == "*":
            made += r"[^/]*"
        elif part == "?":
            made += r"[^/]"
        elif part.startswith("[") and len(part) > 2 and part != "[^]":
            inner = re.escape(part[1:-1].removeprefix("^")).replace(r"\-", "-")
            made += f"[{'^' if part[1] == '^' else ''}{inner}]"
        else:
            made += re.escape(part[1:] if part.startswith("\\") and len(part) > 1 else part)
    try:
        return re.compile(rf"{made}(?:/.*)?" if folder else made, re.DOTALL)
    except re.error:
        return re.compile(re.escape(name))
