"""The smaller image itself: one layer with the program and what goes along, made the same each time.

No times, no names of owners, sorted paths: the same original gives the same configuration, and with it the same image,
so that whoever makes it again finds that it is there.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from functions.shrink_image.original import SHRUNK, Original
from functions.shrink_image.tree import Entry, Tree
from paydown.clients.archives import Unreadable
from paydown.clients.registry_content import DOCKER_MANIFEST, OCI_MANIFEST, Manifest, digest_of

_OCI = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
_DOCKER = (
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
KEPT = (
    "ArgsEscaped",
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
)
PLATFORM = ("architecture", "os", "variant", "os.version")
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Made:
    """An image: its configuration, its one layer as a tar archive and as it is stored, and its manifest."""

    config: bytes
    layer: bytes
    stored: bytes
    manifest: Manifest
    paths: tuple[str, ...]

    @property
    def image_id(self) -> str:
        """The digest of its configuration: the Docker engine calls it so, and it is the same wherever it was packed."""
        return digest_of(self.config)

    @property
    def blobs(self) -> dict[str, bytes]:
        """What the manifest names, by digest."""
        return {self.image_id: self.config, digest_of(self.stored): self.stored}

    @property
    def size(self) -> int:
        """Bytes of its layer in the registry."""
        return len(self.stored)

    def archive(self) -> Iterator[bytes]:
        """What `docker image load` takes, piece by piece; it gives the image no name."""
        layer = f"{hashlib.sha256(self.layer).hexdigest()}/layer.tar"
        config = f"{self.image_id.partition(':')[2]}.json"
        listing = json.dumps([{"Config": config, "RepoTags": None, "Layers": [layer]}]).encode()
        for name, content in ((config, self.config), (layer, self.layer), ("manifest.json", listing)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            yield entry.tobuf()
            yield content
            yield bytes(-len(content) % 512)
        yield bytes(1024)


def made(
    original: Original, name: str, files: Mapping[str, tuple[Entry, bytes]], folders: AbstractSet[str], tree: Tree
) -> Made:
    """The image with these files and folders, by their absolute paths. `name` is what the original is called."""
    layer, paths = _layer(files, folders, tree)
    document = original.document
    config = {key: value for key in KEPT if (value := original.config.get(key)) not in (None, "", [], {})}
    config["Labels"] = {**(config.get("Labels") or {}), SHRUNK: f"{name}@{original.digest}"}
    created = str(document.get("created") or _EPOCH)
    made_config = {
        **{key: document[key] for key in PLATFORM if document.get(key)},
        "config": config,
        "created": created,
        "history": [{"created": created, "created_by": f"paydown shrink_image of {original.digest}"}],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
    }
    raw = json.dumps(made_config, sort_keys=True, separators=(",", ":")).encode()
    stored = gzip.compress(layer, 6, mtime=0)
    oci = original.media_type == OCI_MANIFEST
    config_type, layer_type = _OCI if oci else _DOCKER
    media_type = OCI_MANIFEST if oci else DOCKER_MANIFEST
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": digest_of(raw), "size": len(raw)},
        "layers": [{"mediaType": layer_type, "digest": digest_of(stored), "size": len(stored)}],
    }
    return Made(raw, layer, stored, Manifest.made(manifest, media_type), paths)


def _layer(
    files: Mapping[str, tuple[Entry, bytes]], folders: AbstractSet[str], tree: Tree
) -> tuple[bytes, tuple[str, ...]]:
    above = {one for path in (*files, *folders) for one in _above(path)}
    wanted = {one.strip("/") for one in {*above, *folders}} - {""} - {path.strip("/") for path in files}
    entries = [(path, None) for path in wanted] + [(path.strip("/"), path) for path in files]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, file in sorted(entries):
            try:
                path.encode()
            except UnicodeEncodeError:
                raise Unreadable("a file that it needs has a name that is no text") from None
            info = tarfile.TarInfo(path)
            if file is None:
                at = tree.resolve(path)
                known = at[1] if at and at[1].kind == "folder" else Entry("folder")
                info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, known.mode, known.uid, known.gid
                tar.addfile(info)
            else:
                entry, content = files[file]
                info.size, info.mode, info.uid, info.gid = len(content), entry.mode, entry.uid, entry.gid
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), tuple(sorted(f"/{path}" for path, file in entries if file is not None))


def _above(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) not in ("", "/"):
        yield path
