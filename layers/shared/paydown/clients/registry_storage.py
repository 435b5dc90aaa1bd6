"""What a registry keeps of a repository, tagged or not; of CNCF Distribution, read from its storage.

Its API lists tags only. The layout is that of Distribution 2 and 3 (registry/storage/paths.go): below
`docker/registry/v2/repositories/NAME/_manifests/`, `revisions/sha256/HEX/link` is written with each push of a manifest
and removed with it, and `tags/TAG/index/sha256/HEX/link` each time that the tag is put on it. Nothing is ever written
here: deleting is left to the registry's API.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from paydown.clients import aws
from paydown.clients.registry_content import checked_repository
from paydown.errors import PermanentError
from paydown.inventory import FolderStorage, S3Storage

MOST_LINKS = 200_000
"""Links of one repository that are read: a million of them is a repository for a person to look at."""

_REVISION = re.compile(r"revisions/([a-z0-9]+)/([0-9a-f]{32,128})/link")
_TAGGED = re.compile(r"tags/([^/]+)/index/([a-z0-9]+)/([0-9a-f]{32,128})/link")


@dataclass(frozen=True, slots=True)
class Revision:
    """A manifest that is kept.

    `since` is its last sign of life: `pushed`, or a tag that it had was moved elsewhere. `size` is what the registry
    says that it takes, in bytes, with its layers; 0 where it says nothing.
    """

    digest: str
    since: datetime
    pushed: datetime
    size: int = 0


class Refused(PermanentError):
    """The registry keeps this manifest for a reason of its own: it is referred to, or its tag is immutable."""


def revisions(storage: S3Storage | FolderStorage, repository: str) -> list[Revision]:
    """The manifests that a repository keeps, sorted by digest. Raises RetryableError and PermanentError.

    A tag that was deleted takes the memory of when with it: then the push alone counts.
    """
    match storage:
        case S3Storage():
            links = _in_bucket(storage, repository)
        case FolderStorage():
            links = _in_folder(storage, repository)
    pushed: dict[str, datetime] = {}
    history: dict[str, list[tuple[datetime, str]]] = {}
    for number, (path, at) in enumerate(links):
        if number >= MOST_LINKS:
            raise PermanentError(f"{repository} keeps more than {MOST_LINKS} links: too many to tell what is in use")
        if found := _REVISION.fullmatch(path):
            pushed[f"{found[1]}:{found[2]}"] = at
        elif found := _TAGGED.fullmatch(path):
            history.setdefault(found[1], []).append((at, f"{found[2]}:{found[3]}"))
    since = dict(pushed)
    for moves in history.values():
        moves.sort()
        for (_, digest), (lost, _) in pairwise(moves):
            if digest in since:
                since[digest] = max(since[digest], lost)
    return [Revision(digest, since[digest], pushed[digest]) for digest in sorted(since)]


def until_next(kept: Iterable[Revision], tagged: Iterable[datetime] = ()) -> list[Revision]:
    """The same with `since` moved to the next push after each one's own, or to the next moment of `tagged`.

    For registries that do not tell when a tag was moved elsewhere: that takes a push, so no earlier than that.
    """
    kept = list(kept)
    moments = sorted({one.pushed for one in kept} | set(tagged))
    found = []
    for one in kept:
        following = bisect_right(moments, one.pushed)
        later = moments[following] if following < len(moments) else one.since
        found.append(replace(one, since=max(one.since, later)))
    return found


def _place(repository: str) -> str:
    return f"docker/registry/v2/repositories/{checked_repository(repository)}/_manifests/"


def _in_bucket(storage: S3Storage, repository: str) -> Iterator[tuple[str, datetime]]:
    prefix = storage.prefix.strip("/")
    below = f"{prefix}/{_place(repository)}" if prefix else _place(repository)
    with aws.translated(f"s3://{storage.bucket}/{below}"):
        pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=below)
        for page in pages:
            for one in page.get("Contents", ()):
                yield one["Key"].removeprefix(below), one["LastModified"]


def _in_folder(storage: FolderStorage, repository: str) -> Iterator[tuple[str, datetime]]:
    below = Path(storage.path, _place(repository))
    if not Path(storage.path).is_dir():
        raise PermanentError(f"the registry's storage {storage.path} is no folder of this machine")

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # removed while it was walked
            raise PermanentError(f"the registry's storage cannot be read: {error.strerror}") from error

    for folder, _, files in os.walk(below, onerror=unreadable):
        for name in files:
            path = Path(folder, name)
            try:
                at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue
            yield str(path.relative_to(below)), at
