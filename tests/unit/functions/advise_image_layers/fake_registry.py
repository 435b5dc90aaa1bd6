"""A registry in memory, with the methods that the toil type uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere
from tests.unit.functions.advise_image_layers.histories import CREATED, Entry, documents


@dataclass
class FakeRegistry:
    """`manifests` by tag and by digest; `asked` are the references that were read, `streamed` the layers."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)

    def push(self, tag: str, entries: Sequence[Entry], **config: Any) -> str:
        """Push an image; its digest."""
        return self.put(tag, self.image(entries, **config))

    def image(self, entries: Sequence[Entry], **config: Any) -> Manifest:
        manifest, configuration = documents(entries, **config)
        raw = json.dumps(configuration).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self.blobs[digest] = raw
        return Manifest.made({**manifest, "config": {"digest": digest}}, OCI_MANIFEST)

    def built(self, tag: str, steps: Sequence[tuple[str, bytes | None]], **config: Any) -> str:
        """Push an image whose layers are there, as what the history says and what is stored; its digest."""
        stored = [content for _, content in steps if content is not None]
        digests = [digest_of(content) for content in stored]
        history = [
            {"created": CREATED, "created_by": said, **({"empty_layer": True} if content is None else {})}
            for said, content in steps
        ]
        document = {"history": history, "rootfs": {"diff_ids": digests}, "config": config}
        raw = json.dumps(document).encode()
        self.blobs |= {digest_of(raw): raw, **dict(zip(digests, stored, strict=True))}
        layers = [{"digest": one, "size": len(it)} for one, it in zip(digests, stored, strict=True)]
        return self.put(tag, Manifest.made({"config": {"digest": digest_of(raw)}, "layers": layers}, OCI_MANIFEST))

    def index(self, tag: str, children: Mapping[str, Manifest]) -> str:
        """Push an index of images by their platforms."""
        listed = []
        for platform, child in children.items():
            self.manifests[child.digest] = child
            os, _, architecture = platform.partition("/")
            listed.append({"digest": child.digest, "platform": {"os": os, "architecture": architecture}})
        return self.put(tag, Manifest.made({"manifests": listed}, OCI_INDEX))

    def put(self, tag: str, manifest: Manifest) -> str:
        self.manifests |= {tag: manifest, manifest.digest: manifest}
        return manifest.digest

    def manifest(self, repository: str, reference: str) -> Manifest:
        self.asked.append(reference)
        if reference not in self.manifests:
            raise NotThere(reference)
        return self.manifests[reference]

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        return self.blobs[digest]

    def blob_chunks(self, repository: str, digest: str) -> Iterator[bytes]:
        if digest not in self.blobs:
            raise NotThere(digest)
        self.streamed.append(digest)
        raw = self.blobs[digest]
        return iter([raw[at : at + 65_536] for at in range(0, len(raw), 65_536)])

    def tags(self, repository: str) -> list[str]:
        return sorted(name for name in self.manifests if ":" not in name)
