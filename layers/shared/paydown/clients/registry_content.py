"""What a registry holds: manifests and indexes, by digest. Content that does not fit its digest is refused.

The shapes are those of the OCI image and distribution specifications 1.1, and of Docker's schema 2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paydown.errors import PermanentError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
MANIFESTS = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"
"""What a tag may point to. A registry converts, and so tells another digest, for a client that does not take it."""

REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,128}")
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index: its bytes, as the digest counts them, their media type, digest, and parsed document."""

    raw: bytes
    media_type: str
    digest: str
    document: Mapping[str, Any]

    @classmethod
    def of(cls, raw: bytes, media_type: str, digest: str = "") -> Manifest:
        """The manifest in these bytes, whose digest must be `digest` if one is given. Raises PermanentError."""
        found = digest_of(raw, digest.partition(":")[0] or "sha256")
        if digest and found != digest:
            raise PermanentError(f"the registry's manifest is {found} where {digest} was asked for")
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise PermanentError(f"the manifest {found} is no JSON object")
        return cls(raw, media_type.partition(";")[0].strip() or str(document.get("mediaType", "")), found, document)

    @classmethod
    def made(cls, document: Mapping[str, Any], media_type: str) -> Manifest:
        """A new manifest of this document."""
        return cls.of(json.dumps(document, separators=(",", ":")).encode(), media_type)

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests."""
        return self.media_type in INDEXES


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of content. Raises PermanentError for an algorithm that no specification registers."""
    if algorithm not in _HASHES:
        raise PermanentError(f"digests of the kind {algorithm[:32]!r} are not known")
    return f"{algorithm}:{_HASHES[algorithm](content).hexdigest()}"


def checked_flow(pieces: Iterable[bytes], digest: str) -> Iterator[bytes]:
    """The pieces as they come; raises PermanentError after the last one if together they have another digest."""
    algorithm = digest.partition(":")[0]
    if algorithm not in _HASHES:
        raise PermanentError(f"digests of the kind {algorithm[:32]!r} are not known")
    sum_ = _HASHES[algorithm]()
    for piece in pieces:
        sum_.update(piece)
        yield piece
    if f"{algorithm}:{sum_.hexdigest()}" != digest:
        raise PermanentError(f"the content of {digest} has another digest")


def checked_repository(repository: str) -> str:
    """The name, if it has a name's form. Raises PermanentError."""
    if not REPOSITORY.fullmatch(repository) or len(repository) > 255:
        raise PermanentError(f"{repository[:80]!r} is no name of a repository")
    return repository


def checked_digest(digest: str) -> str:
    """The digest, if it has a digest's form. Raises PermanentError."""
    if not DIGEST.fullmatch(digest):
        raise PermanentError(f"{digest[:80]!r} is no digest")
    return digest


def checked_reference(reference: str) -> str:
    """The tag or digest, if it has the form of one. Raises PermanentError."""
    if not TAG.fullmatch(reference) and not DIGEST.fullmatch(reference):
        raise PermanentError(f"{reference[:80]!r} is no tag and no digest")
    return reference
