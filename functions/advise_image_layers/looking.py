"""Everything that is looked at for the advice on one image, and the advice itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from functions.advise_image_layers.advice import SHOWN, Advice, Findings, Limits, advice_of, advise, foremost
from functions.advise_image_layers.deep.findings import look_into
from functions.advise_image_layers.image import Image
from functions.advise_image_layers.reading import Reader
from functions.advise_image_layers.rebuild import Rebuild, compare
from functions.advise_image_layers.sources import hadolint
from functions.advise_image_layers.sources.finding import Found, Open, Search, find
from paydown.inventory import Source

OURS = {"floating-base": ("DL3006", "DL3007"), "add-for-copy": ("DL3020",)}
"""What hadolint says too, and we say with the digest or the question that belongs to it."""


@dataclass(frozen=True)
class Looked:
    """What was looked at: an image by its name, the one before it, and its Dockerfile, if they are known.

    `deep`: how far its layers were looked into; empty if they were not.
    """

    name: str
    image: Image
    before: Image | None
    rebuild: Rebuild | None
    found: Found | None = None
    deep: str = ""


@dataclass(frozen=True)
class Wishes:
    """What the policy asks for: `commits` to read of a repository, hadolint's least level (`off`: not run).

    `deep`: how many bytes of the image's own layers are looked into, unpacked (0: no deep look).
    """

    limits: Limits
    commits: int
    hadolint: str
    deep: int = 0


@dataclass(frozen=True)
class Outlook:
    """The whole: what was looked at, what is advised, and what the run books of it."""

    looked: Looked
    findings: Findings
    seen: dict[str, Any]


def look(
    name: str,
    images: tuple[Image, Image | None],
    reader: Reader,
    sources: Sequence[Source],
    open_source: Open,
    wishes: Wishes,
    now: datetime,
) -> Outlook:
    """Look at an image (`images`: it, and the one before it) and at its Dockerfile. Raises what the clients raise."""
    image, before = images
    search = find(image, reader.attested(), sources, open_source, wishes.commits)
    found = search.found
    if found is not None:
        before = replace(before, own=found.image.own) if before and _alike(before, image, found.image.own) else before
        image = replace(image, own=found.image.own)
    rebuild = compare(before, image) if before else None
    shown = found.image if found else image
    looked = Looked(name, shown, before, rebuild, found)
    findings = advise(shown, rebuild, wishes.limits, now, found.commits if found else ())
    seen = _seen(looked, search, reader.fetched)
    if wishes.deep:
        deep = look_into(shown, reader.layer, wishes.deep, wishes.limits)
        findings = replace(findings, advice=foremost((*findings.advice, *deep.advice)))
        looked = replace(looked, deep=deep.told)
        seen |= deep.seen
    if found is not None and wishes.hadolint != "off":
        findings, trouble = _linted(findings, found, wishes.hadolint)
        seen |= {"hadolint": trouble} if trouble else {}
    if findings.costs:
        seen |= {"layers_proposed": findings.costs[1].layers, "bytes_proposed": findings.costs[1].size}
    return Outlook(looked, findings, seen)


def _alike(one: Image, other: Image, count: int) -> bool:
    """Whether the first instructions of two images are of the same kinds: their Dockerfiles begin at the same place."""
    return [it.word for it in one.instructions[:count]] == [it.word for it in other.instructions[:count]]


def _seen(looked: Looked, search: Search, fetched: int) -> dict[str, Any]:
    image, before, rebuild = looked.image, looked.before, looked.rebuild
    seen: dict[str, Any] = {
        "digest": image.digest,
        "compared": before.digest if before else "",
        "layers": len(image.diff_ids),
        "bytes": image.size,
        "layers_rebuilt": rebuild.layers if rebuild else 0,
        "bytes_rebuilt": rebuild.size if rebuild else 0,
        "bytes_fetched": fetched,
    }
    if search.found:
        seen |= {"dockerfile": search.found.path, "revision": search.found.revision}
    if search.why:
        seen["no_dockerfile"] = search.why[:SHOWN]
    if search.fetched:
        seen["git_bytes_fetched"] = search.fetched
    return seen


def _linted(findings: Findings, found: Found, least: str) -> tuple[Findings, str]:
    """The findings with hadolint's, and why there are none of them."""
    try:
        faults = hadolint.faults(found.text, least)
    except hadolint.NoHadolint as why:
        return findings, str(why)
    known = {(code, line) for one in findings.advice for code in OURS.get(one.rule, ()) for line in _lines(one)}
    told = _told([fault for fault in faults if (fault.code, fault.line) not in known], found)
    return replace(findings, advice=foremost((*findings.advice, *told))), ""


def _lines(one: Advice) -> range:
    return range(one.lines[0], one.lines[1] + 1)


def _told(faults: Sequence[hadolint.Fault], found: Found) -> Iterator[Advice]:
    lines = found.text.splitlines()
    for fault in sorted(faults, key=lambda one: hadolint.LEVELS.index(one.level)):
        at = next(
            (
                (number - found.image.own + 1, one.lines)
                for number, one in enumerate(found.image.instructions)
                if one.lines[0] <= fault.line <= one.lines[1]
            ),
            (0, (fault.line, fault.line)),
        )
        yield advice_of(
            f"hadolint/{fault.code}",
            f"{fault.text[:SHOWN]} Does the image stay what it is to be with that?",
            number=at[0],
            lines=(fault.line, max(fault.line, at[1][1])),
            instruction=" ".join(lines[fault.line - 1].split())[:SHOWN] if 0 < fault.line <= len(lines) else "",
        )
