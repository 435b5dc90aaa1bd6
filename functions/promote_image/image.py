"""An image as a registry holds it: its manifests and those of an index, its blobs, and what is attached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import DIGEST, IMAGES, INDEXES, Manifest
from paydown.errors import PermanentError

MOST_MANIFESTS = 500
"""Manifests of one image, with what is attached to it: more are refused."""
COSIGN = (".sig", ".att", ".sbom")
SIGNATURES = (
    "application/vnd.cncf.notary.signature",
    "application/vnd.dev.cosign.artifact.sig",
    "application/vnd.dev.sigstore.bundle",
)
"""Beginnings of the artifact types that are signatures. A Sigstore bundle counts, whatever it says."""


@dataclass
class Image:
    """What has to be in a repository for an image to be there. `manifests` has whatever is referred to first."""

    digest: str
    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    """Blobs that may be fetched elsewhere, and need not be in any registry."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tags of what is attached in cosign's way, with their digests."""
    listed: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """Descriptors of what is attached, by the digest to which it is."""

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(self.blobs.values())

    @property
    def root(self) -> Manifest:
        """The manifest or index itself."""
        return self.manifests[self.digest]

    def platforms(self) -> list[str]:
        """The images that an index lists, through any number of indexes; not attestations, which nobody runs."""
        found: list[str] = []
        waiting = [self.root] if self.root.is_index else []
        while waiting:
            for one in waiting.pop().document.get("manifests") or ():
                listed = self.manifests.get(one["digest"])
                if listed is not None and listed.is_index:
                    waiting.append(listed)
                elif listed is not None and not _is_attestation(one):
                    found.append(listed.digest)
        return list(dict.fromkeys(found))

    def signed(self) -> bool:
        """Whether a signature is attached to it. Who signed is not looked at."""
        kinds = [str(one.get("artifactType", "")) for one in self.listed.get(self.digest, ())]
        return any(kind.startswith(SIGNATURES) for kind in kinds) or _cosign(self.digest, ".sig") in self.tags


def read_image(api: RegistryApi, repository: str, digest: str, *, attached: bool = False) -> Image:
    """The image in a repository, and with `attached` what refers to it. Raises NotThere if a manifest is missing."""
    image = Image(digest)
    _add(image, api, repository, digest)
    if attached:
        done: set[str] = set()
        while left := [one for one in image.manifests if one not in done]:
            for one in left:
                done.add(one)
                _attach(image, api, repository, one)
    return image


def _add(image: Image, api: RegistryApi, repository: str, digest: str) -> None:
    waiting = [(digest, False)]
    read: dict[str, Manifest] = {}
    while waiting:
        one, below = waiting.pop()
        if one in image.manifests:
            continue
        if below:
            image.manifests[one] = read[one]
        elif one not in read:
            if len(read) + len(image.manifests) >= MOST_MANIFESTS:
                raise PermanentError(f"{image.digest} has more than {MOST_MANIFESTS} manifests")
            read[one] = api.manifest(repository, one)
            waiting += [(one, True), *((child, False) for child in _contents(image, read[one]))]


def _contents(image: Image, manifest: Manifest) -> list[str]:
    """Take note of the blobs that a manifest names; the manifests that it lists."""
    if manifest.media_type not in INDEXES | IMAGES:
        raise PermanentError(f"{manifest.digest} is of a kind that is not known: {manifest.media_type[:100]!r}")
    children = []
    for one in _descriptors(manifest):
        if manifest.is_index and one.get("mediaType") in INDEXES | IMAGES:
            children.append(one["digest"])
            continue
        size = one.get("size")
        image.blobs[one["digest"]] = size if isinstance(size, int) and size > 0 else 0
        if one.get("urls"):
            image.outside.add(one["digest"])
    return children


def _attach(image: Image, api: RegistryApi, repository: str, digest: str) -> None:
    found = api.referrers(repository, digest)
    if found:
        image.listed[digest] = found
    for one in found:
        _add(image, api, repository, one["digest"])
    for kind in COSIGN:
        tag = _cosign(digest, kind)
        pointed = api.digest(repository, tag)
        if pointed is not None:
            image.tags[tag] = pointed
            _add(image, api, repository, pointed)


def _is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """As BuildKit lists them beside the platforms."""
    notes = descriptor.get("annotations")
    return isinstance(notes, dict) and notes.get("vnd.docker.reference.type") == "attestation-manifest"


def _descriptors(manifest: Manifest) -> Iterator[Mapping[str, Any]]:
    document = manifest.document
    for name in ("manifests",) if manifest.is_index else ("config", "layers"):
        held = document.get(name) or []
        for one in held if isinstance(held, list) else [held]:
            digest = one.get("digest") if isinstance(one, dict) else None
            if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
                raise PermanentError(f"{manifest.digest} names something that has no digest")
            yield one


def _cosign(digest: str, kind: str) -> str:
    return f"{digest.replace(':', '-', 1)}{kind}"
