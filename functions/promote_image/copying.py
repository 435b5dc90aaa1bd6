"""Bringing an image to a repository: what is there already is left alone, so it may be broken off anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from functions.promote_image.image import Image
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_INDEX, Manifest
from paydown.clients.web import NotThere
from paydown.errors import PermanentError

AT_ONCE = 4
"""Blobs that are moved at the same time; each takes some 24 MB of memory at the most."""
LARGE = 200_000_000
"""Bytes from which a blob is moved alone: it needs the whole line to get there in its time."""
BEGIN_SECONDS = 5.0
"""No blob is begun later than this in one call."""
BLOB_SECONDS = 22.0
"""The longest that one blob may take."""


@dataclass(frozen=True)
class Place:
    """A repository of a registry, and how it is reached."""

    api: RegistryApi
    repository: str
    registry: str
    """The uid of the registry: two with the same one may mount each other's blobs."""


def left_of(image: Image, place: Place) -> list[str]:
    """The blobs of an image that a repository does not hold."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        there = threads.map(lambda digest: place.api.has_blob(place.repository, digest), image.blobs)
        return [digest for digest, found in zip(image.blobs, there, strict=True) if not found]


def copy_blobs(image: Image, source: Place, to: Place) -> int:
    """Mount or copy the blobs that are not there, as far as one call gets; how many are left.

    The large ones come last, each by itself, when a later call has nothing else to move.
    """
    until = time.monotonic() + BEGIN_SECONDS
    left = left_of(image, to)
    large = sorted((digest for digest in left if image.blobs[digest] >= LARGE), key=image.blobs.__getitem__)

    def move(digest: str) -> bool:
        return _move(image, digest, source, to, until)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        moved = list(threads.map(move, (digest for digest in left if digest not in large)))
    return [*moved, *map(move, large)].count(False)


def copy_manifests(image: Image, to: Place) -> None:
    """Write the manifests by digest: whatever is referred to comes first.

    Those that are there are written, too: a push is a sign of life, and an old one without a tag may be about to be
    cleaned away.
    """
    for digest, manifest in image.manifests.items():
        to.api.put_manifest(to.repository, digest, manifest)


def attach(image: Image, to: Place) -> int:
    """Let what is attached be found, where it is not; a tag that somebody else has is left. How many were left."""
    left = 0
    for tag, digest in image.tags.items():
        pointed = to.api.digest(to.repository, tag)
        if pointed is None:
            to.api.put_manifest(to.repository, tag, image.manifests[digest])
        left += pointed not in (None, digest)
    for digest, wanted in image.listed.items():
        found = to.api.referrers(to.repository, digest)
        known = {one["digest"] for one in found}
        if all(one["digest"] in known for one in wanted):
            continue
        # A registry that does not list them itself (Distribution 2): the list is a tag, as the specification says.
        both = [*found, *(one for one in wanted if one["digest"] not in known)]
        listing = Manifest.made({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": both}, OCI_INDEX)
        to.api.put_manifest(to.repository, digest.replace(":", "-", 1), listing)
    return left


def lost(image: Image, place: Place) -> list[str]:
    """The blobs that an image needs and a repository does not hold."""
    return [digest for digest in left_of(image, place) if digest not in image.outside]


def _move(image: Image, digest: str, source: Place, to: Place, until: float) -> bool:
    """Whether a blob is there now, or need not be."""
    if time.monotonic() > until:
        return False
    api, repository = to.api, to.repository
    if source.registry == to.registry and api.mount_blob(repository, digest, source.repository):
        return True
    try:
        api.upload_blob(repository, digest, _in_time(source.api.blob_chunks(source.repository, digest), digest))
    except NotThere:
        if digest in image.outside:
            return True
        raise
    return True


def _in_time(pieces: Iterable[bytes], digest: str) -> Iterator[bytes]:
    until = time.monotonic() + BLOB_SECONDS
    for piece in pieces:
        if time.monotonic() > until:
            raise PermanentError(f"{digest} is too large for its way: it takes longer than {BLOB_SECONDS:.0f} s")
        yield piece
