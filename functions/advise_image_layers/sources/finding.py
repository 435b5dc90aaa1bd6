"""The Dockerfile of an image: from its attestation, or from the repository that the inventory names for it.

A label or an attestation only chooses among the repositories of the inventory: no address from an image is ever asked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.advise_image_layers.image import Image
from functions.advise_image_layers.sources.attested import Attested
from functions.advise_image_layers.sources.fitting import fitted
from functions.advise_image_layers.sources.often import touched
from paydown.clients.git import COMMIT, Checkout, GitRepository
from paydown.errors import PermanentError
from paydown.inventory import Source

_ADDRESS = re.compile(r"(?:[a-z+]+://)?(?:[^@/]+@)?(?P<host>[^/:]+(?::[0-9]+)?)[/:](?P<path>.+?)(?:\.git)?/*")


@dataclass(frozen=True)
class Found:
    """A Dockerfile that fits: the `image` with its lines, its `text`, and its `path` in the repository `url`.

    `revision` is the commit, as far as it is known. `commits`: for each of the last ones, the numbers of the copies of
    which it changed a file. `source` is the inventory's entry.
    """

    image: Image
    text: str
    path: str
    url: str = ""
    revision: str = ""
    commits: tuple[frozenset[int], ...] = ()
    source: Source | None = None


@dataclass(frozen=True)
class Search:
    """What a search came to: `found`, or `why` not (empty: there is nothing to look in), and the bytes `fetched`."""

    found: Found | None = None
    why: str = ""
    fetched: int = 0


Open = Callable[[Source], GitRepository]


def find(image: Image, told: Attested, sources: Sequence[Source], open_source: Open, commits: int) -> Search:
    """The Dockerfile of an image, and the last `commits` of its repository. Raises RetryableError."""
    source = chosen(sources, told.url or image.source)
    revision = next((one for one in (told.revision, image.revision) if COMMIT.fullmatch(one)), "")
    checkout, why = None, ""
    if source is not None:
        try:
            checkout = open_source(source).look(revision, _wanted(source), commits)
        except PermanentError as error:
            why = str(error)
    fetched = checkout.fetched if checkout else 0
    texts = [(told.dockerfile, told.path or "Dockerfile")]
    if source is not None and checkout is not None:
        texts.append((checkout.files.get(source.dockerfile, b"").decode(errors="replace"), source.dockerfile))
        why = "" if texts[-1][0] else f"{source.dockerfile} is not there, or too large"
    for text, path in texts:
        made = fitted(image, text) if text else None
        if made is not None:
            return Search(_found(made, text, path, source, checkout, revision), fetched=fetched)
        why = "its steps are not those of the image" if text else why
    return Search(why=why, fetched=fetched)


def chosen(sources: Sequence[Source], url: str) -> Source | None:
    """The source at an address, however it is written; the first one if no address is known."""
    if not url:
        return next(iter(sources), None)
    return next((one for one in sources if _same(one.url) == _same(url)), None)


def _found(
    image: Image, text: str, path: str, source: Source | None, checkout: Checkout | None, revision: str
) -> Found:
    if source is None or checkout is None:
        return Found(image, text, path, revision=revision)
    ignored = next((checkout.files[name] for name in _ignoring(source) if name in checkout.files), b"")
    lines = ignored.decode(errors="replace").splitlines()
    commits = touched(image, checkout.changes, source.context, lines)
    return Found(image, text, source.dockerfile, source.url, checkout.revision, commits, source)


def _wanted(source: Source) -> list[str]:
    return [source.dockerfile, *_ignoring(source)]


def _ignoring(source: Source) -> list[str]:
    """The files that say what is no part of the context: that of the Dockerfile counts before that of the folder."""
    return [f"{source.dockerfile}.dockerignore", posixpath.normpath(posixpath.join(source.context, ".dockerignore"))]


def _same(url: str) -> tuple[str, str]:
    said = _ADDRESS.fullmatch(url.strip())
    return (said["host"].lower(), said["path"].lower()) if said else ("", url)
