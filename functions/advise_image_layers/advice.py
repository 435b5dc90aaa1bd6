"""What could be better in an image: each piece of advice with what it saves.

What may change the final file system, or what the image does, is worded as a question, and is not part of the proposed
Dockerfile. What saves less than the policy's limits is not said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from functions.advise_image_layers.compilers import compiler_of
from functions.advise_image_layers.dockerfile import base_of, dockerfile
from functions.advise_image_layers.image import Image, Instruction
from functions.advise_image_layers.merging import merged
from functions.advise_image_layers.order import Blocks, Cost, as_built, by_weight, mean, rebuilt, sunk
from functions.advise_image_layers.rebuild import Rebuild
from functions.advise_image_layers.stages import multi_stage
from paydown.clients.frozen import upgrades

MOST = 30
"""Pieces of advice on one image."""
UNASKED = frozenset(
    {
        "volatile-before-stable",
        "frequent-before-rare",
        "merge-run",
        "merge-copy",
        "merge-add",
        "floating-base",
        "deleted-later",
        "overwritten-later",
    }
)
"""What may be no question: who follows it gets the same files. Tests build each with real builders and compare them."""
SHOWN_COPIES = 8
SHOWN = 300
"""Characters of an instruction that are shown."""
_PACKED = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz|tzst)$|^https?://|^git@|\.git(#|$)")


class Advice(BaseModel):
    """One piece of advice.

    `number` counts the instructions of the image's own Dockerfile from 1; `lines` are its first and last there, from 1,
    if the Dockerfile is at hand. `saves_bytes` (in the registry) and
    `saves_layers` are for each rebuild of the kind that was seen; for what is left in the image, of the image. `asks`:
    it may change the final file system: a person knows. `dockerfile` belongs to this advice alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    text: str
    asks: bool = False
    number: int = 0
    lines: tuple[int, int] = (0, 0)
    instruction: str = ""
    saves_bytes: int = 0
    saves_layers: int = 0
    dockerfile: str = ""


@dataclass(frozen=True)
class Limits:
    """What is worth saying: bytes and layers that are saved, and the age of an upgrade."""

    saving_bytes: int
    saving_layers: int
    upgrade_age: timedelta


@dataclass(frozen=True)
class Findings:
    """All advice on an image, and one Dockerfile that follows what is no question; empty if nothing is to be changed.

    `costs` is what a rebuild of the kind that was seen makes now, and with that Dockerfile.
    """

    advice: tuple[Advice, ...]
    dockerfile: str = ""
    costs: tuple[Cost, Cost] | None = None


def advise(
    image: Image, rebuild: Rebuild | None, limits: Limits, now: datetime, commits: Sequence[Set[int]] = ()
) -> Findings:
    """What is worth saying of an image, of which the last push rebuilt this.

    `commits`: for each of the last ones, the numbers of the copies of which it changed a file. They tell more of what
    changes often than one push does.
    """
    volatile = rebuild.volatile if rebuild else frozenset()
    was = rebuilt(image, as_built(image), volatile)
    if any(commits):
        blocks, said = often(image, commits, limits)
        said += _asked(image, blocks, frozenset(one for one in volatile if _is_variable(image, one)), limits)
    else:
        blocks, said = _by_rebuild(image, volatile, limits)
    said += _merges(image, blocks, volatile, limits)
    for word in ("RUN", "COPY", "ADD"):
        if any(one.rule == f"merge-{word.lower()}" and not one.asks for one in said):
            blocks = merged(image, blocks, volatile, word)
    said += [*_added(image), *_base(image), *_upgrades(image, limits, now), *_compilers(image, limits)]
    changed = blocks != as_built(image)
    costs = (was, rebuilt(image, blocks, volatile)) if volatile and changed else None
    return Findings(foremost(said), dockerfile(image, blocks) if changed else "", costs)


def _by_rebuild(image: Image, volatile: Set[int], limits: Limits) -> tuple[Blocks, list[Advice]]:
    """The order for rebuilds like the last one."""
    blocks, said = as_built(image), []
    if volatile:
        later = sunk(image, volatile, asking=False)
        saved = saving(rebuilt(image, blocks, volatile), rebuilt(image, later, volatile))
        if saved.size >= max(1, limits.saving_bytes):
            said.append(_order(image, min(one for one in volatile if not _is_variable(image, one)), saved))
            blocks = later
    return blocks, [*said, *_asked(image, blocks, volatile, limits)]


