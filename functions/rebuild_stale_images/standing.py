"""Which image stands on which, which are stale, and in which order they are rebuilt. No network: names and layers only.

Layers decide. A name (an annotation, a label, or the policy) counts where they say nothing: an image whose base nobody
remembers. Names come from outside: they are compared with those that are known, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

Layers = tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """An image as its registry has it now: `name` is `registry/repository:tag`.

    `layers`: the digests of its layers' content, for each platform. `digests`: its own and, of an index, those of its
    images; `configs`: those of their configurations, as engines call images. `base_name` and `base_digest` are its
    annotations or labels. `upgraded`: of its layers that upgrade all packages, how many lie below, and when they were
    made. `earlier`: what the same name stood for before.
    """

    name: str
    digest: str
    layers: tuple[Layers, ...]
    digests: frozenset[str] = frozenset()
    configs: frozenset[str] = frozenset()
    base_name: str = ""
    base_digest: str = ""
    upgraded: tuple[tuple[int, datetime], ...] = ()
    earlier: frozenset[str] = frozenset()
    own_base: bool = False

    @property
    def repository(self) -> str:
        """`registry/repository`."""
        return self.name.rpartition(":")[0]

    @cached_property
    def now(self) -> frozenset[str]:
        """The versions that it is now."""
        return frozenset(version(layers) for layers in self.layers if layers)


@dataclass(frozen=True)
class Standing:
    """The base of an image, and whether it is an old one."""

    base: str
    stale: bool


@dataclass(frozen=True)
class Findings:
    """What is to be rebuilt: `stages` of names, each after the bases in it. `circular` wait for each other."""

    stages: tuple[tuple[str, ...], ...]
    standing: Mapping[str, Standing] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    circular: tuple[str, ...] = ()


def version(layers: Sequence[str]) -> str:
    """The layers in short: how many, and a hash of them."""
    return f"{len(layers)}:{hashlib.sha256(' '.join(layers).encode()).hexdigest()[:32]}"


@lru_cache(maxsize=4_096)
def _beginnings(layers: Layers) -> Mapping[str, int]:
    """Each version that these layers begin with, and how many layers it has."""
    return {version(layers[:length]): length for length in range(1, len(layers) + 1)}


def depth(image: Image, versions: frozenset[str]) -> int:
    """How many of the first layers are one of these versions, on the platform that has the fewest; 0 for none."""
    found = [_beginnings(layers) for layers in image.layers]
    return min((max((one.get(it, 0) for it in versions), default=0) for one in found), default=0)


def stands_on(image: Image, base: Image) -> bool:
    """Whether an image stands on the base as it is now: by its layers, or else by the digest that it tells."""
    return depth(image, base.now) > 0 or (image.base_digest != "" and image.base_digest in base.digests)


def is_frozen(image: Image, base: Image | None, now: datetime, age: timedelta) -> bool:
    """Whether a layer of its own that upgrades all packages is older than `age`; one of its base is the base's."""
    below = max(depth(image, base.now), depth(image, base.earlier)) if base else 0
    return any(position >= below and now - made >= age for position, made in image.upgraded)


def standings(images: Mapping[str, Image], told: Mapping[str, str]) -> dict[str, Standing]:
    """The base of each image that has one among them. `told` are names that the policy gives."""
    by_layers = {name: found for name, image in images.items() if (found := _by_layers(image, images))}
    by_name = {
        name: base
        for name, image in images.items()
        if (base := told.get(name) or image.base_name) in images and base != name
    }
    result = {}
    for name, image in images.items():
        below, said = by_layers.get(name), by_name.get(name)
        if below and (said is None or said == below.base or _leads_to(below.base, said, by_layers, by_name)):
            result[name] = below  # labels are inherited: what they name lies further below
        elif said:
            result[name] = Standing(said, not stands_on(image, images[said]))
    return result


def _by_layers(image: Image, images: Mapping[str, Image]) -> Standing | None:
    """The image with the most layers that this one begins with, or began with when it was built."""
    best: tuple[tuple[int, bool, bool, bool], str] | None = None
    shortest = min((len(layers) for layers in image.layers), default=0)
    for name, base in images.items():
        if base.repository == image.repository:
            continue
        now, ever = depth(image, base.now), depth(image, base.now | base.earlier)
        if ever == 0 or (ever == shortest and (image.own_base or not base.own_base)):
            continue
        near = base.name.partition("/")[0] == image.name.partition("/")[0]
        rank = (ever, now == ever, base.own_base, near)
        if best is None or (rank, best[1]) > (best[0], name):
            best = rank, name
    return Standing(best[1], not best[0][1]) if best else None


def _leads_to(start: str, wanted: str, by_layers: Mapping[str, Standing], by_name: Mapping[str, str]) -> bool:
    """Whether one reaches `wanted` from `start`, going down from base to base."""
    waiting, seen = [start], {start}
    while waiting:
        at = waiting.pop()
        if at == wanted:
            return True
        below = {by_name[at]} if at in by_name else set()
        below |= {by_layers[at].base} if at in by_layers else set()
        waiting += sorted(below - seen)
        seen |= below
    return False


def findings(
    images: Mapping[str, Image],
    told: Mapping[str, str],
    ours: Iterable[str],
    now: datetime,
    age: timedelta,
) -> Findings:
    """What of `ours` (those that somebody builds) is to be rebuilt, with all of ours that stands on it."""
    found = standings(images, told)
    mine = frozenset(ours)
    frozen, wanted = set(), set()
    for name in mine:
        standing = found.get(name)
        if is_frozen(images[name], images[standing.base] if standing else None, now, age):
            frozen.add(name)
        if name in frozen or (standing and standing.stale):
            wanted.add(name)
    bases = {name: standing.base for name, standing in found.items() if name in mine}
    wanted |= _upon(wanted, bases)
    stages, circular = in_order(wanted, bases)
    return Findings(stages, found, frozenset(frozen), circular)


def _upon(wanted: Iterable[str], bases: Mapping[str, str]) -> set[str]:
    """What stands on these, at whatever height."""
    above: dict[str, list[str]] = {}
    for name, base in bases.items():
        above.setdefault(base, []).append(name)
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        for name in above.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def in_order(wanted: Iterable[str], bases: Mapping[str, str]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The names in stages, each after the stage of its base; and those that never come, as they wait in a circle."""
    left = set(wanted)
    stages = []
    while ready := sorted(name for name in left if bases.get(name) not in left):
        stages.append(tuple(ready))
        left -= set(ready)
    return tuple(stages), tuple(sorted(left))
