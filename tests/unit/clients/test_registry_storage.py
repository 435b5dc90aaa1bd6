"""Manifests of a repository in a bucket, and how long each has been without a sign of life."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from paydown.clients import aws, registry_storage
from paydown.clients.registry_storage import revisions
from paydown.errors import PermanentError
from paydown.inventory import FolderStorage, S3Storage

START = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (letter * 64 for letter in "abc")
BUCKET = S3Storage(via="s3", bucket="images", prefix="/registry/")


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        aws.forget()
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="images", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

        def written(days: int, path: str, repository: str = "team/app") -> None:
            base = f"registry/docker/registry/v2/repositories/{repository}/_manifests"
            s3.put_object(Bucket="images", Key=f"{base}/{path}", Body=b"x")
            kept = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["images"].keys[f"{base}/{path}"]
            kept.last_modified = START + timedelta(days=days)

        yield written
    aws.forget()


def found(repository: str = "team/app") -> dict[str, int]:
    """Days since the start, by the digest's first letter."""
    return {one.digest[7]: (one.since - START).days for one in revisions(BUCKET, repository)}


def test_what_is_kept_and_since_when(put) -> None:
    put(0, f"revisions/sha256/{A}/link")
    put(1, f"revisions/sha256/{B}/link")
    put(2, f"revisions/sha256/{C}/link", "team/other")
    put(3, f"_layers/sha256/{C}/link")
    assert found() == {"a": 0, "b": 1}
    assert found("team/none") == {}


def test_a_tag_that_moved_is_a_sign_of_life_of_what_it_left(put) -> None:
    for day, digest in enumerate((A, B, C)):
        put(day, f"revisions/sha256/{digest}/link")
        put(10 * day, f"tags/latest/index/sha256/{digest}/link")
    put(40, "tags/latest/current/link")
    assert found() == {"a": 10, "b": 20, "c": 2}


def test_the_last_of_several_tags_counts(put) -> None:
    put(0, f"revisions/sha256/{A}/link")
    for tag, moved in (("one", 5), ("two", 9), ("three", 7)):
        put(0, f"tags/{tag}/index/sha256/{A}/link")
        put(moved, f"tags/{tag}/index/sha256/{B}/link")
    assert found() == {"a": 9}


def test_too_many_links_are_for_a_person(put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_storage, "MOST_LINKS", 1)
    put(0, f"revisions/sha256/{A}/link")
    put(0, f"revisions/sha256/{B}/link")
    with pytest.raises(PermanentError, match="more than 1 links"):
        found()


def test_a_bucket_or_folder_that_cannot_be_read(put, tmp_path) -> None:
    with pytest.raises(PermanentError, match="NoSuchBucket"):
        revisions(S3Storage(via="s3", bucket="elsewhere"), "team/app")
    with pytest.raises(PermanentError, match="no folder"):
        revisions(FolderStorage(via="folder", path=str(tmp_path / "none")), "team/app")
    with pytest.raises(PermanentError, match="no name"):
        revisions(FolderStorage(via="folder", path=str(tmp_path)), "../../etc")
