"""Docker hosts: what may go from there, and removing it, whichever way the inventory says that the host is reached.

::

    host = open_host(inventory_host, observing=False, mark="paydown run 1f0c…")
    listing = host.list_images()
    removals = host.remove_images([image.id for image in listing.dangling])
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paydown.clients import aws
from paydown.clients.docker_hosts import builder
from paydown.clients.docker_hosts.builds import BuildHost, Credentials
from paydown.clients.docker_hosts.engine import EngineHost, over_tls, over_unix
from paydown.clients.docker_hosts.model import (
    Disk,
    DockerHost,
    Fate,
    Image,
    Kind,
    Leftover,
    Listing,
    Removal,
    Stock,
)
from paydown.clients.docker_hosts.ssm import SsmHost
from paydown.clients.docker_hosts.trials import Cannot, Ran, TrialHost
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm, Tcp, Unix

__all__ = [
    "BuildHost",
    "Cannot",
    "Disk",
    "DockerHost",
    "Fate",
    "Image",
    "Kind",
    "Leftover",
    "Listing",
    "Ran",
    "Removal",
    "Stock",
    "TrialHost",
    "open_builder",
    "open_builds",
    "open_host",
    "open_trials",
]


def open_host(
    host: Host, *, observing: bool, mark: str = "paydown", secrets: Callable[[str], Any] = aws.secret
) -> DockerHost:
    """The Docker engine of a host of the inventory.

    `observing` makes it refuse to remove anything; `mark` tells the host's owner who asked (SSM: the command's
    comment);
    `secrets` gives the JSON value of a secret by its name.
    """
    opened: DockerHost
    match host.reach:
        case Ssm(instance_id=instance_id):
            opened = SsmHost(host.name, instance_id, mark=mark)
        case Tcp(address=address, secret=secret):
            opened = EngineHost(host.name, over_tls(address, _pem(secret, secrets(secret))))
        case Unix(path=path):
            opened = EngineHost(host.name, over_unix(path), local=True)
    return _ReadOnly(opened, host.name) if observing else opened


class _ReadOnly:
    """A host that is looked at only, whatever its credentials would allow."""

    def __init__(self, host: DockerHost, name: str) -> None:
        self._name = name
        self.list_images = host.list_images
        self.list_leftovers = host.list_leftovers
        self.read_disk = host.read_disk

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        raise PermanentError(f"{self._name}: nothing is removed while observing ({len(ids)} images)")

    def remove_leftovers(self, keys: Sequence[tuple[Kind, str, str]]) -> list[Removal]:
        raise PermanentError(f"{self._name}: nothing is removed while observing ({len(keys)} things)")


def open_trials(host: Host, *, secrets: Callable[[str], Any] = aws.secret) -> TrialHost:
    """The Docker engine of a host, to run programs on it. Raises PermanentError for one that is reached over SSM."""
    match host.reach:
        case Tcp(address=address, secret=secret):
            return TrialHost(host.name, over_tls(address, _pem(secret, secrets(secret))))
        case Unix(path=path):
            return TrialHost(host.name, over_unix(path))
    raise PermanentError(f"{host.name} is reached over SSM: no document of Paydown runs images there")


def open_builds(host: Host, *, secrets: Callable[[str], Any] = aws.secret) -> BuildHost:
    """The Docker engine of a host, to build on it. Raises PermanentError for one that is reached over SSM."""
    match host.reach:
        case Tcp(address=address, secret=secret):
            return BuildHost(host.name, over_tls(address, _pem(secret, secrets(secret))))
        case Unix(path=path):
            return BuildHost(host.name, over_unix(path))
    raise PermanentError(f"{host.ref} is reached over SSM: no document of Paydown builds from a Dockerfile there")


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
    match host.reach:
        case Tcp(address=address, secret=secret):
            way, engine = over_tls(address, _pem(secret, secrets(secret))), builder.SOCKET
        case Unix(path=path):
            way, engine = over_unix(path), path
        case _:
            raise PermanentError(f"{host.ref} is reached over SSM: its agent runs documents")
    return builder.BuilderContainer(
        host.name,
        way,
        image=image,
        documents=documents,
        mark=mark,
        place=os.environ.get("PAYDOWN_BASES") or builder.PLACE,
        engine=engine,
        observing=observing,
        credentials=credentials,
    )


def _pem(name: str, value: Any) -> dict[str, str]:
    parts = ("ca", "cert", "key")
    if not isinstance(value, dict) or not all(isinstance(value.get(part), str) for part in parts):
        raise PermanentError(f"secret {name}: needs ca, cert and key, each as PEM text")
    return {part: value[part] for part in parts}
