"""What Paydown knows of a Docker host: its dangling images, and what became of those it was asked to remove."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class Image:
    """One dangling image: no tag, and no image built upon it.

    `created` is the build time, which a rebuild from the cache keeps; `tagged` is when a tag was last put on it here,
    or None if never. `size` is in bytes with all its layers, shared ones too. `digests` are the names under which it
    was pushed or pulled (`registry/repository@sha256:…`). `labels` are what it was built with.
    """

    id: str
    created: datetime
    tagged: datetime | None
    size: int
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def since(self) -> datetime:
        """The last sign of life that the engine remembers: the later of built and tagged, by the host's clock."""
        return max(self.created, self.tagged) if self.tagged else self.created

    @property
    def pulled(self) -> bool:
        """Whether it came by a pull: it has a digest, and no tag was ever put on it here. It may be used by digest."""
        return bool(self.digests) and self.tagged is None


@dataclass(frozen=True)
class Listing:
    """A host's images at the time `clock` of its own clock.

    `driver` is the storage driver, `root` the engine's data root, `used` the ids of images with a container in any
    state, `present` the ids of all images. `free` is what is free for users on the data root's file system, in bytes;
    None when only the engine can be asked.
    """

    clock: datetime
    driver: str
    root: str
    dangling: tuple[Image, ...]
    used: frozenset[str]
    present: frozenset[str]
    free: int | None = None


class Fate(enum.StrEnum):
    """What became of an image that was to be removed."""

    REMOVED = "removed"
    ABSENT = "absent"
    """It was gone already."""
    TAGGED = "tagged"
    """It has a tag (again)."""
    USED = "used"
    """A container has it, or another image is built upon it: the engine refuses."""
    FAILED = "failed"
    """The engine failed to remove it."""
    SKIPPED = "skipped"
    """Time was up before its turn."""


@dataclass(frozen=True)
class Removal:
    """What became of one image, and what that freed.

    `freed` is in bytes: the sizes of the layers that the engine says it deleted, so a shared layer counts once, with
    the last image that has it, and one that the build cache holds counts not at all. `exact` is False when `freed` is
    a lower bound. `layers` is how many were deleted, `directories` is where they lay (overlay drivers tell it).
    `parents` counts the untagged images it was built upon that went with it.
    """

    id: str
    fate: Fate
    why: str = ""
    freed: int = 0
    exact: bool = True
    layers: int = 0
    parents: int = 0
    directories: tuple[str, ...] = ()


class DockerHost(Protocol):
    """A host with a Docker engine, whichever way it is reached.

    Both raise RetryableError when the host or its engine cannot be reached, or is not done in time, and PermanentError
    when it answers what makes no sense.
    """

    def list_images(self) -> Listing:
        """Read the host's images; changes nothing."""

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        """Remove those that still dangle and that nothing uses, looking right before each. In the order of `ids`."""


Json = Mapping[str, Any]