def _asked(image: Image, blocks: Blocks, volatile: Set[int], limits: Limits) -> Iterator[Advice]:
    """What an order would save that only a person can allow."""
    if not volatile:
        return
    asked = sunk(image, volatile, asking=True)
    more = saving(rebuilt(image, blocks, volatile), rebuilt(image, asked, volatile))
    if more.size >= max(1, limits.saving_bytes):
        first = min(volatile)
        question = _variable if _is_variable(image, first) else _question
        yield question(image, first, more, dockerfile(image, asked))


def _is_variable(image: Image, number: int) -> bool:
    return bool(image.instructions[number].variables)


def often(image: Image, commits: Sequence[Set[int]], limits: Limits) -> tuple[Blocks, list[Advice]]:
    """The order for commits like the last ones."""
    blocks, said = as_built(image), []
    weights = Counter(number for touched in commits for number in touched)
    later = by_weight(image, weights, asking=False)
    saved = saving(mean(image, blocks, commits), mean(image, later, commits))
    if saved.size >= max(1, limits.saving_bytes):
        said.append(_frequent(image, weights, later, len(commits), saved))
        blocks = later
    asked = by_weight(image, weights, asking=True)
    more = saving(mean(image, blocks, commits), mean(image, asked, commits))
    if more.size >= max(1, limits.saving_bytes):
        said.append(_frequent(image, weights, asked, len(commits), more, dockerfile(image, asked)))
    return blocks, said


def _frequent(
    image: Image, weights: Mapping[int, int], order: Blocks, commits: int, saved: Cost, proposed: str = ""
) -> Advice:
    """`proposed`: what is asked has a Dockerfile of its own."""
    numbers = [number for (number,) in order]
    moved = [number for at, number in enumerate(numbers) if number in weights and number != image.own + at]
    named = sorted(weights, key=lambda one: (-weights[one], one))[:SHOWN_COPIES]
    counts = "; ".join(f"{' '.join(image.instructions[one].sources)[:60]} in {weights[one]}" for one in named)
    text = (
        f"Of the last {commits} commits, these changed what is copied: {counts}. What changes often belongs after what "
        f"does not: a commit then builds {megabytes(saved.size)} less again on average."
    )
    if proposed:
        text += " Does any command between read or overwrite what is copied?"
    return about(
        image,
        max(moved, key=lambda one: (weights[one], -one), default=named[0]),
        "frequent-before-commands" if proposed else "frequent-before-rare",
        text,
        asks=bool(proposed),
        saves_bytes=saved.size,
        saves_layers=max(0, saved.layers),
        dockerfile=proposed,
    )


def _order(image: Image, first: int, saved: Cost) -> Advice:
    text = (
        f"This changed, and everything after it was built again: {saved.layers} of these layers "
        f"({megabytes(saved.size)}) do not depend on it. What changes often belongs last."
    )
    return about(image, first, "volatile-before-stable", text, saves_bytes=saved.size, saves_layers=saved.layers)


def _question(image: Image, first: int, saved: Cost, proposed: str) -> Advice:
    text = (
        f"This changed, and everything after it was built again. If what follows needs nothing of it, it can come "
        f"later, and {saved.layers} layers more ({megabytes(saved.size)}) are taken from the cache. Does anything "
        f"after it read or overwrite what it brings?"
    )
    return about(
        image,
        first,
        "volatile-before-commands",
        text,
        asks=True,
        saves_bytes=saved.size,
        saves_layers=saved.layers,
        dockerfile=proposed,
    )


def _variable(image: Image, first: int, saved: Cost, proposed: str) -> Advice:
    names = " and ".join(sorted(image.instructions[first].variables))
    text = (
        f"The value of {names} changed, and the commands after it were built again. If none of them reads it, it can "
        f"be set after them, and {saved.layers} layers ({megabytes(saved.size)}) are taken from the cache. Does any?"
    )
    return about(
        image,
        first,
        "variable-before-commands",
        text,
        asks=True,
        saves_bytes=saved.size,
        saves_layers=saved.layers,
        dockerfile=proposed,
    )


