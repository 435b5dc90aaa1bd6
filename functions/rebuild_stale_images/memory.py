"""What the next run must know of this one: what each base was, and which builds did not help.

A run keeps it in what it measured before and in its evidence, and hands on what still counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from functions.rebuild_stale_images.standing import Findings, Image, Standing
from paydown.ledger.run import Run

NAMES = 150
VERSIONS = 5
"""What one name stood for that is remembered, the latest first."""
WHY = 200
"""Characters of the reason for which a build did not help."""


@dataclass(frozen=True)
class Memory:
    """`bases`: the versions of each name, the latest first. `in_vain`: by image, what `note` made."""

    bases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_vain: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def remembered(runs: Iterable[Run]) -> Memory:
    """What the last run that looked knew."""
    for run in runs:
        bases = run.before.get("bases") or run.evidence.get("bases")
        in_vain = {**(run.before.get("in_vain") or {}), **(run.evidence.get("in_vain") or {})}
        if bases or in_vain:
            return Memory({name: tuple(versions) for name, versions in (bases or {}).items()}, in_vain)
    return Memory()


def remembering(images: Mapping[str, Image], standing: Mapping[str, Standing]) -> dict[str, list[str]]:
    """What each base is now, and was."""
    used = {one.base for one in standing.values()}
    names = sorted(used) + sorted(name for name, one in images.items() if one.own_base and name not in used)
    return {
        name: [*sorted(images[name].now), *sorted(images[name].earlier - images[name].now)][:VERSIONS]
        for name in names[:NAMES]
    }


def note(image: str, base: str, why: str, now: datetime) -> dict[str, str]:
    """A build gave the image `image` over the base `base` (digests; empty: no base is known), which is no better."""
    return {"image": image, "base": base, "why": why[:WHY], "at": now.isoformat()}


def kept(in_vain: Mapping[str, Mapping[str, str]], images: Mapping[str, Image]) -> dict[str, Mapping[str, str]]:
    """The notes of images that are still what the build gave; the latest ones, if there are too many."""
    still = [(name, one) for name, one in in_vain.items() if name in images and images[name].digest == one["image"]]
    return dict(sorted(still, key=lambda one: one[1]["at"], reverse=True)[:NAMES])


def hopeless(
    found: Findings,
    images: Mapping[str, Image],
    in_vain: Mapping[str, Mapping[str, str]],
    now: datetime,
    age: timedelta,
) -> dict[str, str]:
    """What another build of would give the same, and why: neither the image nor its base changed since the last one.

    Of what stands on no known base nobody sees whether that changed: it is tried again when `age` is over.
    """
    result: dict[str, str] = {}
    moving = {name for stage in found.stages for name in stage}
    for name in (name for stage in found.stages for name in stage):
        standing, known = found.standing.get(name), in_vain.get(name)
        if known is None or known["image"] != images[name].digest:
            continue
        if standing is not None and standing.base in moving and standing.base not in result:
            continue
        base = images[standing.base].digest if standing else ""
        due = not base and now - datetime.fromisoformat(known["at"]) >= age
        if base == known["base"] and not due and (name in found.frozen or (standing is not None and standing.stale)):
            result[name] = f"a build of it did not help, and neither it nor its base changed since: {known['why']}"
    return result
