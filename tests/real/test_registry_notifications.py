"""A real CNCF Distribution registry notifies ingress over the wire; images are pushed by its HTTP API."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import registry as local_registry
from local.registry import Registry
from tests.fixtures.ingress import SECRET
from tests.real.ingress_server import Front, front_door
from tests.servers import need

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def front() -> Iterator[Front]:
    with front_door() as front:
        yield front


@pytest.fixture
def registry(front: Front, tmp_path: Path) -> Iterator[Registry]:
    with start(front, tmp_path) as running:
        yield running


def start(front: Front, folder: Path, token: str = SECRET, query: str = "", blobs: bool = False) -> Registry:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    return Registry(folder, front.url("registry", query), token, blobs)


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def call(method: str, url: str, body: bytes | None = None, kind: str = "application/octet-stream") -> Any:
    headers = {"Content-Type": kind, "Accept": f"{DOCKER}, {OCI}, {INDEX}"}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 -- our own loopback address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- our own loopback address
        return answer.headers


def upload(registry: Registry, repository: str, content: bytes) -> dict[str, Any]:
    place = call("POST", f"{registry.url}/v2/{repository}/blobs/uploads/", b"")["Location"]
    call("PUT", f"{place}&digest={digest(content)}", content)
    return {"size": len(content), "digest": digest(content)}


def push(registry: Registry, repository: str, reference: str | None, content: str, kind: str = DOCKER) -> str:
    """Push an image that differs by `content`, under a tag or (None) by its digest; its digest."""
    config = upload(registry, repository, json.dumps({"architecture": "amd64", "os": "linux", "c": content}).encode())
    layer = upload(registry, repository, content.encode())
    family = "vnd.oci.image" if kind == OCI else "vnd.docker"
    config_type = (
        f"application/{family}.config.v1+json" if kind == OCI else "application/vnd.docker.container.image.v1+json"
    )
    layer_type = (
        "application/vnd.oci.image.layer.v1.tar" if kind == OCI else "application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"mediaType": config_type, **config},
        "layers": [{"mediaType": layer_type, **layer}],
    }
    return put_manifest(registry, repository, reference, manifest)


def put_manifest(registry: Registry, repository: str, reference: str | None, manifest: dict[str, Any]) -> str:
    body = json.dumps(manifest).encode()
    url = f"{registry.url}/v2/{repository}/manifests/{reference or digest(body)}"
    call("PUT", url, body, manifest["mediaType"])
    return digest(body)


def moves(front: Front) -> list[tuple[str, str | None, str]]:
    return [(event.repository, event.tag, event.digest) for event in front.events]


def test_a_tag_that_moves_there_and_back_is_three_events(front: Front, registry: Registry) -> None:
    a = push(registry, "team/app", "latest", "a")
    b = push(registry, "team/app", "latest", "b")
    push(registry, "team/app", "latest", "a")
    front.until(lambda: len(front.events) == 3)
    assert moves(front) == [("team/app", "latest", a), ("team/app", "latest", b), ("team/app", "latest", a)]
    assert len({event.key for event in front.events}) == 3
    assert {event.registry for event in front.events} == {registry.host}
    assert set(front.statuses) == {202}


def test_an_index_is_one_event_by_its_tag(front: Front, registry: Registry) -> None:
    child = push(registry, "team/multi", None, "child", OCI)
    size = int(call("HEAD", f"{registry.url}/v2/team/multi/manifests/{child}")["Content-Length"])
    platform = {"architecture": "amd64", "os": "linux"}
    entry = {"mediaType": OCI, "size": size, "digest": child, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    pushed = put_manifest(registry, "team/multi", "2.0", index)
    front.until(lambda: front.events)
    assert moves(front) == [("team/multi", "2.0", pushed)]
    ignored = [one.answer["ignored"] for one in front.received if not one.answer["events"]]
    assert sum(ignored) >= 1


def test_layers_pulls_and_deletions_are_accepted_and_ignored(front: Front, tmp_path: Path) -> None:
    with start(front, tmp_path, blobs=True) as registry:
        pushed = push(registry, "team/app", "1", "a")
        call("GET", f"{registry.url}/v2/team/app/manifests/1")
        call("DELETE", f"{registry.url}/v2/team/app/manifests/{pushed}")
        front.until(lambda: any(b'"delete"' in one.body for one in front.received))
    assert moves(front) == [("team/app", "1", pushed)]
    assert sum(one.answer["ignored"] for one in front.received) >= 4
    assert set(front.statuses) == {202}


def test_the_address_may_name_the_registry(front: Front, tmp_path: Path) -> None:
    with start(front, tmp_path, query="?registry=images.example") as registry:
        push(registry, "team/app", "1", "a")
        front.until(lambda: front.events)
    assert front.events[0].registry == "images.example"


def test_while_the_bus_is_down_the_registry_repeats_in_order(front: Front, registry: Registry) -> None:
    front.ingress.bus.refusals = [1] * 6
    a = push(registry, "team/app", "1", "a")
    b = push(registry, "team/app", "2", "b")
    front.until(lambda: len(front.events) == 2)
    assert front.statuses == [503, 503, 202, 202]
    assert moves(front) == [("team/app", "1", a), ("team/app", "2", b)]


def test_a_wrong_token_puts_nothing_on_the_bus(front: Front, tmp_path: Path) -> None:
    with start(front, tmp_path, token="wrong") as registry:
        push(registry, "team/app", "1", "a")
        front.until(lambda: front.received)
    assert set(front.statuses) == {401}
    assert front.events == []
