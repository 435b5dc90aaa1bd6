"""Docker hosts: what may go from there, and removing it, whichever way the inventory says that the host is reached.

::

    host = open_host(inventory_host, observing=False, mark="paydown run 1f0c…")
    listing = host.list_images()
    removals = host.remove_images([image.id for image in listing.dangling])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paydown.clients import aws
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
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm, Unix

__all__ = [
    "Disk",
    "DockerHost",
    "Fate",
    "Image",
    "Kind",
    "Leftover",
    "Listing",
    "Removal",
    "Stock",
    "open_host",
]


def open_host(
    host: Host, *, observing: bool, mark: str = "paydown", secrets: Callable[[str], Any] = aws.secret
) -> DockerHost:
    """The Docker engine of a host of the inventory.

    `observing` makes it refuse to remove anything; `mark` tells the host's owner who asked (SSM: the command's
    comment); `secrets` gives the JSON value of a secret by its name.
    """
    opened: DockerHost
    if isinstance(host.reach, Ssm):
        from paydown.clients.docker_hosts.ssm import SsmHost

        opened = SsmHost(host.name, host.reach.instance_id, mark=mark)
    else:
        from paydown.clients.docker_hosts.engine import EngineHost, way_to

        opened = EngineHost(host.name, way_to(host.reach, secrets), local=isinstance(host.reach, Unix))
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
