"""What the policy may say of base images. It reaches a command on a host, so it is checked as strictly as there."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from paydown.clients.base_contents import BaseRecipe, DnfRecipe, Recipe
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
Release = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,31}$")]
RepositoryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
RepositoryUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[A-Za-z0-9]([A-Za-z0-9.:/_~-]|[$]basearch|[$]releasever){0,246}$"),
]
KeyFile = Annotated[
    str, StringConstraints(pattern=r"^/[A-Za-z0-9._+-]{1,64}(/[A-Za-z0-9._+-]{1,64}){0,15}$", max_length=500)
]
RpmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,62}$")]
RpmPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?][A-Za-z0-9+._*?-]{0,62}$")]
FilePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\\]{1,500}$")]
Repository = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,200}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,100}){1,6}$")
]
Builder = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,200}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,100}){0,6}"
        r"(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$"
    ),
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

RHEL_PRIVILEGED = (
    "/usr/bin/chage",
    "/usr/bin/gpasswd",
    "/usr/bin/mount",
    "/usr/bin/newgidmap",
    "/usr/bin/newgrp",
    "/usr/bin/newuidmap",
    "/usr/bin/pam_timestamp_check",
    "/usr/bin/passwd",
    "/usr/bin/su",
    "/usr/bin/umount",
    "/usr/bin/unix_chkpwd",
    "/usr/bin/write",
    "/usr/sbin/pam_timestamp_check",
    "/usr/sbin/unix_chkpwd",
)
"""The same of pam, passwd, shadow-utils and util-linux in the RHEL family, with and without `/usr/sbin` merged."""

RHEL_MINIMAL = ("bash", "coreutils-single", "glibc-minimal-langpack", "microdnf", "rpm", "system-release")
"""What a minimal image of the RHEL family is made of."""


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
    """How one base image is made, and what may be in it, whatever its family.

    `host`: the build host of the inventory. `builder`: for a host that is reached by unix or tcp, the image in whose
    containers all this is done: `repository:tag`, or `repository@sha256:…`, which is pulled if need be.
    `include`: packages that are asked for. `packages`: patterns (`*`, `?`) of those that may come or go.
    `privileged`: the files that may be setuid or setgid, or have capabilities. `files`: those that may come, go or
    change though no package of theirs has another version.
    """

    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    builder: Builder | Literal[""] = ""
    include: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    privileged: Annotated[tuple[FilePath, ...], Field(max_length=200)] = ()
    files: Annotated[tuple[FilePath, ...], Field(max_length=200)] = ()

    @property
    @abstractmethod
    def source(self) -> str:
        """The URL that its packages come from, mainly."""

    @property
    @abstractmethod
    def recipe(self) -> BaseRecipe:
        """What it is made of."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex) of what the bytes depend on besides the packages."""


class DebianBase(Base):
    """A base of Debian or Ubuntu, which mmdebstrap makes.

    `sources`: the first is what is installed, the others are its updates. `keyring`: the file on the host with the keys
    that must have signed them. `include`: packages beyond `variant`.
    """

    family: Literal["debian"] = "debian"
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=8)]
    keyring: Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    variant: Literal["essential", "apt", "minbase"] = "minbase"
    include: Annotated[tuple[Package, ...], Field(max_length=100)] = ()
    packages: Annotated[tuple[PackagePattern, ...], Field(max_length=200)] = ()
    privileged: Annotated[tuple[FilePath, ...], Field(max_length=200)] = DEBIAN_PRIVILEGED

    @model_validator(mode="after")
    def _names_a_suite(self) -> Self:
        if "/" in self.sources[0].suite or self.sources[0].suite != self.sources[0].suite.lower():
            raise ValueError("the first source must name the suite itself")
        return self

    @property
    def source(self) -> str:
        """The first mirror."""
        return self.sources[0].mirror

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


class RpmRepository(ToilSettings):
    """A repository of RPM packages. `url` may have `$basearch` and `$releasever` in it.

    Packages must be signed in any case; `repo_gpgcheck`: so must be the list of them.
    """

    id: RepositoryId
    url: RepositoryUrl
    repo_gpgcheck: bool = False

    @property
    def line(self) -> str:
        """As the documents take it."""
        return f"{self.id} {self.url}{' repo_gpgcheck' if self.repo_gpgcheck else ''}"


class RhelBase(Base):
    """A base of Red Hat Enterprise Linux, what is rebuilt from it, or Fedora, which dnf makes.

    `release`: what dnf calls releasever. `repositories`: all that packages come from. `keys`: the files on the host
    with the keys that must have signed them. `include`: what is installed, with all that it requires.
    """

    family: Literal["rhel"]
    release: Release
    repositories: Annotated[tuple[RpmRepository, ...], Field(min_length=1, max_length=8)]
    keys: Annotated[tuple[KeyFile, ...], Field(min_length=1, max_length=8)]
    include: Annotated[tuple[RpmName, ...], Field(min_length=1, max_length=100)] = RHEL_MINIMAL
    packages: Annotated[tuple[RpmPattern, ...], Field(max_length=200)] = ()
    privileged: Annotated[tuple[FilePath, ...], Field(max_length=200)] = RHEL_PRIVILEGED

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [repository.id for repository in self.repositories]
        if "main" in names or len(set(names)) < len(names):
            raise ValueError("each repository must have an id of its own, which is not main")
        return self

    @property
    def source(self) -> str:
        """The first repository."""
        return self.repositories[0].url.replace("$releasever", self.release)

    @property
    def recipe(self) -> DnfRecipe:
        """What it is made of."""
        lines = tuple(repository.line for repository in self.repositories)
        return DnfRecipe(self.release, lines, self.keys, self.include)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the bytes depend on besides the packages."""
        urls = [repository.url for repository in self.repositories]
        content = ["rhel", self.release, urls, sorted(self.include)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _family(value: Any) -> Any:
    """That of a base: what says none is of Debian's."""
    return value.get("family", "debian") if isinstance(value, Mapping) else getattr(value, "family", None)


AnyBase = Annotated[
    Annotated[DebianBase, Tag("debian")] | Annotated[RhelBase, Tag("rhel")],
    Discriminator(_family),
]


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `bases`: how the base in each repository (`registry/repository`) is made. `strays`: how many tags of a registry are
    looked at for images that stand on no base of one's own; 0 turns that off.
    """

    bases: dict[Repository, AnyBase] = Field(default_factory=dict)
    strays: Annotated[int, Field(ge=0, le=2_000)] = 500
