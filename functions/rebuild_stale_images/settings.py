"""What the policy may say: which images are rebuilt, by whom, and when a layer is too old."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from paydown.toil import ToilSettings

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Ref = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_{][A-Za-z0-9_./{}+-]{0,199}$")]
Image = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,200}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,100}){1,6}:[A-Za-z0-9_][\w.-]{0,127}$"
    ),
]
BuilderImage = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,200}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,100}){0,6}"
        r"(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$"
    ),
]


class CodeBuild(ToilSettings):
    """A project of AWS CodeBuild. Its build specification pushes what `PAYDOWN_IMAGE` names, built without cache."""

    via: Literal["codebuild"]
    project: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{1,254}$")]
    ref: Ref | None = None


class Workflow(ToilSettings):
    """A workflow of GitHub Actions: its repository's address in the API, its file, and a secret with `{"token"}`.

    `no_cache` is the input that tells it to build without cache; None if it always does, and has no such input.
    """

    via: Literal["workflow"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@?#]+$")]
    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml$")]
    secret: Name
    ref: Ref = "main"
    no_cache: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$")] | None = "no_cache"


class DockerHost(ToilSettings):
    """A Docker host of the inventory, which clones and builds the inventory's source of the image.

    An engine does not ask which branch a repository has as its own: `ref` says it. `builder`: for a host that is
    reached by unix or tcp, the image in whose containers it is done in the background: `repository:tag`, or
    `repository@sha256:…`, which is pulled if need be. There, and over SSM, a build is stopped after `minutes`, and when
    fewer than `free_mib` MiB are left where the engine has its images.
    """

    via: Literal["host"]
    host: Name
    ref: Ref = "main"
    builder: BuilderImage | Literal[""] = ""
    minutes: Annotated[int, Field(ge=1, le=720)] = 60
    free_mib: Annotated[int, Field(ge=0, le=1_000_000)] = 1_024


class Builder(ToilSettings):
    """Who builds the images `registry/repository` that match `images`, under those tags that match one of `tags`.

    `base` names their base (`registry/repository:tag`) where neither their layers nor their annotations tell it. A
    `{tag}` in the `ref` of who builds stands for the image's tag.
    """

    images: Pattern
    tags: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=20)] = ("latest",)
    base: Image | None = None
    by: Annotated[CodeBuild | Workflow | DockerHost, Field(discriminator="via")]

    def builds(self, image: str, tag: str) -> bool:
        """Whether it builds `registry/repository` under this tag."""
        return fnmatchcase(image, self.images) and any(fnmatchcase(tag, pattern) for pattern in self.tags)


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `builders`: the first that matches an image builds it; an image without one is left alone. `frozen_days`: how old a
    layer that upgrades all packages may be. `tags`: how many tags of a registry are looked at. `most`: how many images
    one run rebuilds. `moving`: the tags of base repositories that images are built from; the other tags there are
    earlier versions of it.
    """

    builders: Annotated[tuple[Builder, ...], Field(max_length=100)] = ()
    frozen_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    tags: Annotated[int, Field(ge=1, le=2_000)] = 500
    most: Annotated[int, Field(ge=1, le=50)] = 20
    moving: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=20)] = ("current",)

    def builder(self, image: str, tag: str) -> Builder | None:
        """Who builds `registry/repository` under this tag."""
        return next((one for one in self.builders if one.builds(image, tag)), None)
