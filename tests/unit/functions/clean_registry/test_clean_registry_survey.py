"""What manifests refer to, and which names of images are digests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.clean_registry.graph import Node
from functions.clean_registry.survey import attached_by_tag, digests_in, node_of
from paydown.clients.registry_content import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.errors import PermanentError

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def node(document: dict[str, Any], media_type: str = OCI_MANIFEST) -> Any:
    return node_of(Manifest.of(json.dumps(document).encode(), media_type))


def test_an_image_refers_to_its_blobs_and_its_subject() -> None:
    found = node(
        {
            "config": {"digest": A, "size": 5},
            "layers": [{"digest": B, "size": 7}, {"digest": B, "size": 7}],
            "subject": {"digest": C, "size": 1},
        }
    )
    assert (found.blobs, found.config, found.subject, found.children) == ({A: 5, B: 7}, A, C, ())


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_refers_to_its_children_and_a_build_cache_to_layers(media_type: str) -> None:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": B, "size": 9}
    found = node({"manifests": [{"mediaType": OCI_MANIFEST, "digest": A, "size": 1}, layer]}, media_type)
    assert (found.children, found.blobs) == ((A,), {B: 9})


@pytest.mark.parametrize(
    "document",
    [{"layers": [{"size": 1}]}, {"layers": ["x"]}, {"layers": {}}, {"config": {"digest": 5}}, {"subject": {}}],
)
def test_a_reference_that_is_not_understood_stops_everything(document: dict[str, Any]) -> None:
    with pytest.raises(PermanentError):
        node(document)


def test_a_list_that_go_left_out_is_empty() -> None:
    assert node({"layers": None}).blobs == {}


def test_a_kind_that_is_not_known_stops_everything() -> None:
    with pytest.raises(PermanentError, match="not known"):
        node({"signatures": []}, "application/vnd.docker.distribution.manifest.v1+prettyjws")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"images.example:5000/team/app@{A}", [A]),
        (f"docker-pullable://images.example/app@{A}", [A]),
        (A, [A]),
        ("images.example/app:latest", []),
        ("", []),
    ],
)
def test_digests_in_names_of_images(name: str, found: list[str]) -> None:
    assert list(digests_in([name])) == found


def test_tags_that_only_say_to_what_something_is_attached() -> None:
    nodes = {
        A: Node(A, config="c"),
        B: Node(B),  # an index
        C: Node(C, config="c"),
    }
    of_a = f"sha256-{'a' * 64}"
    tags = {
        of_a: B,
        f"{of_a}.sig": C,
        f"{of_a}.imgpkg": C,  # not what cosign makes
        f"sha256-{'c' * 64}": C,  # its own digest
        f"sha256-{'b' * 64}": C,  # an image, where a list of referrers would be an index
        "latest": A,
    }
    assert attached_by_tag(tags, nodes) == {of_a: A, f"{of_a}.sig": A}
    orphan = {f"sha256-{'d' * 64}.sig": C}
    assert attached_by_tag(orphan, nodes) == {}, "a repository of signatures alone"
    assert attached_by_tag(orphan | {"latest": A}, nodes) == {f"sha256-{'d' * 64}.sig": f"sha256:{'d' * 64}"}
