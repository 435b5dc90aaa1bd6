"""What the policy says of promotions: routes from one registry or repository to the next, and the facts of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints

from paydown.events import Severity
from paydown.inventory import Inventory, Name, Pattern, Repository, Tag
from paydown.toil import ToilSettings

TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
Part = Annotated[str, StringConstraints(pattern=r"^[a-z0-9._/-]*$", max_length=255)]

ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")
"""Tags of what is attached to an image: cosign's signatures, and the referrers of registries without that API."""


class Required(ToilSettings):
    """The facts that must hold before an image goes on.

    `findings_below`: its last scan found nothing as bad as this, or worse. `soak_seconds`: for how long we have seen it
    in the source. `approval`: a person approves, whatever mode and ceiling say. `signature`: one is attached to it.
    """

    findings_below: Severity | None = None
    soak_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 0
    approval: bool = False
    signature: bool = False


class Route(ToilSettings):
    """A way from one registry to others, or to other repositories of the same.

    It is for those repositories and tags of `from` that match (patterns with `*` and `?`). In each registry of `to` the
    repository has the same name, without `strip` and behind `prefix`; the tag is the same, or `tag`. `referrers`:
    signatures, attestations and SBOMs go along. `stage` is what the record of the promotion calls its destination.
    """

    stage: Name
    origin: Name = Field(alias="from")
    to: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10)]
    repositories: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    tags: Annotated[tuple[Pattern, ...], Field(min_length=1)] = ("*",)
    strip: Part = ""
    prefix: Part = ""
    tag: TagName | None = None
    referrers: bool = True
    require: Required = Field(default_factory=Required)

    def is_for(self, source: Tag) -> bool:
        """Whether a tag goes this way."""
        repository = source.repository
        return (
            self.origin in (repository.registry.name, repository.registry.uid)
            and any(fnmatchcase(repository.name, pattern) for pattern in self.repositories)
            and any(fnmatchcase(source.tag, pattern) for pattern in self.tags)
        )

    def destinations(self, source: Tag, inventory: Inventory) -> Iterator[tuple[str, Repository | None, str]]:
        """Where a tag goes: in words, as the inventory has it (None if it does not), and under which tag."""
        name = self.prefix + source.repository.name.removeprefix(self.strip)
        for registry in self.to:
            yield f"{registry}/{name}", inventory.repository(registry, name), self.tag or source.tag


class Settings(ToilSettings):
    """What the policy may say of this toil type. The first of the `routes` that is for a tag counts."""

    routes: Annotated[tuple[Route, ...], Field(max_length=200)] = ()

    def route(self, source: Tag) -> Route | None:
        """The way that a tag goes; None if there is none."""
        if ATTACHED.fullmatch(source.tag):
            return None  # it goes along with what it is attached to
        return next((route for route in self.routes if route.is_for(source)), None)
