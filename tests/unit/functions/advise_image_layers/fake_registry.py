"""A registry in memory, with the methods that the toil type uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.clients.web import NotThere
from tests.unit.functions.advise_image_layers.histories import Entry, documents


@dataclass
class FakeRegistry:
    """`manifests` by tag and by digest; `asked` are the references that were read."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def push(self, tag: str, entries: Sequence[Entry], **config: Any) -> str:
        """Push an image; its digest."""
        return self.put(tag, self.image(entries, **config))

    def image(self, entries: Sequence[Entry], **config: Any) -> Manifest:
        manifest, configuration = documents(entries, **config)
        raw = json.dumps(configuration).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self.blobs[digest] = raw
        return Manifest.made({**manifest, "config": {"digest": digest}}, OCI_MANIFEST)

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

    def tags(self, repository: str) -> list[str]:
        return sorted(name for name in self.manifests if ":" not in name)
