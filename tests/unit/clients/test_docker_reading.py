"""Reading what engines and our documents write."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.clients.docker_hosts.model import Fate
from paydown.clients.docker_hosts.reading import driver_name, image, one_line, repositories
from paydown.clients.docker_hosts.report import read_listing, read_removals
from paydown.errors import PermanentError

ID = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
LAYER = "sha256:" + "1" * 64
INFO = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "DockerRootDir": "/var/lib/docker",
    "SystemTime": "2026-07-01T12:00:00.588958259Z",
}
INSPECTED = {
    "Id": ID,
    "Created": "2026-07-01T09:00:00.5Z",
    "Size": 5,
    "RepoTags": [],
    "RepoDigests": None,
    "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
}


def at(hour: int, micro: int = 0) -> datetime:
    return datetime(2026, 7, 1, hour, 0, 0, micro, UTC)


@pytest.mark.parametrize("metadata", [{"LastTagTime": "0001-01-01T00:00:00Z"}, {"LastTagTime": None}, {}, None])
def test_an_image_that_was_never_tagged_is_as_old_as_its_build(metadata: Any) -> None:
    read = image({**INSPECTED, "Metadata": metadata})
    assert (read.tagged, read.since, read.digests, read.pulled) == (None, at(9, 500_000), (), False)


def test_a_tag_makes_it_younger_but_never_older() -> None:
    later = image({**INSPECTED, "Metadata": {"LastTagTime": "2026-07-01T11:00:00.123456789+01:00"}})
    assert later.since == at(10, 123_456)
    assert image({**INSPECTED, "Metadata": {"LastTagTime": "2026-07-01T08:00:00Z"}}).since == at(9, 500_000)


def test_pulled_means_a_digest_and_never_a_tag() -> None:
    digests = ["r:5000/app@" + OTHER]
    assert image({**INSPECTED, "RepoDigests": digests}).pulled
    tagged = {"LastTagTime": "2026-07-01T08:00:00Z"}
    assert not image({**INSPECTED, "RepoDigests": digests, "Metadata": tagged}).pulled


def test_repositories_of_an_image() -> None:
    names = [f"r:5000/app@{ID}", f"r:5000/app@{OTHER}", f"r/other@{ID}"]
    assert repositories({"RepoDigests": names}) == {"r:5000/app", "r/other"}
    assert repositories({"RepoDigests": None}) == set()


def test_the_containerd_store_is_named() -> None:
    assert driver_name(INFO) == "overlay2"
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert driver_name({"Driver": "overlayfs", "DriverStatus": status}) == "overlayfs (containerd)"
    assert driver_name({"Driver": "vfs", "DriverStatus": None}) == "vfs"


def test_one_line_is_one_line() -> None:
    assert one_line("a\n\tb  c" + "x" * 400) == "a b c" + "x" * 295


def listing(*lines: str) -> str:
    return "\n".join([*lines, "paydown-end", ""])


def test_a_listing() -> None:
    read = read_listing(
        "build-1",
        listing(
            "info " + json.dumps(INFO),
            "free 83498299392",
            "image " + json.dumps(INSPECTED),
            "image " + json.dumps({**INSPECTED, "Id": OTHER, "RepoTags": ["app:1"]}),
            f"used {OTHER}",
            f"present {ID}",
            f"present {OTHER}",
        ),
    )
    assert (read.clock, read.driver, read.root) == (at(12, 588_958), "overlay2", "/var/lib/docker")
    assert [one.id for one in read.dangling] == [ID], "one that got a tag meanwhile does not dangle"
    assert (read.used, read.present, read.free) == ({OTHER}, {ID, OTHER}, 83_498_299_392)


@pytest.mark.parametrize("output", ["", listing("info {"), listing("info []"), listing("info {}", "free x")])
def test_a_listing_that_makes_no_sense(output: str) -> None:
    with pytest.raises(PermanentError, match="build-1: the list of images makes no sense"):
        read_listing("build-1", output)


def test_removals() -> None:
    inspected = {"Id": ID, "Size": 7, "RootFS": {"Layers": [LAYER]}}
    third, fourth = "sha256:" + "c" * 64, "sha256:" + "d" * 64
    read = read_removals(
        "build-1",
        listing(
            "image " + json.dumps(inspected),
            'step {"Size":7,"CreatedBy":"COPY a"}',
            f"deleted {ID}",
            f"deleted {LAYER}",
            f"fate {ID} removed ",
            f"fate {OTHER} absent",
            "image " + json.dumps({**inspected, "Id": third}),
            f"fate {third} used Error response from daemon:   conflict",
            f"fate {fourth} tagged it has a tag",
        ),
    )
    assert {id: (one.fate, one.freed) for id, one in read.items()} == {
        ID: (Fate.REMOVED, 7),
        OTHER: (Fate.ABSENT, 0),
        third: (Fate.USED, 0),
        fourth: (Fate.TAGGED, 0),
    }
    assert read[third].why == "Error response from daemon: conflict"


@pytest.mark.parametrize("output", ["image {", f"fate {ID} vanished x"])
def test_a_report_that_makes_no_sense(output: str) -> None:
    with pytest.raises(PermanentError, match="build-1: the report of the removal makes no sense"):
        read_removals("build-1", output)
