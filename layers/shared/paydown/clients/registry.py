"""A CNCF Distribution registry, through its API: tags, manifests and blobs, read, written and deleted.

What a registry names is outside text, and becomes part of an address only if it has the form of a repository, a tag or
a digest. Content is checked against its digest. The API cannot list the manifests that have no tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, urlencode

from paydown.clients import registry_ecr
from paydown.clients.registry_content import (
    DIGEST,
    MANIFESTS,
    REPOSITORY,
    TAG,
    Manifest,
    checked_digest,
    checked_flow,
    checked_reference,
    checked_repository,
)
from paydown.clients.registry_session import Credentials, RegistrySession
from paydown.clients.web import NotThere
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Inventory, Registry

PAGE = 100
CATALOG = "registry:catalog:*"
UPLOAD_PIECE = 8 * 1024 * 1024
"""Bytes in one request of an upload; ECR wants 5 MiB at least."""

_WILD = frozenset("*?[")
_OCTETS = {"Content-Type": "application/octet-stream"}


class RegistryApi(RegistrySession):
    """One registry. Every method may raise RetryableError and PermanentError; NotThere, which is one, for what is gone.

    `credentials` is asked when the registry wants them: `{"username", "password"}`, or empty for a stranger.
    """

    def ping(self) -> None:
        """Make sure that it is a registry, and that it takes our credentials."""
        self._call("GET", "/v2/", "")

    def repositories(self, patterns: tuple[str, ...], after: str = "") -> Iterator[str]:
        """The repositories that match one of the patterns (`*`, `?`), in the registry's order, beyond `after`."""
        if not any(_WILD & set(pattern) for pattern in patterns):
            yield from (name for name in sorted(set(patterns)) if name > after)
            return
        query = {"n": PAGE, **({"last": after} if after else {})}
        for page in self._pages(f"/v2/_catalog?{urlencode(query)}", CATALOG):
            for name in _texts(page, "repositories", REPOSITORY):
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    yield name

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; none when it is gone."""
        try:
            pages = list(self._pages(f"/v2/{checked_repository(repository)}/tags/list?n={PAGE}", _scope(repository)))
        except NotThere:
            return []
        return sorted({tag for page in pages for tag in _texts(page, "tags", TAG)})

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest that a tag points to, or of a manifest that is there; None when it is gone."""
        path = f"/v2/{checked_repository(repository)}/manifests/{quote(reference, safe=':')}"
        try:
            answer = self._call("HEAD", path, _scope(repository), {"Accept": MANIFESTS})
        except NotThere:
            return None
        found = answer.headers.get("docker-content-digest", "")
        if not DIGEST.fullmatch(found):
            raise PermanentError(f"the registry tells no digest of {repository}:{reference}")
        return found

    def manifest(self, repository: str, reference: str) -> Manifest:
        """The manifest or index that a tag points to, or that has this digest."""
        path = f"/v2/{checked_repository(repository)}/manifests/{checked_reference(reference)}"
        answer = self._call("GET", path, _scope(repository), {"Accept": MANIFESTS})
        told = answer.headers.get("docker-content-digest", "")
        wanted = reference if DIGEST.fullmatch(reference) else told
        return Manifest.of(answer.content, answer.headers.get("content-type", ""), wanted)

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        """A blob of at most `limit` bytes."""
        content = bytearray()
        for piece in self.blob_chunks(repository, digest):
            content += piece
            if len(content) > limit:
                raise PermanentError(f"{digest} has more than {limit} bytes")
        return bytes(content)

    def blob_chunks(self, repository: str, digest: str) -> Iterator[bytes]:
        """The bytes of a blob as they come; one with another digest raises after the last of them."""
        path = f"/v2/{checked_repository(repository)}/blobs/{checked_digest(digest)}"
        flow = self._flow(path, _scope(repository))
        yield from checked_flow(flow, digest)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository holds a blob."""
        path = f"/v2/{checked_repository(repository)}/blobs/{checked_digest(digest)}"
        try:
            return self._call("HEAD", path, _scope(repository), also=(302, 307)).status > 0
        except NotThere:
            return False

    def referrers(self, repository: str, digest: str) -> list[Mapping[str, Any]]:
        """The descriptors of what is attached to a manifest (signatures, attestations).

        A registry without that API (Distribution 2) has them under the tag `sha256-…`, as the specification says.
        """
        base = f"/v2/{checked_repository(repository)}"
        try:
            path = f"{base}/referrers/{checked_digest(digest)}"
            pages = list(self._pages(path, _scope(repository)))
        except NotThere:
            try:
                pages = [self.manifest(repository, digest.replace(":", "-", 1)).document]
            except NotThere:
                return []
        found = [one for page in pages for one in page.get("manifests") or () if isinstance(one, dict)]
        return [one for one in found if isinstance(one.get("digest"), str) and DIGEST.fullmatch(one["digest"])]

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest by its digest, and with it all tags that point there. Raises NotThere when it is gone."""
        path = f"/v2/{checked_repository(repository)}/manifests/{checked_digest(digest)}"
        answer = self._call("DELETE", path, f"repository:{repository}:delete", also=(405,))
        if answer.status == 405:
            raise PermanentError(
                "the registry does not let manifests be deleted (REGISTRY_STORAGE_DELETE_ENABLED=true lets it)"
            )

    def mount_blob(self, repository: str, digest: str, origin: str) -> bool:
        """Let `repository` hold a blob of the repository `origin`, without moving it; False if that does not work."""
        query = urlencode({"mount": checked_digest(digest), "from": checked_repository(origin)})
        scope = f"{_writing(repository)} {_scope(origin)}"
        answer = self._call("POST", f"/v2/{checked_repository(repository)}/blobs/uploads/?{query}", scope, content=b"")
        if answer.status == 201:
            return True
        self._cancel(answer.headers.get("location", ""), repository)
        return False

    def upload_blob(self, repository: str, digest: str, pieces: Iterable[bytes]) -> None:
        """Write a blob, a few MiB at a time. Content with another digest is refused, and leaves nothing behind."""
        scope = _writing(repository)
        path = f"/v2/{checked_repository(repository)}/blobs/uploads/"
        place = self._call("POST", path, scope, content=b"").headers.get("location", "")
        sent = 0
        try:
            for piece in _gathered(checked_flow(pieces, checked_digest(digest)), UPLOAD_PIECE):
                span = {"Content-Range": f"{sent}-{sent + len(piece) - 1}", **_OCTETS}
                answer = self._call("PATCH", self._here(place, "upload"), scope, span, piece)
                place = answer.headers.get("location", place)
                sent += len(piece)
        except Exception:  # whatever stopped it is told all the same
            self._cancel(place, repository)
            raise
        end = self._here(place, "upload")
        end = f"{end}{'' if end.endswith('?') else '&'}{urlencode({'digest': digest})}"
        self._call("PUT", end, scope, _OCTETS, b"")

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> str:
        """Write a manifest under a tag, or under its digest; its digest. All that it names must be there already."""
        path = f"/v2/{checked_repository(repository)}/manifests/{checked_reference(reference)}"
        self._call("PUT", path, _writing(repository), {"Content-Type": manifest.media_type}, manifest.raw)
        return manifest.digest

    def _cancel(self, place: str, repository: str) -> None:
        """Leave no upload behind, if that is possible; the registry purges one that stays after a week."""
        with suppress(PermanentError, RetryableError):
            self._call("DELETE", self._here(place, "upload"), _writing(repository))


