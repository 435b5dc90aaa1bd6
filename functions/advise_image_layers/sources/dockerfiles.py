"""A Dockerfile read into stages and steps with their lines (https://docs.docker.com/reference/dockerfile/).

Nothing is expanded: a step is what stands there. Dockerfiles are outside text: whatever it is, reading it takes time in
proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LONGEST = 256 * 1024
"""Characters of a Dockerfile; a longer one is not read."""
_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*[A-Za-z]+\s*=.*")
_HEREDOC = re.compile(r"(?<!<)<<(-?)([\"']?)([A-Za-z_][\w.-]*)\2")
_FLAG = re.compile(r"--[a-z][\w-]*(?:=(?:\"[^\"]*\"|\S)*)?(?:\s+|$)")
_HOLDS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True)
class Step:
    """One instruction. `first` and `last` are its lines, counted from 1; `text` is those and the comments above them.

    `flags` (`--chown=1 `, …) stand before `rest`, which is what follows, on one line; `body` is the same as it stands
    there, with its line ends.
    """

    word: str
    flags: str
    rest: str
    body: str
    first: int
    last: int
    text: str


@dataclass(frozen=True)
class Stage:
    """One stage: `base` and `name` of its FROM. `before` and `after` are the Dockerfile's text around its steps."""

    base: str
    name: str
    line: int
    steps: tuple[Step, ...]
    before: str
    after: str


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile; none if it is too long."""
    if len(text) > LONGEST:
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    steps = list(_steps(lines))
    starts = [number for number, step in enumerate(steps) if step.word == "FROM"]
    found = []
    for start, end in pairwise([*starts, len(steps)]):
        words = steps[start].rest.split()
        named = words[2] if len(words) == 3 and words[1].upper() == "AS" else ""
        own = tuple(steps[start + 1 : end])
        last = own[-1].last if own else steps[start].last
        before, after = (
            "\n".join(lines[: steps[start].last]) + "\n",
            "\n".join(lines[last:]).strip("\n"),
        )
        found.append(Stage(words[0] if words else "", named, steps[start].first, own, before, after))
    return found


def _steps(lines: list[str]) -> Iterator[Step]:
    escape, directives = "\\", True
    at = above = 0
    while at < len(lines):
        line = lines[at].strip()
        if directives and (said := _ESCAPE.fullmatch(line)):
            escape = said[1]
        directives = directives and bool(_DIRECTIVE.fullmatch(line))
        if not line or line.startswith("#"):
            at += 1
            continue
        end, parts = _whole(lines, at, escape)
        joined = " ".join(part.strip() for part in parts).strip()
        word, _, rest = joined.partition(" ")
        word = word.upper()
        if word in _HOLDS:
            end = _after_heredocs(lines, end, rest)
        flags = "".join(found[0].strip() + " " for found in _flags(rest))
        rest = rest[sum(len(found[0]) for found in _flags(rest)) :].strip()
        body = "\n".join(lines[at:end]).strip()
        body = re.sub(r"^\S+\s+", "", body, count=1)
        yield Step(word, flags, rest, body, at + 1, end, "\n".join(lines[above:end]).strip("\n"))
        at = above = end


def _whole(lines: list[str], at: int, escape: str) -> tuple[int, list[str]]:
    """The line after an instruction, and the instruction's lines without their ends and without comments."""
    parts: list[str] = []
    while at < len(lines):
        line = lines[at].rstrip()
        at += 1
        if parts and (not line or line.lstrip().startswith("#")):
            continue
        if not line.endswith(escape):
            return at, [*parts, line]
        parts.append(line[:-1])
    return at, parts


def _after_heredocs(lines: list[str], at: int, rest: str) -> int:
    for dash, _, name in _HEREDOC.findall(rest):
        while at < len(lines) and (lines[at].lstrip("\t") if dash else lines[at]) != name:
            at += 1
        at = min(at + 1, len(lines))
    return at


def _flags(rest: str) -> list[re.Match[str]]:
    found, at = [], 0
    while one := _FLAG.match(rest, at):
        found.append(one)
        at = one.end()
    return found
