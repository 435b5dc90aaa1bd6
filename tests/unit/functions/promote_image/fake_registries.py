"""Registries in memory, with the methods that the toil type uses, and a scene in which they are promoted between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.promote_image import app
from functions.promote_image.app import PromoteImages, Settings
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import Event, Sweep
from paydown.inventory import Inventory, Promotion, Tag
from paydown.ledger import Ledger
from paydown.policy import Policy
from paydown.toil import Scene
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.ledgers import Clock

LAB, PROD = "lab.example", "prod.example"
ROUTE = {"stage": "prod", "from": LAB, "to": [PROD], "repositories": ["team/*"]}


@dataclass
class FakeRegistry:
    """`manifests` by repository and tag or digest, `blobs` by repository and digest; `writes` are told in order."""

    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    mounts: bool = True

    def blob_of(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        self.blobs[repository, digest] = content
        return {"digest": digest, "size": len(content)}

    def image(self, repository: str, tag: str | None, *layers: bytes, **more: Any) -> str:
        document = {
            "config": self.blob_of(repository, json.dumps([layer.hex() for layer in layers]).encode()),
            "layers": [self.blob_of(repository, layer) for layer in layers],
            **more,
        }
        return self.put(repository, tag, Manifest.made(document, OCI_MANIFEST))

    def index(self, repository: str, tag: str | None, *children: str, **more: Any) -> str:
        listed = [{"mediaType": OCI_MANIFEST, "digest": one} for one in children]
        return self.put(repository, tag, Manifest.made({"manifests": listed, **more}, OCI_INDEX))

    def put(self, repository: str, tag: str | None, manifest: Manifest) -> str:
        for name in filter(None, (tag, manifest.digest)):
            self.manifests[repository, name] = manifest
        return manifest.digest

    def digest(self, repository: str, reference: str) -> str | None:
        found = self.manifests.get((repository, reference))
        return found.digest if found else None

    def manifest(self, repository: str, reference: str) -> Manifest:
        if (repository, reference) not in self.manifests:
            raise NotThere(reference)
        return self.manifests[repository, reference]

    def referrers(self, repository: str, digest: str) -> list[Mapping[str, Any]]:
        listing = self.manifests.get((repository, digest.replace(":", "-", 1)))
        return list(listing.document["manifests"]) if listing else []

    def has_blob(self, repository: str, digest: str) -> bool:
        return (repository, digest) in self.blobs

    def blob_chunks(self, repository: str, digest: str) -> Iterator[bytes]:
        if (repository, digest) not in self.blobs:
            raise NotThere(digest)
        yield self.blobs[repository, digest]

    def mount_blob(self, repository: str, digest: str, origin: str) -> bool:
        if not self.mounts or (origin, digest) not in self.blobs:
            return False
        self.blobs[repository, digest] = self.blobs[origin, digest]
        self.writes.append(f"mount {digest}")
        return True

    def upload_blob(self, repository: str, digest: str, pieces: Iterable[bytes]) -> None:
        content = b"".join(pieces)
        self.blobs[repository, digest] = content
        self.writes.append(f"upload {digest}")

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> str:
        for one in manifest.document.get("manifests", ()):
            if (repository, one["digest"]) not in self.manifests:
                raise PermanentError(f"a child is missing: {one['digest']}")
        self.put(repository, reference, manifest)
        self.writes.append(f"put {reference}")
        return manifest.digest


class World:
    """Two registries, an inventory, a ledger and a clock."""

    def __init__(self, monkeypatch: Any, *routes: dict[str, Any], promotions: Iterable[Promotion] = ()) -> None:
        self.lab, self.prod = FakeRegistry(), FakeRegistry()
        self.clock = Clock()
        self.ledger: Ledger = memory_ledger(MemoryDynamo())
        self.routes = [{**ROUTE, **route} for route in routes or ({},)]
        self.declared = tuple(promotions)
        self.operators: list[tuple[str, bool]] = []
        self.policy: dict[str, Any] = {}
        monkeypatch.setattr(app, "open_registry", self._open)

    def _open(self, registry: Any, secret: Any, *, operator: bool) -> FakeRegistry:
        self.operators.append((registry.name, operator))
        return {LAB: self.lab, PROD: self.prod}[registry.name]

    @property
    def inventory(self) -> Inventory:
        registries = [
            {"uid": uid, "name": name, "url": f"https://{name}", "repositories": ["team/*", "shop/*"]}
            for uid, name in (("lab", LAB), ("prod", PROD))
        ]
        made = Inventory.parse({"registries": registries})
        return made.model_copy(update={"promotions": (*self.declared, *self.ledger.promotions.all())})

    def target(self, tag: str = "1.0", repository: str = "team/app") -> Tag:
        found = self.inventory.tag(LAB, repository, tag)
        assert found is not None
        return found

    def toil(self, observing: bool = False, event: Event | None = None) -> PromoteImages:
        return PromoteImages(
            Scene(
                run_id="1f0c",
                event=event or Sweep(key="k", at=self.clock(), rule="any"),
                inventory=self.inventory,
                policy=Policy.parse({"toils": {"promote_image": self.policy}}),
                settings=Settings.model_validate({"routes": self.routes}),
                observing=observing,
                now=self.clock,
                nudge=lambda *_: None,
                has_run=lambda *_: False,
                images=self.ledger.images,
                promotions=self.ledger.promotions,
            )
        )
