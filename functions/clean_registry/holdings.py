"""What a repository of a registry holds, whatever system runs it: listed, read and deleted in that system's way.

What may go is decided elsewhere, from what these tell alone, and the same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from paydown.clients import aws
from paydown.clients.registry import RegistryApi, open_registry
from paydown.clients.registry_content import Manifest
from paydown.clients.registry_ecr import EcrRepository
from paydown.clients.registry_harbor import HarborRepository
from paydown.clients.registry_storage import Revision, revisions
from paydown.clients.web import NotThere
from paydown.errors import PaydownError, PermanentError, RetryableError
from paydown.inventory import Registry, Repository

AT_ONCE = 8
"""Questions to one registry at the same time."""


class Holdings(Protocol):
    """One repository. Every method may raise RetryableError and PermanentError."""

    @property
    def at_once(self) -> int:
        """How many manifests one call of `delete` may take."""

    @property
    def cascades(self) -> bool:
        """Whether deleting an index also deletes what only it listed and no tag points to."""

    @property
    def attaches_by_tag(self) -> bool:
        """Whether `tags` has those that only say to which digest something is attached."""

    @property
    def subjects(self) -> Mapping[str, str]:
        """After `revisions`: what is attached, and to what, where its own manifest need not say so."""

    @property
    def dead(self) -> frozenset[str]:
        """After `tags`: those that are listed and lead nowhere."""

    def left_to(self) -> str:
        """What of the registry's own already cleans this repository; empty if nothing does."""

    def revisions(self) -> list[Revision]:
        """The manifests that it keeps, tagged or not."""

    def tags(self) -> Mapping[str, str]:
        """The digest of each tag that leads somewhere."""

    def tag_names(self) -> set[str]:
        """The tags that are listed."""

    def manifests(self, digests: Iterable[str]) -> Iterator[Manifest]:
        """The manifests of these digests; those that are gone are left out."""

    def present(self, digests: Iterable[str]) -> set[str]:
        """Those of these digests that it still keeps."""

    def delete(self, digests: Sequence[str]) -> Mapping[str, PaydownError | None]:
        """Delete up to `at_once` manifests by digest; what came of each, None for one that is deleted.

        NotThere, RetryableError and Refused are told for the one; what makes all others senseless is raised.
        """


class DistributionRepository:
    """A repository of CNCF Distribution: its API, and its storage for what has no tag."""

    at_once = 1
    cascades = False
    attaches_by_tag = True
    subjects: Mapping[str, str] = {}
    dead: frozenset[str] = frozenset()

    def __init__(self, registry: Registry, name: str, api: RegistryApi) -> None:
        self._registry, self._name, self._api = registry, name, api

    def left_to(self) -> str:
        """Empty: its own collector takes blobs alone."""
        return ""

    def revisions(self) -> list[Revision]:
        """The manifests in its storage."""
        if self._registry.storage is None:
            ref = self._registry.ref
            raise PermanentError(f"{ref} has no storage in the inventory: what has no tag cannot be listed")
        return revisions(self._registry.storage, self._name)

    def tags(self) -> Mapping[str, str]:
        """The digest of each tag that leads somewhere, asked one by one."""
        names = self._api.tags(self._name)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            pointed = threads.map(lambda tag: self._api.digest(self._name, tag), names)
            found = {tag: digest for tag, digest in zip(names, pointed, strict=True) if digest is not None}
        self.dead = frozenset(names) - found.keys()
        return found

    def tag_names(self) -> set[str]:
        """The tags that are listed."""
        return set(self._api.tags(self._name))

    def manifests(self, digests: Iterable[str]) -> Iterator[Manifest]:
        """The manifests of these digests; those that are gone are left out."""

        def read(digest: str) -> Manifest | None:
            try:
                return self._api.manifest(self._name, digest)
            except NotThere:
                return None

        with ThreadPoolExecutor(AT_ONCE) as threads:
            yield from (one for one in threads.map(read, digests) if one is not None)

    def present(self, digests: Iterable[str]) -> set[str]:
        """Those of these digests that the API answers for."""
        return {digest for digest in digests if self._api.digest(self._name, digest) is not None}

    def delete(self, digests: Sequence[str]) -> dict[str, PaydownError | None]:
        """Delete manifests."""
        found: dict[str, PaydownError | None] = {}
        for digest in digests:
            try:
                self._api.delete_manifest(self._name, digest)
                found[digest] = None
            except (NotThere, RetryableError) as error:
                found[digest] = error
        return found


def can_list(registry: Registry) -> bool:
    """Whether what has no tag can be listed: CNCF Distribution needs its storage for that."""
    return registry.system != "distribution" or registry.storage is not None


def open_holdings(target: Repository, *, operator: bool) -> Holdings:
    """The repository as its registry's system holds it; `operator` may delete."""
    registry = target.registry
    match registry.system:
        case "ecr":
            return EcrRepository(registry, target.name)
        case "harbor":
            return HarborRepository(registry, target.name, aws.secret, operator=operator)
        case "distribution":
            return DistributionRepository(registry, target.name, open_registry(registry, aws.secret, operator=operator))
