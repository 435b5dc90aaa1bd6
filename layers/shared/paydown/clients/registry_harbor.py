"""Harbor through its API v2.0: what a repository keeps, listed and deleted. Manifests are read as from any registry.

The shapes are those of Harbor's API description (2.8 and later): artifacts in pages with `X-Total-Count`, each with its
tags, its accessories (signatures and the like) and, of an index, its `references`. The list leaves out what an index
refers to, and accessories: these are asked one by one. Harbor takes our reading for a pull, so a pull is no sign of
life here. Deleting an artifact takes along its accessories, and of an index what nothing else refers to.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from pydantic import AwareDatetime, BaseModel, StringConstraints, ValidationError

from paydown.clients.registry import credentials_of, open_registry
from paydown.clients.registry_content import DIGEST, Manifest, checked_digest, checked_repository
from paydown.clients.registry_storage import MOST_LINKS, Refused, Revision, until_next
from paydown.clients.web import Answer, NotThere, Web
from paydown.errors import PaydownError, PermanentError, RetryableError
from paydown.inventory import Registry

PAGE = 100
ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of a page: each artifact comes with its configuration."""
AT_ONCE = 8
"""Questions at the same time."""
MOST_EMPTY = 20
"""Empty pages in a row before the list counts as changed: so many accessories may stand together."""

_OF_A_DIGEST = re.compile(r"sha256-[0-9a-f]{64}(?:\.[a-z]+)?")
_Digest = Annotated[str, StringConstraints(pattern=rf"^{DIGEST.pattern}$")]


class _Tag(BaseModel):
    name: str
    push_time: AwareDatetime


class _Reference(BaseModel):
    child_digest: _Digest


class _Accessory(BaseModel):
    digest: _Digest
    subject_artifact_digest: _Digest | None = None


class _Artifact(BaseModel):
    digest: _Digest
    push_time: AwareDatetime
    size: int = 0
    tags: list[_Tag] | None = None
    references: list[_Reference] | None = None
    accessories: list[_Accessory] | None = None


