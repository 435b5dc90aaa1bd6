"""Small images in a real registry, pushed by our own client, and links that look as old as a test wants them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import registry as local_registry
from local.registry import Registry
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.registry_storage import revisions
from paydown.inventory import FolderStorage, Repository
from paydown.inventory import Registry as Declared
from tests.servers import need

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
DAY = 86_400


@dataclass
class Images:
    """What is pushed to one repository of a registry."""

    registry: Registry
    repository: str = "team/app"
    api: RegistryApi = field(init=False)

    def __post_init__(self) -> None:
        self.api = RegistryApi(self.registry.url, dict)

    @property
    def target(self) -> Repository:
        """The repository as an inventory has it."""
        storage = FolderStorage(via="folder", path=str(self.storage))
        name = self.registry.host
        declared = Declared(
            uid=name, name=name, url=self.registry.url, repositories=(self.repository,), storage=storage
        )
        return Repository(uid=f"{name}/{self.repository}", name=self.repository, registry=declared)

    @property
    def storage(self) -> Path:
        """Where the registry keeps its content."""
        return self.registry.folder / "images"

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Upload a blob; its descriptor."""
        digest = digest_of(content)
        self.api.upload_blob(self.repository, digest, [content])
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def image(self, tag: str | None, *layers: bytes, subject: str | None = None, mark: str = "") -> str:
        """Push an image under a tag, or by its digest; its digest."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(json.dumps({"architecture": "amd64", "os": "linux", "mark": mark}).encode(), CONFIG),
            "layers": [self.blob(layer, LAYER) for layer in layers],
        }
        if subject:
            document["subject"] = self.descriptor(subject)
        return self.put(tag, Manifest.made(document, OCI_MANIFEST))

    def index(self, tag: str | None, *children: str) -> str:
        """Push an index of manifests that are there."""
        platforms = ("amd64", "arm64", "s390x")
        listed = [
            {**self.descriptor(child), "platform": {"os": "linux", "architecture": platforms[number % 3]}}
            for number, child in enumerate(children)
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return self.put(tag, Manifest.made(document, OCI_INDEX))

    def sign(self, digest: str) -> str:
        """As signers of OCI 1.1 do to a registry that lists no referrers: the signature, and the list under a tag."""
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SIGNATURE,
            "config": self.blob(b"{}", EMPTY),
            "layers": [self.blob(b"signed", SIMPLE)],
            "subject": self.descriptor(digest),
        }
        signature = self.put(None, Manifest.made(document, OCI_MANIFEST))
        listing = {**self.descriptor(signature), "artifactType": SIGNATURE}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listing]}
        self.put(digest.replace(":", "-", 1), Manifest.made(index, OCI_INDEX))
        return signature

    def descriptor(self, digest: str) -> dict[str, Any]:
        """The descriptor of a manifest that is there."""
        found = self.api.manifest(self.repository, digest)
        return {"mediaType": found.media_type, "digest": digest, "size": len(found.raw)}

    def put(self, tag: str | None, manifest: Manifest) -> str:
        """Write a manifest; its digest."""
        return self.api.put_manifest(self.repository, tag or manifest.digest, manifest)

    def age(self, days: float = 30) -> None:
        """Make all that was pushed so far look as old as this."""
        moment = time.time() - days * DAY
        for path in self.storage.rglob("_manifests/**/link"):
            os.utime(path, (moment, moment))

    def there(self) -> set[str]:
        """The digests of the manifests that the registry still answers for."""
        listed = revisions(FolderStorage(via="folder", path=str(self.storage)), self.repository)
        return {one.digest for one in listed if self.api.digest(self.repository, one.digest) is not None}

    def blob_bytes(self) -> int:
        """The bytes of all blobs in the registry's storage."""
        return sum(path.stat().st_size for path in self.storage.glob("docker/registry/v2/blobs/*/*/*/data"))

    def collect_garbage(self) -> None:
        """The registry's own collector, which takes the blobs that no manifest names."""
        command = [local_registry.program() or "", "garbage-collect", str(self.registry.folder / "registry.json")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def images(folder: Path) -> Iterator[Images]:
    """A registry that runs meanwhile."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with Registry(folder, "http://127.0.0.1:9/", "unused") as running:
        yield Images(running)
