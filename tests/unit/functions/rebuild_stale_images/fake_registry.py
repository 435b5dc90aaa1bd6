"""A registry in memory whose images are written as letters, one for each layer."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere


@dataclass
class FakeRegistry:
    """Repositories with tags, manifests and configurations."""

    held: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def push(
        self, repository: str, tag: str, layers: str, history: list[dict[str, Any]] | None = None, **notes: str
    ) -> str:
        """An image whose layers are letters."""
        ids = [f"sha256:{hashlib.sha256(one.encode()).hexdigest()}" for one in layers]
        steps = [{"created_by": f"COPY {one} / # buildkit"} for one in layers] if history is None else history
        raw = json.dumps({"rootfs": {"diff_ids": ids}, "history": steps, "config": None}).encode()
        self.blobs[digest_of(raw)] = raw
        annotations = {name.replace("_", "."): value for name, value in notes.items()}
        made = Manifest.made({"config": {"digest": digest_of(raw)}, "annotations": annotations}, OCI_MANIFEST)
        self.held[repository, tag] = self.held[repository, made.digest] = made
        return made.digest

    def repositories(self, patterns: tuple[str, ...]) -> list[str]:
        return sorted({name for name, _ in self.held}) if patterns == ("*",) else []

    def tags(self, repository: str) -> list[str]:
        return sorted(tag for name, tag in self.held if name == repository and ":" not in tag)

    def manifest(self, repository: str, reference: str) -> Manifest:
        with suppress(KeyError):
            return self.held[repository, reference]
        raise NotThere(reference)

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        return self.blobs[digest]
