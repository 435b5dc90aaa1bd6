"""What the policy may say of base images. It reaches a command on a host, so it is checked as strictly as there."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from paydown.clients.base_contents import Recipe
from paydown.toil import ToilSettings

Suite = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,63}$")]
SourceSuite = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]{0,63}$")]
Mirror = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.:/_~-]{0,246}$")]
Component = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Package = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]{1,62}$")]
PackagePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?][a-z0-9+.*?-]{0,62}$")]
Keyring = Annotated[
    str, StringConstraints(pattern=r"^/[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,15}[.](gpg|asc|pgp)$")
]
FilePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\\]{1,500}$")]
Repository = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,200}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,100}){1,6}$")
]

DEBIAN_PRIVILEGED = (
    "/usr/bin/chage",
    "/usr/bin/chfn",
    "/usr/bin/chsh",
    "/usr/bin/expiry",
    "/usr/bin/gpasswd",
    "/usr/bin/mount",
    "/usr/bin/newgrp",
    "/usr/bin/passwd",
    "/usr/bin/su",
    "/usr/bin/umount",
    "/usr/sbin/unix_chkpwd",
)
"""What runs as root or as a group in the packages that Debian and Ubuntu call essential or required."""


class Source(ToilSettings):
    """Where packages come from, as in a line of `sources.list`."""

    mirror: Mirror
    suite: SourceSuite
    components: Annotated[tuple[Component, ...], Field(min_length=1, max_length=8)] = ("main",)

    @property
    def line(self) -> str:
        """The line."""
        return f"deb {self.mirror} {self.suite} {' '.join(self.components)}"


class Base(ToilSettings):
    """How one base image is made, and what may be in it.

    `host`: the build host of the inventory. `sources`: the first is what is installed, the others are its updates.
    `keyring`: the file on the host with the keys that must have signed them. `include`: packages beyond `variant`.
    `packages`: patterns (`*`, `?`) of those that may come or go. `privileged`: the files that may be setuid or setgid.
    `files`: those of no package that may come, go or change.
    """

    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=8)]
    keyring: Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    variant: Literal["essential", "apt", "minbase"] = "minbase"
    include: Annotated[tuple[Package, ...], Field(max_length=100)] = ()
    packages: Annotated[tuple[PackagePattern, ...], Field(max_length=200)] = ()
    privileged: Annotated[tuple[FilePath, ...], Field(max_length=200)] = DEBIAN_PRIVILEGED
    files: Annotated[tuple[FilePath, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _names_a_suite(self) -> Self:
        if "/" in self.sources[0].suite or self.sources[0].suite != self.sources[0].suite.lower():
            raise ValueError("the first source must name the suite itself")
        return self

    @property
    def recipe(self) -> Recipe:
        """What the bootstrap is made of."""
        lines = tuple(source.line for source in self.sources)
        return Recipe(self.sources[0].suite, lines, self.variant, self.include, self.keyring)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the bytes depend on besides the packages."""
        recipe = self.recipe
        content = [recipe.suite, recipe.sources, recipe.variant, sorted(recipe.include)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `bases`: how the base in each repository (`registry/repository`) is made. `strays`: how many tags of a registry are
    looked at for images that stand on no base of one's own; 0 turns that off.
    """

    bases: dict[Repository, Base] = Field(default_factory=dict)
    strays: Annotated[int, Field(ge=0, le=2_000)] = 500