def _merges(image: Image, blocks: Blocks, volatile: Set[int], limits: Limits) -> Iterator[Advice]:
    for word in ("RUN", "COPY", "ADD"):
        together = merged(image, blocks, volatile, word)
        if len(blocks) - len(together) < limits.saving_layers:
            continue
        asks = image.script is None and (word != "RUN" or not image.classic)
        options = "--mount, --network and --security" if word == "RUN" else "--chown, --chmod and --from"
        question = f" Do they have the same {options}?" if asks else ""
        for block in together:
            if len(block) > 1:
                text = f"{len(block)} {word} instructions in a row can be one, and make one layer.{question}"
                yield about(
                    image,
                    block[0],
                    f"merge-{word.lower()}",
                    text,
                    asks=asks,
                    saves_layers=len(block) - 1,
                    dockerfile=dockerfile(image, together) if asks else "",
                )


def _added(image: Image) -> Iterator[Advice]:
    for number, one in _own(image):
        if one.word == "ADD" and not any(_PACKED.search(source) for source in one.sources):
            text = "ADD unpacks archives and fetches addresses. Is this a plain file or folder? Then say COPY."
            yield about(image, number, "add-for-copy", text, asks=True)


def _base(image: Image) -> Iterator[Advice]:
    name, _, digest = image.base_name.partition("@")
    if not name or digest or name == "scratch":
        return
    tag = name.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        what = "the tag latest" if tag else "no tag"
        pinned = f" Today's is {name}@{image.base_digest}." if image.base_digest else ""
        text = f"The base image {name} has {what}: a rebuild may stand on another one.{pinned}"
        line = image.script.line if image.script else 0
        yield advice_of("floating-base", text, lines=(line, line), instruction=f"FROM {name}"[:SHOWN])


def _upgrades(image: Image, limits: Limits, now: datetime) -> Iterator[Advice]:
    for number, one in _own(image):
        old = one.created is not None and now - one.created >= limits.upgrade_age
        if one.word == "RUN" and old and one.created and upgrades(one.rest):
            days = (now - one.created).days
            text = (
                f"This upgrade is a frozen point in time: the layer is {days} days old, and the cache keeps it as it "
                f"is. Should it be built anew with --no-cache, or stand on a base image that is kept up to date?"
            )
            yield about(image, number, "frozen-upgrade", text)


def _compilers(image: Image, limits: Limits) -> Iterator[Advice]:
    found = compiler_of(image)
    if found is None or found.size < max(1, limits.saving_bytes):
        return
    what = f"The base image has {found.name}," if found.in_base else f"This installs {found.name},"
    text = (
        f"{what} which stays in the image with up to {megabytes(found.size)}. Is it needed when the image runs? "
        f"If not, a stage of its own builds, and the image gets what was built."
    )
    told = {"asks": True, "saves_bytes": found.size, "saves_layers": found.layers}
    if not found.in_base:
        yield about(image, found.number, "compiler-left", text, dockerfile=multi_stage(image, found), **told)
        return
    line = image.script.line if image.script else 0
    yield advice_of(
        "compiler-left",
        text,
        lines=(line, line),
        instruction=base_of(image)[:SHOWN],
        dockerfile=multi_stage(image, found),
        **told,
    )


def _own(image: Image) -> Iterator[tuple[int, Instruction]]:
    yield from enumerate(image.own_instructions, image.own)


def about(image: Image, number: int, rule: str, text: str, **more: object) -> Advice:
    """Advice on the instruction of this number, counted from 0 in all the image; `more` are fields of Advice."""
    one = image.instructions[number]
    told = {"number": number - image.own + 1, "lines": one.lines, "instruction": " ".join(one.line.split())[:SHOWN]}
    return advice_of(rule, text, **told, **more)


def advice_of(rule: str, text: str, **more: object) -> Advice:
    """A piece of advice: a question, unless its rule is one that changes no file."""
    return Advice.model_validate(
        {"rule": rule, "text": text, **more, "asks": rule not in UNASKED or bool(more.get("asks"))}
    )


def foremost(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """As many as are said of one image, in their order: those that save most, and an image that cannot start first."""
    every = list(advice)
    weights = [(one.rule != "dynamic-in-scratch", -one.saves_bytes, -one.saves_layers) for one in every]
    kept = sorted(range(len(every)), key=lambda at: weights[at])[:MOST]
    return tuple(every[at] for at in sorted(kept))


def saving(one: Cost, other: Cost) -> Cost:
    """What the other order saves."""
    return Cost(one.layers - other.layers, one.size - other.size)


def megabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