class HarborRepository:
    """One repository of a project of Harbor. Every method may raise RetryableError and PermanentError.

    `subjects` says of accessories, after `revisions`, to what they are attached: not every signature's manifest does.
    """

    at_once = 1
    cascades = True
    attaches_by_tag = False
    dead: frozenset[str] = frozenset()

    def __init__(self, registry: Registry, name: str, secret: Callable[[str], Any], *, operator: bool = False) -> None:
        project, slash, repository = checked_repository(name).partition("/")
        if not slash:
            raise PermanentError(f"{name} names no project of Harbor: it must be PROJECT/REPOSITORY")
        self._name = name
        self._api = open_registry(registry, secret, operator=operator)
        self._web = Web(
            registry.url,
            lambda: _basic(credentials_of(registry, secret, operator=operator)),
            {"Accept": "application/json"},
            speaks_json=False,  # it answers a deletion with nothing
            most=ANSWER_LIMIT,
        )
        encoded = quote(quote(repository, safe=""), safe="")
        self._base = f"/api/v2.0/projects/{project}/repositories/{encoded}/artifacts"
        self.subjects: dict[str, str] = {}
        self._tags_of_attached: dict[str, str] = {}

    def left_to(self) -> str:
        """Empty: Harbor's own retention takes tagged artifacts, and the two do not get in each other's way."""
        return ""

    def revisions(self) -> list[Revision]:
        """The manifests that it keeps, tagged or not."""
        listed = {one.digest: one for one in self._listed(with_accessory=True)}
        self.subjects = {}
        waiting = self._beyond(listed.values()) - listed.keys()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            while waiting:
                asked = sorted(waiting)
                more = [one for one in threads.map(self._one, asked) if one is not None]
                listed |= {one.digest: one for one in more}
                waiting = self._beyond(more) - listed.keys() - set(asked)
        for one in listed.values():
            for accessory in one.accessories or ():
                self.subjects[accessory.digest] = accessory.subject_artifact_digest or one.digest
        self._tags_of_attached = {
            tag.name: digest
            for digest in self.subjects.keys() & listed.keys()
            for tag in listed[digest].tags or ()
            if not _OF_A_DIGEST.fullmatch(tag.name)
        }
        moved = [tag.push_time.astimezone(UTC) for one in listed.values() for tag in one.tags or ()]
        return until_next((_revision(one) for one in listed.values()), moved)

    def tags(self) -> dict[str, str]:
        """The digest of each tag; tags that only say to which digest something is attached do not count."""
        found = dict(self._tags_of_attached)
        for one in self._listed(with_accessory=False):
            found |= {tag.name: one.digest for tag in one.tags or ()}
        return found

    def tag_names(self) -> set[str]:
        """The tags that are listed, without those that only say to which digest something is attached."""
        return set(self.tags())

    def manifests(self, digests: Iterable[str]) -> Iterator[Manifest]:
        """The manifests of these digests; those that are gone are left out."""

        def read(digest: str) -> Manifest | None:
            try:
                return self._api.manifest(self._name, digest)
            except NotThere:
                return None

        with ThreadPoolExecutor(AT_ONCE) as threads:
            yield from (one for one in threads.map(read, sorted(set(digests))) if one is not None)

    def present(self, digests: Iterable[str]) -> set[str]:
        """Those of these digests that it still keeps."""
        return {digest for digest in digests if self._one(digest) is not None}

    def delete(self, digests: Sequence[str]) -> dict[str, PaydownError | None]:
        """Delete manifests; what came of each, None for one that is deleted."""
        found: dict[str, PaydownError | None] = {}
        for digest in digests:
            found[digest] = None
            try:
                answer = self._web.call("DELETE", f"{self._base}/{checked_digest(digest)}", also=(412,))
                if answer.status == 412:
                    found[digest] = Refused(f"Harbor keeps {digest}: something refers to it, or a tag is immutable")
            except (NotThere, RetryableError) as error:
                found[digest] = error
        return found

    def _listed(self, *, with_accessory: bool) -> Iterator[_Artifact]:
        """All artifacts of the list. If it changes while it is read, one may have moved to a page that was read.

        Pages may be short, or empty in between: Harbor takes accessories out of them after it has cut them.
        """
        seen: set[str] = set()
        total: int | None = None
        number = empty = 0
        while total is None or len(seen) < total:
            number += 1
            query = {
                "page": number,
                "page_size": PAGE,
                "sort": "-push_time",
                "with_tag": "true",
                "with_accessory": str(with_accessory).lower(),
            }
            told, page = _page(self._web.call("GET", f"{self._base}?{urlencode(query)}"))
            empty = 0 if page else empty + 1
            if told != (told if total is None else total) or empty > MOST_EMPTY:
                raise RetryableError("Harbor's list of artifacts changed while it was read", delay=5)
            total = told
            if total > MOST_LINKS:
                raise PermanentError(
                    f"{self._name} keeps more than {MOST_LINKS} artifacts: too many to tell what is in use"
                )
            for one in page:
                if one.digest not in seen:
                    seen.add(one.digest)
                    yield one

    def _one(self, digest: str) -> _Artifact | None:
        """One artifact, listed or not; None when it is gone."""
        query = urlencode({"with_tag": "true", "with_accessory": "true"})
        try:
            return _artifact(self._web.call("GET", f"{self._base}/{checked_digest(digest)}?{query}").data)
        except NotThere:
            return None

    @staticmethod
    def _beyond(artifacts: Iterable[_Artifact]) -> set[str]:
        """What these artifacts lead to: children of an index, and what is attached."""
        return {
            digest
            for one in artifacts
            for digest in (
                *(reference.child_digest for reference in one.references or ()),
                *(accessory.digest for accessory in one.accessories or ()),
            )
        }


def _page(answer: Answer) -> tuple[int, list[_Artifact]]:
    """How many artifacts the whole list has, and those of this page."""
    total = answer.headers.get("x-total-count", "")
    if not isinstance(answer.data, list) or not total.isdecimal():
        raise PermanentError("Harbor's list of artifacts has not the documented shape")
    return int(total), [_artifact(one) for one in answer.data]


def _artifact(data: Any) -> _Artifact:
    try:
        return _Artifact.model_validate(data)
    except ValidationError as error:
        raise PermanentError(f"Harbor's artifact has not the documented shape: {error.error_count()} faults") from None


def _revision(artifact: _Artifact) -> Revision:
    pushed = artifact.push_time.astimezone(UTC)
    return Revision(artifact.digest, pushed, pushed, artifact.size)


def _basic(known: Mapping[str, str]) -> dict[str, str]:
    if not known:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{known['username']}:{known['password']}".encode()).decode()}