class EcrApi(RegistryApi):
    """ECR's registry API, and ECR's own for what that does not list."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.url, lambda: registry_ecr.credentials(registry))
        self._registry = registry

    def repositories(self, patterns: tuple[str, ...], after: str = "") -> Iterator[str]:
        """As of any registry; patterns take a role that may list them all."""
        if not any(_WILD & set(pattern) for pattern in patterns):
            yield from super().repositories(patterns, after)
            return
        yield from registry_ecr.repositories(self._registry, patterns, after)


def open_registry(registry: Registry, secret: Callable[[str], Any], *, operator: bool = False) -> RegistryApi:
    """The client of a registry; nothing is sent before its first use. `secret` is `paydown.clients.aws.secret`.

    `operator` takes the credentials that may write and delete, if the inventory tells them apart.
    """
    if registry.system == "ecr":
        return EcrApi(registry)
    return RegistryApi(registry.url, lambda: credentials_of(registry, secret, operator=operator))


def credentials_of(registry: Registry, secret: Callable[[str], Any], *, operator: bool = False) -> Credentials:
    """What a registry takes for who we are, as `{"username", "password"}`; empty for a stranger."""
    if registry.system == "ecr":
        return registry_ecr.credentials(registry)
    name = (registry.operator_secret if operator else None) or registry.secret
    if name is None:
        return {}
    content = secret(name)
    if not isinstance(content, dict) or not all(isinstance(content.get(it), str) for it in ("username", "password")):
        raise PermanentError(f"the secret {name} must be a JSON object with username and password")
    return {"username": content["username"], "password": content["password"]}


def pulling(image: str, inventory: Inventory, secret: Callable[[str], Any]) -> Credentials:
    """The credentials with which an image is pulled; none from a registry that the inventory does not have."""
    found = inventory.registry(image.partition("/")[0])
    return credentials_of(found, secret) if found else {}


def _texts(page: Mapping[str, Any], field: str, form: re.Pattern[str]) -> Iterator[str]:
    """The names in a page that have their form."""
    yield from (name for name in page.get(field) or () if isinstance(name, str) and form.fullmatch(name))


def _scope(repository: str) -> str:
    return f"repository:{repository}:pull"


def _writing(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _gathered(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of at least `size`; the last one may be shorter."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= size:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
