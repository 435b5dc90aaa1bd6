"""Images read from a registry: manifests and configurations, and a layer only for who asks for one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from functions.advise_image_layers.image import Image, UnknownShape, image_of, on_base
from functions.advise_image_layers.sources.attested import Attested, attested
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import Manifest
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.inventory import Repository

CONFIG_LIMIT = 4 * 1024 * 1024
"""Bytes of a configuration; most have some kilobytes."""
SIBLINGS = 5
"""Other tags that are looked at to find the image before this one."""
_DIGITS = re.compile(r"(\d+)")


class Reader:
    """Reads the images of one repository. `fetched` counts the bytes of what was read."""

    def __init__(self, api: RegistryApi, repository: Repository, platform: str) -> None:
        self._api = api
        self._registry = repository.registry.name
        self._repository = repository.name
        self._platform = platform
        self.fetched = 0
        self._index: tuple[Mapping[str, Any], str] = ({}, "")

    def image(self, reference: str) -> Image:
        """The image under a tag or digest; of an index, that of the platform, or else the first one.

        Raises NotThere when it is gone, UnknownShape when it is none, PermanentError and RetryableError.
        """
        top = self._manifest(reference)
        manifest = self._manifest(self._chosen(top.document)) if top.is_index else top
        self._index = (top.document, manifest.digest) if top.is_index else ({}, "")
        image = image_of(manifest.document, self._config(self._repository, manifest), top.digest)
        return self._on_its_base(image)

    def attested(self) -> Attested:
        """What the builder attests of the image that was read last."""
        found = attested(self._api, self._repository, *self._index)
        self.fetched += found.fetched
        return found

    def layer(self, digest: str) -> Iterator[bytes]:
        """A layer as it is stored, piece by piece; `fetched` does not count it."""
        return self._api.blob_chunks(self._repository, digest)

    def before(self, image: Image, known: Iterable[str], tag: str) -> Image | None:
        """The image that this one replaces: the first of `known` (digests) that is still there, else a sibling's.

        A sibling is another tag; the ones whose names come just before are looked at, and that which shares most layers
        is taken. None if nothing is found.
        """
        for digest in known:
            if (found := self._found(digest)) is not None and found.digest != image.digest:
                return found
        best: tuple[int, Image] | None = None
        for sibling in _siblings(self._api.tags(self._repository), tag):
            found = self._found(sibling)
            if found is None or found.digest == image.digest:
                continue
            shared = sum(a == b for a, b in zip(found.diff_ids, image.diff_ids, strict=False))
            if best is None or shared > best[0]:
                best = (shared, found)
        return best[1] if best else None

    def _found(self, reference: str) -> Image | None:
        try:
            return self.image(reference)
        except (NotThere, UnknownShape):
            return None

    def _manifest(self, reference: str, repository: str = "") -> Manifest:
        found = self._api.manifest(repository or self._repository, reference)
        self.fetched += len(found.raw)
        return found

    def _config(self, repository: str, manifest: Manifest) -> dict[str, Any]:
        named = manifest.document.get("config")
        digest = named.get("digest") if isinstance(named, Mapping) else None
        if not isinstance(digest, str):
            raise UnknownShape("its manifest names no configuration")
        raw = self._api.blob(repository, digest, CONFIG_LIMIT)
        self.fetched += len(raw)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise UnknownShape("its configuration is no JSON object")
        return document

    def _chosen(self, index: Mapping[str, Any]) -> str:
        children = [one for one in index.get("manifests") or () if isinstance(one, Mapping)]
        images = {platform: one for one in reversed(children) if (platform := _platform(one)) != "unknown/unknown"}
        chosen = images.get(self._platform) or next(reversed(images.values()), None)
        if chosen is None or not isinstance(chosen.get("digest"), str):
            raise UnknownShape("it is an index without an image")
        return str(chosen["digest"])

    def _on_its_base(self, image: Image) -> Image:
        """With the end of the base image as the base itself tells it, if it lies in the same registry."""
        host, _, path = image.base_name.partition("/")
        if not image.base_digest or host != self._registry:
            return image
        base = path.partition("@")[0].partition(":")[0]
        try:
            manifest = self._manifest(image.base_digest, base)
            if manifest.is_index:
                manifest = self._manifest(self._chosen(manifest.document), base)
            return on_base(image, image_of(manifest.document, self._config(base, manifest), manifest.digest))
        except (PermanentError, UnknownShape):
            return image  # it may be gone, or not for us to see: then the history has to do


def _platform(child: Mapping[str, Any]) -> str:
    said = child.get("platform")
    return f"{said.get('os')}/{said.get('architecture')}" if isinstance(said, Mapping) else ""


def _siblings(tags: list[str], tag: str) -> list[str]:
    """The other tags, those first that come just before this one when numbers count as numbers."""
    ordered = sorted({*tags, tag}, key=_natural)
    at = ordered.index(tag)
    return [*reversed(ordered[:at]), *ordered[at + 1 :]][:SIBLINGS]


def _natural(tag: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(tag)]
