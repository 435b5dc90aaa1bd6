"""What may go, and how much of it: decisions on what was read, which touch nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta

from functions.clean_dangling_images.settings import Settings
from paydown.clients.docker import Image, Kind, Leftover, Listing, Stock


def kept(labels: Mapping[str, str], settings: Settings) -> bool:
    """Whether a label keeps it."""
    return any(name in labels for name in settings.keep_labels)


def ours(listing: Listing, settings: Settings, promoted: Set[str] = frozenset()) -> list[Image]:
    """The dangling images that may go once they are old enough; not what a stage runs by its digest."""
    return [
        image
        for image in listing.dangling
        if image.id not in listing.used
        and settings.labels.items() <= image.labels.items()
        and not kept(image.labels, settings)
        and (settings.pulled or not image.pulled)
        and promoted.isdisjoint(digest.rpartition("@")[2] for digest in image.digests)
    ]


def outlived(stock: Stock, settings: Settings) -> list[Leftover]:
    """What else may go by the policy, the longest unused first; a cache record after those that stand on it."""
    by_kind: dict[Kind, list[Leftover]] = defaultdict(list)
    for one in stock.leftovers:
        by_kind[one.kind].append(one)
    clock = stock.clock
    found = [
        *_images(by_kind[Kind.IMAGE], settings, clock),
        *_old(by_kind[Kind.CONTAINER], settings.exited_containers_age, settings, clock),
        *_old(by_kind[Kind.VOLUME], settings.unused_volumes_age, settings, clock),
    ]
    return [*sorted(found, key=lambda one: (one.since, one.id)), *_cache(by_kind[Kind.CACHE], settings, clock)]


def _old(found: Iterable[Leftover], age: int | None, settings: Settings, clock: datetime) -> list[Leftover]:
    """Those that nothing holds, that no label keeps, and that are at least so old; none without an age."""
    if age is None:
        return []
    return [
        one
        for one in found
        if not one.held and not kept(one.labels, settings) and clock - one.since >= timedelta(seconds=age)
    ]


def _images(found: Sequence[Leftover], settings: Settings, clock: datetime) -> list[Leftover]:
    """Tagged images that are beyond the newest of every repository that they have a name in."""
    if settings.keep_newest is None:
        return []
    repositories: dict[str, set[str]] = defaultdict(set)
    since = {one.id: one.since for one in found}
    for one in found:
        for name in one.names:
            repositories[repository(name)].add(one.id)
    newest = {
        id
        for ids in repositories.values()
        for id in sorted(ids, key=lambda one: (since[one], one), reverse=True)[: settings.keep_newest]
    }
    return [
        one
        for one in _old(found, settings.min_age, settings, clock)
        if one.id not in newest
        and settings.labels.items() <= one.labels.items()
        and (settings.pulled or not one.pulled)
    ]


def repository(name: str) -> str:
    """The repository in an image's name: `host:5000/team/app` of `host:5000/team/app:1`."""
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _cache(records: Sequence[Leftover], settings: Settings, clock: datetime) -> list[Leftover]:
    """Cache records in an order in which each comes after those that stand on it, which must be able to go, too."""
    if not settings.build_cache:
        return []
    old = {one.id: one for one in _old(records, settings.build_cache_age or 0, settings, clock)}
    above: dict[str, list[str]] = defaultdict(list)
    for one in records:
        for below in one.below:
            above[below].append(one.id)
    ranks: dict[str, tuple[datetime, int] | None] = {}

    def rank(id: str) -> tuple[datetime, int] | None:
        """Since when it and all above are unused, and how high they tower; None if one of them stays."""
        if id not in ranks:
            ranks[id] = None  # a record that stood on itself would stay
            towers = [rank(one) for one in above[id]]
            if id in old and None not in towers:
                sure = [tower for tower in towers if tower is not None]
                when = max([old[id].since, *(since for since, _ in sure)])
                ranks[id] = (when, max((height + 1 for _, height in sure), default=0))
        return ranks[id]

    ranked = [(found, one) for one in old.values() if (found := rank(one.id))]
    free = [one for _, one in sorted(ranked, key=lambda pair: (*pair[0], pair[1].id))]
    if settings.build_cache_keep_bytes is None:
        return free
    return enough(free, sum(one.size for one in records) - settings.build_cache_keep_bytes)


def enough(ordered: Sequence[Leftover], need: int) -> list[Leftover]:
    """As many from the front as free `need` bytes, as far as sizes are known."""
    taken: list[Leftover] = []
    for one in ordered:
        if need <= 0:
            break
        taken.append(one)
        need -= one.size
    return taken


def for_pressure(
    images: Sequence[Image], leftovers: Sequence[Leftover], unique: Mapping[str, int], need: int
) -> tuple[list[Image], list[Leftover]]:
    """The longest unused of both, as many as free `need` bytes by the estimate. Both come in the order to go by."""
    sized: list[tuple[datetime, int, int, Image | Leftover]] = []
    last: datetime | None = None
    for place, image in enumerate(images):
        sized.append((image.since, place, unique.get(image.id, 0), image))
    for place, one in enumerate(leftovers):
        # A cache record is as young as the youngest that stands on it, and those come before it.
        since = one.since
        if one.kind is Kind.CACHE:
            since = last = max(last or since, since)
        sized.append((since, len(images) + place, one.size, one))
    chosen: list[Image | Leftover] = []
    for _, _, size, thing in sorted(sized, key=lambda entry: entry[:2]):
        if need <= 0:
            break
        chosen.append(thing)
        need -= size
    return (
        [one for one in chosen if isinstance(one, Image)],
        [one for one in chosen if isinstance(one, Leftover)],
    )


def heights(records: Sequence[Leftover]) -> list[list[Leftover]]:
    """Cache records in stages: each comes in a later one than all those of them that stand on it."""
    above: dict[str, list[Leftover]] = defaultdict(list)
    for one in records:
        for below in one.below:
            above[below].append(one)
    height: dict[str, int] = {}
    for one in records:  # those above come before those below
        height[one.id] = max((height[upper.id] + 1 for upper in above[one.id]), default=0)
    stages: dict[int, list[Leftover]] = defaultdict(list)
    for one in records:
        stages[height[one.id]].append(one)
    return [stages[number] for number in sorted(stages)]
