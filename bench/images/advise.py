"""What advice on an image fetches from a registry, against what pulling it would.

A real registry holds two pushes of an image as builders make them: a base of 4 layers and 8 of its own, 40 MB in all,
with a history of 30 entries. The toil type's own reader looks at the second push and finds the first one by its digest,
as after an earlier run, and, where nothing is remembered, among 20 other tags. Bytes are those of the answers' bodies.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from functions.advise_image_layers.reading import Reader
from functions.advise_image_layers.rebuild import compare
from local.processes import free_port
from local.registry import Registry
from paydown.clients.registry import RegistryApi, open_registry
from paydown.clients.registry_content import OCI_MANIFEST, Manifest
from paydown.inventory import Inventory

BASE, OWN = 4, 8
LAYER = 3_500_000
EMPTY = 18
"""Entries of the history that make no layer."""
TAGS = 20
NAME = "bench/app"


def measure() -> dict[str, float]:
    """The larger share of an image's bytes that advice on it fetched, in the two cases."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Registry(Path(folder), f"http://127.0.0.1:{free_port()}/", "unused") as running,
    ):
        declared = [{"uid": "bench", "name": running.host, "url": running.url}]
        repository = Inventory.parse({"registries": declared}).repository(running.host, NAME)
        if repository is None:
            raise RuntimeError("the registry does not answer to its name")
        api = open_registry(repository.registry, lambda _: None)
        layers = [os.urandom(LAYER) for _ in range(BASE + OWN)]
        before = push(api, "latest", layers)
        for number in range(TAGS):
            tag(api, f"1.{number}", before)
        layers[-3:] = [os.urandom(LAYER) for _ in range(3)]
        now = push(api, "latest", layers)
        pulled = len(now.raw) + sum(layer["size"] for layer in [now.document["config"], *now.document["layers"]])

        shares = []
        for known in ([before.digest], []):
            reader = Reader(api, repository, "linux/amd64")
            image = reader.image("latest")
            earlier = reader.before(image, known, "latest")
            rebuilt = compare(earlier, image) if earlier else None
            if rebuilt is None or rebuilt.layers != 3:
                raise RuntimeError(f"not what was pushed: {rebuilt}")
            shares.append(reader.fetched / pulled)
            print(f"{reader.fetched} bytes fetched, {pulled} to pull: {shares[-1]:.4%}", file=sys.stderr)
    return {"advise_bytes_share": round(max(shares), 5)}


def push(api: RegistryApi, name: str, layers: Sequence[bytes]) -> Manifest:
    """Push an image of these layers."""
    created = datetime.now(UTC).isoformat()
    history = [
        {"created": created, "created_by": f"COPY part-{number} /srv/parts/{number} # buildkit", "comment": "buildkit"}
        for number in range(len(layers))
    ]
    history += [
        {"created": created, "created_by": f"ENV NUMBER_{number}={'x' * 100}", "empty_layer": True}
        for number in range(EMPTY)
    ]
    diff_ids = [digest(layer) for layer in layers]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "history": history, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    for content in (config, *layers):
        if not api.has_blob(NAME, digest(content)):
            api.upload_blob(NAME, digest(content), [content])
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
    }
    manifest = Manifest.made(document, OCI_MANIFEST)
    tag(api, name, manifest)
    return manifest


def tag(api: RegistryApi, name: str, manifest: Manifest) -> None:
    """Let a tag point to a manifest."""
    api.put_manifest(NAME, name, manifest)


def described(content: bytes, media_type: str) -> dict[str, object]:
    """The descriptor of content."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def digest(content: bytes) -> str:
    """Its SHA-256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
