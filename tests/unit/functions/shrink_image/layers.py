"""Layers made by hand, and images of them in a registry in memory."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.shrink_image.tree import Tree, tree_of
from paydown.clients.archives import Bounds
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere

File = bytes | tuple[str, str] | None
"""The content of a file, ("link" or "hard", target), or None for a folder."""


def layer(files: Mapping[str, File], **of_all: Any) -> bytes:
    """A tar archive; `of_all` is set on each entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            data = b""
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                entry.type = tarfile.SYMTYPE if content[0] == "link" else tarfile.LNKTYPE
                entry.linkname = content[1]
            else:
                data, entry.size = content, len(content)
            for key, value in of_all.items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def bounds(size: int = 100_000_000, entries: int = 10_000, seconds: float = 30) -> Bounds:
    return Bounds(size, entries, time.monotonic() + seconds)


def opener(layers: Sequence[bytes]) -> Callable[[int], Iterator[bytes]]:
    def opened(number: int) -> Iterator[bytes]:
        raw = layers[number]
        return iter([raw[at : at + 1_000] for at in range(0, len(raw), 1_000)])

    return opened


def tree(*layers: Mapping[str, File]) -> Tree:
    """The files of these layers, the lowest first."""
    made = [layer(one) for one in layers]
    return tree_of(len(made), opener(made), bounds())


@dataclass
class FakeRegistry:
    """`manifests` by tag and by digest. `written` are the tags that were put, `deleted` the digests."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def push(self, tag: str, layers: Sequence[bytes], history: Sequence[str] = (), **config: Any) -> str:
        """Push an image; its digest."""
        manifest = self.image(layers, history, **config)
        self.manifests |= {tag: manifest, manifest.digest: manifest}
        return manifest.digest

    def image(
        self, layers: Sequence[bytes], history: Sequence[str] = (), architecture: str = "amd64", **config: Any
    ) -> Manifest:
        document = {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-05-01T10:00:00Z",
            "config": config,
            "history": [{"created_by": said} for said in history],
            "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in layers]},
        }
        raw = json.dumps(document).encode()
        self.blobs |= {digest_of(one): one for one in (raw, *layers)}
        kind = "application/vnd.oci.image.layer.v1.tar"
        listed = [{"mediaType": kind, "digest": digest_of(one), "size": len(one)} for one in layers]
        return Manifest.made({"config": {"digest": digest_of(raw)}, "layers": listed}, OCI_MANIFEST)

    def index(self, tag: str, children: Mapping[str, Manifest]) -> None:
        listed = []
        for platform, child in children.items():
            self.manifests[child.digest] = child
            os, _, architecture = platform.partition("/")
            listed.append({"digest": child.digest, "platform": {"os": os, "architecture": architecture}})
        self.manifests[tag] = Manifest.made({"manifests": listed}, OCI_INDEX)

    def manifest(self, repository: str, reference: str) -> Manifest:
        if reference not in self.manifests:
            raise NotThere(reference)
        return self.manifests[reference]

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        return self.blobs[digest]

    def blob_chunks(self, repository: str, digest: str) -> Iterator[bytes]:
        raw = self.blobs[digest]
        return iter([raw[at : at + 65_536] for at in range(0, len(raw), 65_536)])

    def digest(self, repository: str, reference: str) -> str | None:
        found = self.manifests.get(reference)
        return found.digest if found else None

    def tags(self, repository: str) -> list[str]:
        return sorted(name for name in self.manifests if ":" not in name)

    def has_blob(self, repository: str, digest: str) -> bool:
        return digest in self.blobs

    def upload_blob(self, repository: str, digest: str, pieces: Iterable[bytes]) -> None:
        self.blobs[digest] = b"".join(pieces)

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> str:
        self.written.append(reference)
        self.manifests |= {reference: manifest, manifest.digest: manifest}
        return manifest.digest

    def delete_manifest(self, repository: str, digest: str) -> None:
        self.deleted.append(digest)
        self.manifests = {name: one for name, one in self.manifests.items() if one.digest != digest}
