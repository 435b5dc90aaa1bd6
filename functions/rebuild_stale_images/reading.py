"""Images read from registries: manifests and configurations, never a layer. All that they say is outside text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from functions.rebuild_stale_images.standing import Image, Layers
from paydown.clients.frozen import upgrades
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import DIGEST
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import utc

AT_ONCE = 8
CONFIG_LIMIT = 4 * 1024 * 1024
CHILDREN = 16
LAYERS = 200
FIRST = datetime(2013, 3, 1, tzinfo=UTC)
"""No image is older than Docker: an earlier time (1970 of SOURCE_DATE_EPOCH, the year 1) says that none is known."""
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

Upgraded = tuple[tuple[int, datetime], ...]


def read_all(api: RegistryApi, registry: str, tags: Iterable[tuple[str, str]]) -> Iterator[Image]:
    """The images under these tags (repository, tag); what is gone, or is no image, is left out."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for found in threads.map(lambda one: read(api, registry, *one), tags):
            if found is not None:
                yield found


def read(api: RegistryApi, registry: str, repository: str, tag: str) -> Image | None:
    """The image under a tag; None if it is gone, or is none."""
    try:
        top = api.manifest(repository, tag)
        manifests = [top]
        if top.is_index:
            listed = [one["digest"] for one in top.document.get("manifests") or () if _runs(one)][:CHILDREN]
            manifests = [api.manifest(repository, digest) for digest in listed]
        if not manifests or any(one.is_index for one in manifests):
            return None
        configs = [_config(api, repository, one.document) for one in manifests]
        layers = tuple(_layers(one) for one in configs)
        said: dict[str, str] = {}
        for config, manifest in zip(configs, manifests, strict=True):
            said |= _texts((config.get("config") or {}).get("Labels")) | _texts(manifest.document.get("annotations"))
        said |= _texts(top.document.get("annotations"))
        return Image(
            name=f"{registry}/{repository}:{tag}",
            digest=top.digest,
            layers=layers,
            digests=frozenset({top.digest, *(one.digest for one in manifests)}),
            configs=frozenset(one.document["config"]["digest"] for one in manifests),
            base_name=base_name(said.get(BASE_NAME, "")),
            base_digest=said.get(BASE_DIGEST, "") if DIGEST.fullmatch(said.get(BASE_DIGEST, "")) else "",
            upgraded=tuple(sorted({one for config in configs for one in _upgraded(config)})),
        )
    except NotThere:
        return None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None  # charts, signatures and worse lie in registries too
    except PermanentError as error:
        if "has more than" in str(error):
            return None
        raise


def base_name(said: str) -> str:
    """`registry/repository:tag` of an image's name: without a digest, and with the tag that none means."""
    name = said[:512].partition("@")[0]
    if not name:
        return ""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _config(api: RegistryApi, repository: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    found = json.loads(api.blob(repository, manifest["config"]["digest"], CONFIG_LIMIT))
    if not isinstance(found, dict):
        raise TypeError("a configuration is a JSON object")
    return found


def _layers(config: Mapping[str, Any]) -> Layers:
    found = tuple(config["rootfs"]["diff_ids"])
    if len(found) > LAYERS or not all(isinstance(one, str) and DIGEST.fullmatch(one) for one in found):
        raise ValueError("its layers have no digests")
    return found


def _upgraded(config: Mapping[str, Any]) -> Iterator[tuple[int, datetime]]:
    position = 0
    for entry in config.get("history") or ():
        if entry.get("empty_layer"):
            continue
        if upgrades(str(entry.get("created_by") or "")) and entry.get("created"):
            made = utc(str(entry["created"]))
            if made >= FIRST:
                yield position, made
        position += 1


def _runs(descriptor: Any) -> bool:
    """Whether an index means it to be run: attestations have the platform `unknown`."""
    platform = descriptor.get("platform")
    return not (isinstance(platform, dict) and platform.get("os") == "unknown")


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, Mapping) else {}
