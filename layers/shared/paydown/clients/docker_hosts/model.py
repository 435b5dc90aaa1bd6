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
    CHANGED = "changed"
    """It is not what it was when it was listed."""
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


Json = Mapping[str, Any]


class Kind(enum.StrEnum):
    """What else a host keeps, beside dangling images."""

    IMAGE = "image"
    """An image with a tag."""
    CONTAINER = "container"
    VOLUME = "volume"
    CACHE = "cache"
    """A record of BuildKit's cache."""


@dataclass(frozen=True)
class Leftover:
    """One thing that a host keeps, and that may be too old to be kept.

    `id` is an image's, container's or cache record's id, or a volume's name. `state` is the fact as of which it was
    listed, and which its removal compares: an image's names, joined by `+`; when a container ended, a volume was made,
    or a cache record was last used. `since` is its last sign of life, by the host's clock. `size` is in bytes: what
    would be freed, as far as the engine can tell. `held` says why it may not go now; empty if nothing is known that
    speaks against it. `names` are an image's tags, `pushed` whether a registry has had it, `pulled` as of `Image`.
    `below` are the cache records that it stands on.
    """

    kind: Kind
    id: str
    state: str
    since: datetime
    size: int
    labels: Mapping[str, str] = field(default_factory=dict)
    held: str = ""
    names: tuple[str, ...] = ()
    pushed: bool = False
    pulled: bool = False
    below: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What a removal is asked for by."""
        return self.kind, self.id, self.state


@dataclass(frozen=True)
class Disk:
    """The file system of an engine's data root, in bytes: all of it, and what users may still take."""

    total: int
    free: int

    @property
    def percent(self) -> int:
        """How full it is, as kubelet's image collector counts: 100 less the whole percents that are free."""
        return 100 - self.free * 100 // self.total if self.total else 0

    def excess(self, percent: int) -> int:
        """How many bytes must go until it is `percent` full; 0 or less when it is no fuller."""
        return self.total * (100 - percent) // 100 - self.free


@dataclass(frozen=True)
class Stock:
    """What a host keeps beside dangling images, at the time `clock` of its own clock.

    `unique` are the bytes that each image (dangling ones too) shares with no other. `disk` is None when only the engine
    can be asked.
    """

    clock: datetime
    leftovers: tuple[Leftover, ...]
    unique: Mapping[str, int]
    disk: Disk | None = None


class DockerHost(Protocol):
    """A host with a Docker engine, whichever way it is reached.

    All raise RetryableError when the host or its engine cannot be reached, or is not done in time, and PermanentError
    when it answers what makes no sense.
    """

    def list_images(self) -> Listing:
        """Read the host's images; changes nothing."""

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        """Remove those that still dangle and that nothing uses, looking right before each. In the order of `ids`."""

    def list_leftovers(self) -> Stock:
        """Read what else the host keeps; changes nothing. Slower than `list_images`: the engine measures volumes."""

    def remove_leftovers(self, keys: Sequence[tuple[Kind, str, str]]) -> list[Removal]:
        """Remove those that are as they were listed (`Leftover.key`) and that nothing uses. In the order of `keys`."""

    def read_disk(self) -> Disk | None:
        """How full the data root's file system is; None when only the engine can be asked."""
