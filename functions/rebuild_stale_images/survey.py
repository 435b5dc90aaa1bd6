"""What is looked at: the images that somebody builds, the bases of one's own, and what is remembered of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice

from functions.rebuild_stale_images.reading import read_all
from functions.rebuild_stale_images.settings import Settings
from functions.rebuild_stale_images.standing import Image
from paydown.clients.registry import RegistryApi
from paydown.inventory import Inventory, Registry

BASE_TAGS = 60
"""Tags of one base repository that are looked at, the last ones by name first."""

Known = Mapping[str, tuple[str, ...]]
Connect = Callable[[Registry], RegistryApi]


@dataclass(frozen=True)
class Survey:
    """`images` by name; `ours` of them are built by somebody; `told` are bases that the policy names."""

    images: dict[str, Image]
    ours: tuple[str, ...]
    told: Mapping[str, str]
    left: int


def survey(target: Registry, inventory: Inventory, settings: Settings, connect: Connect, known: Known) -> Survey:
    """Look at a registry's images, and at the bases of all registries."""
    images: dict[str, Image] = {}
    for registry in inventory.registries:
        for repository in registry.bases:
            images |= {one.name: one for one in _bases(connect(registry), registry, repository, settings)}
    api = connect(target)
    listed = _built(api, target, settings)
    tags = list(islice(listed, settings.tags))
    left = sum(1 for _ in listed)
    named = {f"{target.name}/{repository}:{tag}": (repository, tag) for repository, tag in tags}
    unread = [tags for name, tags in named.items() if name not in images]
    images |= {one.name: one for one in read_all(api, target.name, unread)}
    images = {name: _with(one, known.get(name, ())) for name, one in images.items()}
    told = {}
    for name, (repository, tag) in named.items():
        builder = settings.builder(f"{target.name}/{repository}", tag)
        if builder and builder.base:
            told[name] = builder.base
    missing = sorted({base for base in told.values() if base not in images})
    images |= {name: _with(one, known.get(name, ())) for name, one in _named(missing, inventory, connect)}
    return Survey(images, tuple(name for name in named if name in images), told, left)


def _bases(api: RegistryApi, registry: Registry, repository: str, settings: Settings) -> Iterator[Image]:
    """The bases in a repository: each tag is one. With one moving tag it is the base, and the others were before it."""
    tags = api.tags(repository)
    moving = [tag for tag in tags if any(fnmatchcase(tag, pattern) for pattern in settings.moving)]
    rest = [tag for tag in sorted(tags, reverse=True) if tag not in moving][:BASE_TAGS]
    found = [replace(one, own_base=True) for one in read_all(api, registry.name, [(repository, tag) for tag in rest])]
    heads = read_all(api, registry.name, [(repository, tag) for tag in moving])
    if len(moving) == 1:
        earlier = frozenset(version for one in found for version in one.now)
        yield from (replace(one, own_base=True, earlier=earlier - one.now) for one in heads)
        return
    yield from found
    yield from (replace(one, own_base=True) for one in heads)


def _built(api: RegistryApi, registry: Registry, settings: Settings) -> Iterator[tuple[str, str]]:
    for repository in api.repositories(registry.repositories):
        image = f"{registry.name}/{repository}"
        if any(fnmatchcase(image, builder.images) for builder in settings.builders):
            yield from ((repository, tag) for tag in api.tags(repository) if settings.builder(image, tag))


def _named(names: Iterable[str], inventory: Inventory, connect: Connect) -> Iterator[tuple[str, Image]]:
    """Images that the policy names, in registries of the inventory."""
    for name in names:
        host, _, rest = name.partition("/")
        registry = inventory.registry(host)
        if registry is not None:
            repository, _, tag = rest.rpartition(":")
            yield from ((one.name, one) for one in read_all(connect(registry), registry.name, [(repository, tag)]))


def _with(image: Image, versions: Iterable[str]) -> Image:
    return replace(image, earlier=(image.earlier | frozenset(versions)) - image.now)
