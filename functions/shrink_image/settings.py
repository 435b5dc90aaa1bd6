"""What the policy may say of `shrink_image`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from paydown.limits import Model
from paydown.toil import ToilSettings

RUN_SECONDS = 10
"""Seconds that all runs of both images may take in one trial; with what surrounds them it stays below 30."""

Word = Annotated[str, StringConstraints(max_length=1_000)]
Path = Annotated[str, StringConstraints(pattern=r"^/[^\x00]{1,500}$")]


class Trial(Model):
    """How images are compared, whose `registry/repository` matches `image` (with `*` and `?`).

    Each of `commands` is a list of arguments to the entrypoint (empty: the image's own) with which both images are run,
    for `seconds` at the most; what still runs then is stopped, and what it wrote so far counts. `keep` names files and
    folders that go along.
    """

    image: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    commands: Annotated[tuple[Annotated[tuple[Word, ...], Field(max_length=50)], ...], Field(max_length=4)] = ()
    seconds: Annotated[int, Field(ge=1, le=5)] = 2
    keep: Annotated[tuple[Path, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _in_time(self) -> Trial:
        if 2 * self.seconds * len(self.commands) > RUN_SECONDS:
            raise ValueError(f"both images run each command: together that may take {RUN_SECONDS} seconds")
        return self


class Settings(ToilSettings):
    """The settings; see docs/shrink-image.md.

    `min_saving_bytes` (in the registry): what saves less is not said. `max_bytes`: layers of an image, unpacked, that
    are read. `platform`: which image of an index is looked at. `tag`: how a smaller image is called, of the original's
    `{tag}` and the first 12 characters of its `{digest}`: without those, a tag that moves gets an offer only once.
    `tracker`: the ticket system that gets one ticket for each tag with a proposal. `trials`: the first that matches
    counts; without one an image is not run.
    """

    min_saving_bytes: Annotated[int, Field(ge=0)] = 1_000_000
    max_bytes: Annotated[int, Field(ge=1_000_000, le=4_000_000_000)] = 1_000_000_000
    platform: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+/[a-z0-9]+$")] = "linux/amd64"
    tag: Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9_.-]|\{tag\}|\{digest\}){1,100}$")] = (
        "{tag}-scratch-{digest}"
    )
    tracker: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    trials: Annotated[tuple[Trial, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _another_tag(self) -> Settings:
        if self.tag == "{tag}" or not ("{tag}" in self.tag or "{digest}" in self.tag):
            raise ValueError("tag: needs {tag} or {digest}, and more than {tag} alone: no image takes another's place")
        return self

    def trial(self, image: str) -> Trial:
        """How an image called `registry/repository` is tried: not at all if nothing matches."""
        found = (one for one in self.trials if fnmatchcase(image, one.image))
        return next(found, Trial(image=image))
