"""What the policy may say of this toil type."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from paydown.toil import ToilSettings

YEAR = 31_536_000


class Settings(ToilSettings):
    """What the policy may say of this toil type; docs/docker-hosts.md explains each. Ages are in seconds.

    `min_age`: for which a dangling image must have been left alone: neither built nor tagged since. `limit`: the most
    things that one run removes, oldest first. `pulled`: also images that were pulled. `labels`: only images that were
    built with all of these. `keep_labels`: nothing that has one of these labels, whatever its value.

    Off unless set: `keep_newest` (tagged images beyond so many in each of their repositories), `exited_containers_age`,
    `unused_volumes_age`, and the build cache by `build_cache_age`, by `build_cache_keep_bytes`, or by both.

    `disk_high` and `disk_low`: percents, for disk pressure only: nothing goes from a disk that is less full than the
    first, and no more than needed to bring it below the second. Without both (null), all that is old enough goes.
    """

    min_age: Annotated[int, Field(ge=0, le=YEAR)] = 3_600
    limit: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    pulled: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    keep_labels: tuple[str, ...] = ("paydown.keep",)
    keep_newest: Annotated[int, Field(ge=1, le=1_000)] | None = None
    exited_containers_age: Annotated[int, Field(ge=0, le=YEAR)] | None = None
    unused_volumes_age: Annotated[int, Field(ge=0, le=YEAR)] | None = None
    build_cache_age: Annotated[int, Field(ge=0, le=YEAR)] | None = None
    build_cache_keep_bytes: Annotated[int, Field(ge=0)] | None = None
    disk_high: Annotated[int, Field(ge=1, le=100)] | None = 85
    disk_low: Annotated[int, Field(ge=0, le=99)] | None = 80

    @model_validator(mode="after")
    def _marks(self) -> Settings:
        if (self.disk_low is None) != (self.disk_high is None):
            raise ValueError("disk_high and disk_low are given, or null, together")
        if self.disk_low is not None and self.disk_high is not None and self.disk_low >= self.disk_high:
            raise ValueError("disk_low must be below disk_high")
        return self

    @property
    def build_cache(self) -> bool:
        """Whether the build cache may be cleaned at all."""
        return self.build_cache_age is not None or self.build_cache_keep_bytes is not None

    @property
    def leftovers(self) -> bool:
        """Whether anything but dangling images may go."""
        ages = (self.keep_newest, self.exited_containers_age, self.unused_volumes_age)
        return self.build_cache or any(one is not None for one in ages)
