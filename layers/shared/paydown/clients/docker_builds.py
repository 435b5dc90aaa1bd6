"""Docker hosts on which images are built, pushed and run, by asking their engines: over SSM, documents do so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paydown.clients import aws
from paydown.clients.docker_hosts import builder
from paydown.clients.docker_hosts.builds import BuildHost, Credentials
from paydown.clients.docker_hosts.engine import way_to
from paydown.clients.docker_hosts.trials import Cannot, Ran, TrialHost
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm, Unix

__all__ = ["BuildHost", "Cannot", "Ran", "TrialHost", "open_builder", "open_builds", "open_trials"]


def open_trials(host: Host, *, secrets: Callable[[str], Any] = aws.secret) -> TrialHost:
    """The Docker engine of a host, to run programs on it. Raises PermanentError for one that is reached over SSM."""
    if isinstance(host.reach, Ssm):
        raise PermanentError(f"{host.name} is reached over SSM: no document of Paydown runs images there")
    return TrialHost(host.name, way_to(host.reach, secrets))


def open_builds(host: Host, *, secrets: Callable[[str], Any] = aws.secret) -> BuildHost:
    """The Docker engine of a host, to build on it. Raises PermanentError for one that is reached over SSM."""
    if isinstance(host.reach, Ssm):
        raise PermanentError(f"{host.ref} is reached over SSM: no document of Paydown builds from a Dockerfile there")
    return BuildHost(host.name, way_to(host.reach, secrets))


def open_builder(
    host: Host,
    image: str,
    documents: Path,
    *,
    mark: str,
    observing: bool,
    credentials: Callable[[], Credentials],
    secrets: Callable[[str], Any] = aws.secret,
) -> builder.BuilderContainer:
    """The Docker engine of a host, to run documents in containers of `image`: see `docker_hosts.builder`.

    Raises PermanentError for one that is reached over SSM: its agent runs them.
    """
    if isinstance(host.reach, Ssm):
        raise PermanentError(f"{host.ref} is reached over SSM: its agent runs documents")
    return builder.BuilderContainer(
        host.name,
        way_to(host.reach, secrets),
        image=image,
        documents=documents,
        mark=mark,
        place=os.environ.get("PAYDOWN_BASES") or builder.PLACE,
        engine=host.reach.path if isinstance(host.reach, Unix) else builder.SOCKET,
        observing=observing,
        credentials=credentials,
    )
