"""What the registry client writes, reads back and deletes, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paydown.clients import registry as registry_client
from paydown.clients.registry_content import Manifest, digest_of
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from tests.real.registry_images import Images, images

ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    with images(tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_what_is_written_is_read_back(pushed: Images) -> None:
    api, repository = pushed.api, pushed.repository
    image = pushed.image("1", b"layer")
    by_tag, by_digest = api.manifest(repository, "1"), api.manifest(repository, image)
    assert by_tag == by_digest
    assert (by_tag.digest, by_tag.is_index) == (image, False)
    [layer] = by_tag.document["layers"]
    assert api.blob(repository, layer["digest"], 5) == b"layer"
    assert api.has_blob(repository, layer["digest"])
    assert not api.has_blob(repository, ABSENT)
    with pytest.raises(PermanentError, match="more than 4 bytes"):
        api.blob(repository, layer["digest"], 4)
    with pytest.raises(NotThere):
        api.blob(repository, ABSENT, 5)
    with pytest.raises(NotThere):
        api.manifest(repository, "none")


def test_an_index_keeps_its_bytes(pushed: Images) -> None:
    index = pushed.index("multi", pushed.image(None, b"a"), pushed.image(None, b"b"))
    found = pushed.api.manifest(pushed.repository, "multi")
    assert (found.digest, found.is_index) == (index, True)
    assert digest_of(found.raw) == index


def test_a_blob_travels_in_pieces(pushed: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_client, "UPLOAD_PIECE", 1_000)
    content = bytes(range(256)) * 20
    digest = digest_of(content)
    pieces = [content[at : at + 300] for at in range(0, len(content), 300)]
    pushed.api.upload_blob(pushed.repository, digest, iter(pieces))
    assert b"".join(pushed.api.blob_chunks(pushed.repository, digest)) == content


def test_a_blob_that_is_not_its_digest_leaves_nothing(pushed: Images) -> None:
    with pytest.raises(PermanentError, match="another digest"):
        pushed.api.upload_blob(pushed.repository, ABSENT, [b"something else"])
    assert not pushed.api.has_blob(pushed.repository, ABSENT)
    assert list(pushed.storage.rglob("_uploads/*/data")) == []


def test_a_blob_is_mounted_from_a_neighbour(pushed: Images) -> None:
    layer = pushed.blob(b"shared", "application/octet-stream")["digest"]
    assert not pushed.api.has_blob("team/other", layer)
    assert pushed.api.mount_blob("team/other", layer, pushed.repository)
    assert pushed.api.has_blob("team/other", layer)
    assert not pushed.api.mount_blob("team/other", ABSENT, pushed.repository)


def test_what_is_deleted_is_gone_with_its_tags(pushed: Images) -> None:
    image = pushed.image("gone", b"gone", mark="gone")
    pushed.api.delete_manifest(pushed.repository, image)
    assert pushed.api.digest(pushed.repository, image) is None
    assert "gone" not in pushed.api.tags(pushed.repository)
    with pytest.raises(NotThere):
        pushed.api.delete_manifest(pushed.repository, image)


def test_what_is_attached_lies_under_a_tag(pushed: Images) -> None:
    """Distribution 2 has no API for it."""
    image = pushed.image("signed", b"signed")
    assert pushed.api.referrers(pushed.repository, image) == []
    signature = pushed.image(None, b"signature", subject=image)
    pushed.index(image.replace(":", "-"), signature)
    assert [one["digest"] for one in pushed.api.referrers(pushed.repository, image)] == [signature]


@pytest.mark.parametrize("reference", ["../../x", "a b", "", "-x", "sha256:zz"])
def test_a_reference_that_would_change_an_address(pushed: Images, reference: str) -> None:
    with pytest.raises(PermanentError, match="no tag and no digest"):
        pushed.api.manifest(pushed.repository, reference)
    with pytest.raises(PermanentError, match="no digest"):
        pushed.api.delete_manifest(pushed.repository, reference)


def test_a_manifest_that_is_no_object() -> None:
    with pytest.raises(PermanentError, match="no JSON object"):
        Manifest.of(b"[]", "application/json")
    with pytest.raises(PermanentError, match="was asked for"):
        Manifest.of(b"{}", "application/json", ABSENT)
