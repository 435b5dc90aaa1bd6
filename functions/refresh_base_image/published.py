"""A base image in its registry: what `current` is, and the manifest under which a new one is published.

What a base was made of stands in the annotations of its manifest, so that one look at the registry tells whether there
is anything to do. Annotations come from the registry: they are compared, never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import DOCKER_MANIFEST, OCI_MANIFEST, Manifest
from paydown.clients.web import NotThere
from paydown.errors import PermanentError

CURRENT = "current"
PACKAGES = "paydown.base.packages"
RECIPE = "paydown.base.recipe"

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
LARGEST_CONFIG = 1_000_000


@dataclass(frozen=True)
class Published:
    """A base image in a registry. `packages` holds versions by `name/architecture`; none if nobody wrote them down."""

    manifest: Manifest
    config: str
    diff_ids: tuple[str, ...]
    packages: Mapping[str, str]
    recipe: str

    @property
    def digest(self) -> str:
        """That of its manifest."""
        return self.manifest.digest


def published(api: RegistryApi, repository: str, reference: str) -> Published | None:
    """The image under a tag or digest; None if there is none. Raises PermanentError for what is no single image."""
    try:
        manifest = api.manifest(repository, reference)
        if manifest.is_index:
            raise PermanentError(f"{repository}:{reference} is an index: a base image is a single one")
        descriptor = manifest.document.get("config")
        config = descriptor.get("digest") if isinstance(descriptor, dict) else None
        if not isinstance(config, str):
            raise PermanentError(f"{repository}:{reference} has no configuration")
        content = json.loads(api.blob(repository, config, LARGEST_CONFIG))
        diff_ids = tuple(str(one) for one in content["rootfs"]["diff_ids"])
    except NotThere:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"{repository}:{reference}: its configuration makes no sense: {error!r}") from error
    notes = manifest.document.get("annotations")
    notes = notes if isinstance(notes, dict) else {}
    return Published(manifest, config, diff_ids, _versions(notes.get(PACKAGES)), str(notes.get(RECIPE, "")))


def annotated(pushed: Published, notes: Mapping[str, str]) -> Manifest:
    """The same image as an OCI manifest with these annotations. The same input gives the same digest."""
    document = pushed.manifest.document
    if pushed.manifest.media_type not in (DOCKER_MANIFEST, OCI_MANIFEST):
        raise PermanentError(f"{pushed.digest} is of the kind {pushed.manifest.media_type[:100]!r}")
    of_docker = pushed.manifest.media_type == DOCKER_MANIFEST
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(document["config"], _CONFIG if of_docker else None),
        "layers": [_descriptor(layer, _LAYER if of_docker else None) for layer in document["layers"]],
        "annotations": dict(sorted(notes.items())),
    }
    return Manifest.made(made, OCI_MANIFEST)


def notes_for(
    title: str, version: str, created: datetime, source: str, packages: Mapping[str, str], recipe: str
) -> dict[str, str]:
    """The annotations of a base image: those of the OCI image specification, and what it was made of."""
    return {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "org.opencontainers.image.source": source,
        "org.opencontainers.image.base.name": "scratch",
        PACKAGES: " ".join(f"{name}={packages[name]}" for name in sorted(packages)),
        RECIPE: recipe,
    }


def _versions(text: Any) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split()) if isinstance(text, str) else ()
    return {name: version for name, equals, version in pairs if equals}


def _descriptor(one: Mapping[str, Any], media_type: str | None) -> dict[str, Any]:
    return {"mediaType": media_type or one["mediaType"], "digest": one["digest"], "size": one["size"]}
