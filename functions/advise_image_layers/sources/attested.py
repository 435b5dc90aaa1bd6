"""What BuildKit attests of a build: its Dockerfile (`mode=max` only), and the repository and commit that it came from.

An index lists an attestation manifest beside each image
(https://docs.docker.com/build/metadata/attestations/attestation-storage/); in it lies an in-toto statement with SLSA
provenance 0.2 or 1 (https://docs.docker.com/build/metadata/attestations/slsa-definitions/). No signature is checked:
what is attested chooses among the repositories of the inventory, and its Dockerfile counts if it fits the image.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.advise_image_layers.sources.dockerfiles import LONGEST
from paydown.clients.registry import RegistryApi
from paydown.errors import PermanentError

ATTESTATION_LIMIT = 4 * 1024 * 1024
STATEMENT = "application/vnd.in-toto+json"
PREDICATES = ("https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1")
_KIT = "https://mobyproject.org/buildkit@v1#metadata"


@dataclass(frozen=True)
class Attested:
    """A build as its builder tells it; empty where it tells nothing. `fetched`: bytes that were read."""

    dockerfile: str = ""
    path: str = ""
    url: str = ""
    revision: str = ""
    fetched: int = 0


def attested(api: RegistryApi, repository: str, index: Mapping[str, Any], digest: str) -> Attested:
    """What is attested of the image `digest` of an index. Raises RetryableError; what cannot be read is not there."""
    try:
        return _read(api, repository, index, digest)
    except PermanentError:
        return Attested()


def _read(api: RegistryApi, repository: str, index: Mapping[str, Any], digest: str) -> Attested:
    fetched = 0
    for child in _mappings(index.get("manifests")):
        said = _mapping(child.get("annotations"))
        if said.get("vnd.docker.reference.type") != "attestation-manifest":
            continue
        if said.get("vnd.docker.reference.digest") != digest:
            continue
        manifest = api.manifest(repository, str(child.get("digest")))
        fetched += len(manifest.raw)
        for layer in _mappings(manifest.document.get("layers")):
            kind = _mapping(layer.get("annotations")).get("in-toto.io/predicate-type")
            if layer.get("mediaType") == STATEMENT and kind in PREDICATES:
                raw = api.blob(repository, str(layer.get("digest")), ATTESTATION_LIMIT)
                return told(raw, fetched + len(raw))
    return Attested(fetched=fetched)


def told(raw: bytes, fetched: int = 0) -> Attested:
    """What a statement tells."""
    try:
        statement = json.loads(raw)
    except (ValueError, RecursionError):
        return Attested(fetched=fetched)
    predicate = _mapping(_mapping(statement).get("predicate"))
    old = _mapping(_mapping(predicate.get("metadata")).get(_KIT))
    new = _mapping(_mapping(_mapping(predicate.get("runDetails")).get("metadata")).get("buildkit_metadata"))
    kit = new or old
    vcs = _mapping(kit.get("vcs"))
    infos = _mappings(_mapping(kit.get("source")).get("infos"))
    file = next((one for one in infos if isinstance(one.get("data"), str)), {})
    return Attested(
        _decoded(file.get("data", "")),
        str(file.get("filename") or ""),
        str(vcs.get("source") or ""),
        str(vcs.get("revision") or ""),
        fetched,
    )


def _decoded(data: str) -> str:
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if len(text) <= LONGEST else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
