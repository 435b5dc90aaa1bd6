"""An image as its registry describes it: which layers it has, and what its containers are started with."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paydown.clients.archives import Unreadable
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import DIGEST, Manifest
from paydown.clients.web import NotThere

CONFIG_MOST = 4 * 1024 * 1024
LAYERS_MOST = 127
"""As many as the Docker engine takes."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORMS: dict[str, type] = {
    **dict.fromkeys(("Cmd", "Entrypoint", "Env"), list),
    **dict.fromkeys(("ExposedPorts", "Healthcheck", "Labels", "Volumes"), dict),
    **dict.fromkeys(("StopSignal", "User", "WorkingDir"), str),
}
SHRUNK = "paydown.shrunk-from"
"""The label of an image that was made here."""


@dataclass(frozen=True)
class Original:
    """`digest` is that of the manifest, also of an image out of an index; `image_id` that of the configuration.

    `layers` are the digests of what is stored, the lowest first; `size` their bytes there.
    """

    digest: str
    media_type: str
    image_id: str
    layers: tuple[str, ...]
    size: int
    document: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """What containers are started with."""
        return _mapping(self.document.get("config"))

    @property
    def command(self) -> list[str]:
        """The words that a container runs: the entrypoint and what follows it."""
        return [*_words(self.config.get("Entrypoint")), *_words(self.config.get("Cmd"))]

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return dict(one.partition("=")[::2] for one in _words(self.config.get("Env")))

    @property
    def folder(self) -> str:
        """The working directory."""
        return posixpath.normpath(posixpath.join("/", str(self.config.get("WorkingDir") or "/")))

    @property
    def history(self) -> list[str]:
        """What the builder noted of each instruction."""
        entries = self.document.get("history")
        listed = entries if isinstance(entries, list) else []
        return [str(_mapping(entry).get("created_by") or "")[:8_000] for entry in listed]

    @property
    def candidates(self) -> list[str]:
        """Where its program may lie, in the order in which it is looked for."""
        name = self.command[0] if self.command else ""
        if "/" in name:
            return [posixpath.join(self.folder, name)]
        path = self.environment.get("PATH") or DEFAULT_PATH
        return [posixpath.join("/", folder, name) for folder in path.split(":")[:50] if folder] if name else []


def original(api: RegistryApi, repository: str, reference: str, platform: str) -> Original:
    """The image under a tag or digest; of an index, that of the platform. Raises NotThere and Unreadable."""
    top = api.manifest(repository, reference)
    manifest = api.manifest(repository, _chosen(top.document, platform)) if top.is_index else top
    named = _mapping(manifest.document.get("config")).get("digest")
    if not isinstance(named, str) or not DIGEST.fullmatch(named):
        raise Unreadable("its manifest names no configuration")
    try:
        document = json.loads(api.blob(repository, named, CONFIG_MOST))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unreadable("its configuration is no JSON object")
    _check(_mapping(document.get("config")))
    layers = list(_layers(manifest))
    if document.get("os", "linux") != "linux" or not layers:
        raise Unreadable("it is no image of Linux with layers")
    digests, sizes = zip(*layers, strict=True)
    return Original(manifest.digest, manifest.media_type, named, digests, sum(sizes), document)


def image_id(api: RegistryApi, repository: str, tag: str) -> str | None:
    """The digest of the configuration that a tag leads to, empty for an index; None if there is no such tag."""
    try:
        named = api.manifest(repository, tag).document.get("config")
    except NotThere:
        return None
    return str(named.get("digest") or "") if isinstance(named, dict) else ""


def _check(config: Mapping[str, Any]) -> None:
    """What containers are started with must have the specification's form: nothing of it is guessed. Unreadable."""
    for key, value in config.items():
        if value is None or key not in _FORMS:
            continue
        words = all(isinstance(word, str) for word in value) if isinstance(value, list) else True
        if not isinstance(value, _FORMS[key]) or not words:
            raise Unreadable(f"its configuration has a {key} of another form")
    labels = config.get("Labels") or {}
    if not all(isinstance(value, str) for value in labels.values()):
        raise Unreadable("its configuration has a label that is no text")


def _layers(manifest: Manifest) -> Iterator[tuple[str, int]]:
    listed = manifest.document.get("layers")
    if not isinstance(listed, list) or len(listed) > LAYERS_MOST:
        raise Unreadable("its manifest lists no layers, or too many")
    for layer in map(_mapping, listed):
        digest, size, kind = layer.get("digest"), layer.get("size"), str(layer.get("mediaType"))
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or not isinstance(size, int) or size < 0:
            raise Unreadable("its manifest does not say where its layers are")
        if layer.get("urls") or "tar" not in kind:
            raise Unreadable("a layer is not in the registry, or is no archive")
        yield digest, size


def _chosen(index: Mapping[str, Any], platform: str) -> str:
    for child in map(_mapping, index.get("manifests") or ()):
        said, digest = _mapping(child.get("platform")), child.get("digest")
        if f"{said.get('os')}/{said.get('architecture')}" == platform and isinstance(digest, str):
            return digest
    raise Unreadable(f"it is an index without an image for {platform}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
