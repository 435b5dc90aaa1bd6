"""Which image is built, for whom and by whom: its name, in characters that no shell knows, and a hash of the run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from functions.rebuild_stale_images.settings import Builder
from paydown.clients.registry_content import REPOSITORY, TAG
from paydown.errors import PermanentError
from paydown.inventory import Registry

LABEL = "paydown.rebuild"
REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Job:
    """The build of one image in one run."""

    registry: Registry
    repository: str
    tag: str
    builder: Builder
    run_id: str

    @property
    def image(self) -> str:
        """`registry/repository:tag`."""
        return f"{self.registry.name}/{self.repository}:{self.tag}"

    @property
    def mark(self) -> str:
        """What the build carries: the same for the same run and image (hex)."""
        return hashlib.sha256(f"{self.run_id} {self.image}".encode()).hexdigest()[:40]

    @property
    def ref(self) -> str:
        """The branch or tag that is built; empty for what the builder has as its own."""
        return (self.builder.by.ref or "").replace("{tag}", self.tag)


def job_of(registry: Registry, repository: str, tag: str, builder: Builder, run_id: str) -> Job:
    """The build of an image. Raises PermanentError for a name that is none."""
    known = REGISTRY.fullmatch(registry.name) and REPOSITORY.fullmatch(repository) and TAG.fullmatch(tag)
    if not known:
        raise PermanentError(f"{registry.name}/{repository}:{tag}"[:120] + " is no name of an image")
    return Job(registry, repository, tag, builder, run_id)
