"""Images that stand on no base of one's own: by their first layers, whatever their names or labels say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from functions.refresh_base_image.actions import ListStrays
from paydown.clients.registry import RegistryApi
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.inventory import Inventory, Registry
from paydown.plan import Draft

AT_ONCE = 8
BASE_TAGS = 400
"""Tags of one base repository that are known as bases: those of more than a year, the newest first."""
LARGEST_CONFIG = 4_000_000
CHILDREN = 16
LISTED = 200

Layers = tuple[str, ...]


@dataclass(frozen=True)
class Strays:
    """`names` (`repository:tag`) are the images that stand on no base; `left` tags were not looked at."""

    names: tuple[str, ...]
    looked: int
    left: int


def own_bases(inventory: Inventory, connect: Callable[[Registry], RegistryApi]) -> frozenset[Layers]:
    """The layers of every base image in the registries of the inventory."""
    found: set[Layers] = set()
    for registry in inventory.registries:
        if not registry.bases:
            continue
        api = connect(registry)
        for repository in registry.bases:
            tags = sorted(api.tags(repository), reverse=True)[:BASE_TAGS]
            for layers in _each(api, [(repository, tag) for tag in tags]):
                found.update(one for one in layers if one)
    return frozenset(found)


def strays(registry: Registry, api: RegistryApi, bases: frozenset[Layers], limit: int) -> Strays:
    """The tags of a registry whose image, or one of whose images, begins with the layers of no base."""
    listed = _tags(registry, api)
    looked = list(islice(listed, limit))
    found = [
        f"{repository}:{tag}"
        for (repository, tag), images in zip(looked, _each(api, looked), strict=True)
        if any(not stands_on(layers, bases) for layers in images)
    ]
    return Strays(tuple(found), len(looked), sum(1 for _ in listed))


def stands_on(layers: Layers, bases: Iterable[Layers]) -> bool:
    """Whether an image begins with all the layers of a base. One without layers is built from nothing, and does."""
    return not layers or any(layers[: len(base)] == base for base in bases)


def listing(registry: Registry, found: Strays, bases: int, told: str) -> Draft:
    """The draft that tells of them, unless `told` (the list that was told last) is the same."""
    key = hashlib.sha256(json.dumps(found.names).encode()).hexdigest()[:16]
    names = found.names[:LISTED]
    seen: dict[str, Any] = {
        "told": key,
        "bases": bases,
        "images": found.looked,
        "left": found.left,
        "strays": len(found.names),
        "names": list(names),
    }
    if not found.names:
        return Draft.of(why="each image stands on a base of one's own", **seen)
    if told == key:
        return Draft.of(why="the same images stand on no base of one's own as the last time", **seen)
    note = f"{len(found.names)} of {found.looked} images"
    return Draft.of(
        [ListStrays(object=registry.ref, precondition=f"list {key} is not told", images=names, note=note)], **seen
    )


def _tags(registry: Registry, api: RegistryApi) -> Iterator[tuple[str, str]]:
    for repository in api.repositories(registry.repositories):
        if repository not in registry.bases:
            yield from ((repository, tag) for tag in api.tags(repository))


def _each(api: RegistryApi, tags: Iterable[tuple[str, str]]) -> Iterator[list[Layers]]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(lambda one: _images(api, *one), tags)


def _images(api: RegistryApi, repository: str, reference: str, depth: int = 2) -> list[Layers]:
    """The layers of the image that a tag leads to, or of each one of an index; nothing for what is no image."""
    try:
        manifest = api.manifest(repository, reference)
        if manifest.is_index:
            listed = manifest.document.get("manifests") or ()
            children = [one["digest"] for one in listed if _is_image(one)][:CHILDREN] if depth else []
            return [layers for child in children for layers in _images(api, repository, child, depth - 1)]
        content = json.loads(api.blob(repository, manifest.document["config"]["digest"], LARGEST_CONFIG))
        return [tuple(str(one) for one in content["rootfs"]["diff_ids"])]
    except NotThere:
        return []  # it went meanwhile
    except (KeyError, TypeError, ValueError, RecursionError):
        return []  # charts and signatures lie in registries too
    except PermanentError as error:
        if "has more than" in str(error):
            return []
        raise


def _is_image(descriptor: Any) -> bool:
    """Whether an index means it to be run: attestations have the platform `unknown`."""
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("digest"), str):
        return False
    platform = descriptor.get("platform")
    return not (isinstance(platform, dict) and platform.get("os") == "unknown")
