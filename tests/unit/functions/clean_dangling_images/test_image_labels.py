"""Only images with the labels that the policy asks for: what protects the other images of a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paydown.clients.docker_hosts.reading import image as read
from paydown.plan import Draft
from tests.unit.functions.clean_dangling_images.test_clean_dangling_images_app import (
    BUILD_1,
    FakeHost,
    cleaner,
    host,
    identity,
    image,
)

__all__ = ["host"]

INSPECTED = {"Id": identity(1), "Created": "2026-07-01T09:00:00Z", "Size": 1, "RepoTags": []}


def test_only_images_with_all_the_labels_are_planned(host: FakeHost) -> None:
    host.dangling = (
        image(1, 9000),
        replace(image(2, 9000), labels={"team": "a"}),
        replace(image(3, 9000), labels={"team": "a", "stage": "test", "more": ""}),
        replace(image(4, 9000), labels={"team": "b", "stage": "test"}),
    )
    draft = cleaner(labels={"team": "a", "stage": "test"}).plan(BUILD_1)
    assert isinstance(draft, Draft)
    assert [action.object for stage in draft.stages for action in stage] == [identity(3)]
    assert draft.before["unlabelled"] == 3


def test_images_without_the_labels_make_nobody_wait(host: FakeHost) -> None:
    host.dangling = (image(1, 1),)
    draft = cleaner(labels={"team": "a"}).plan(BUILD_1)
    assert isinstance(draft, Draft)
    assert not draft.stages


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ({"Config": {"Labels": {"a": "b"}}}, {"a": "b"}),  # the docker library
        ({"Labels": {"a": "b"}}, {"a": "b"}),  # our document
        ({"Labels": None}, {}),
        ({"Config": None}, {}),
        ({"Config": {"Labels": None}}, {}),
        ({}, {}),
    ],
)
def test_labels_are_read_however_they_come(more: dict[str, object], labels: dict[str, str]) -> None:
    assert read({**INSPECTED, **more}).labels == labels
