"""Removing what else a host keeps, through the docker library: each looked at again right before it goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from paydown.clients.docker_hosts.layers import removal
from paydown.clients.docker_hosts.leftovers import NEVER, container_held, image_state, stands_on
from paydown.clients.docker_hosts.model import Fate, Kind, Removal
from paydown.clients.docker_hosts.reading import one_line

if TYPE_CHECKING:
    from docker import APIClient

Key = tuple[Kind, str, str]


def containers(client: APIClient) -> list[dict[str, Any]]:
    """Every container as the engine describes it, with the bytes that it wrote (`SizeRw`)."""
    from docker.errors import NotFound

    found = []
    for row in client.containers(all=True, size=True):
        try:
            inspected = client.inspect_container(row["Id"])
        except NotFound:  # it went meanwhile
            continue
        found.append({**inspected, "SizeRw": row.get("SizeRw", 0)})
    return found


def remove_each(client: APIClient, keys: Sequence[Key], deadline: float) -> list[Removal]:
    """Remove what these keys name, in their order; nothing is begun after `deadline` (of the monotonic clock)."""
    remover = _Remover(client)
    late = (Removal(id, Fate.SKIPPED, "time was up") for _, id, _ in keys)
    return [
        skipped if time.monotonic() > deadline else remover.remove(key) for key, skipped in zip(keys, late, strict=True)
    ]


class _Remover:
    """One batch: the engine's account of its disk, which takes it long, is asked for once, and only if needed."""

    def __init__(self, client: APIClient) -> None:
        self._client = client

    @cached_property
    def _usage(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.df()
        return found

    @cached_property
    def _records(self) -> dict[str, dict[str, Any]]:
        return {record["ID"]: record for record in self._usage.get("BuildCache") or ()}

    def remove(self, key: Key) -> Removal:
        """Remove one thing if it is as it was listed, and nothing uses it. Never forced."""
        from docker.errors import APIError

        kind, id, state = key
        try:
            match kind:
                case Kind.IMAGE:
                    return self._image(id, state)
                case Kind.CONTAINER:
                    return self._container(id, state)
                case Kind.VOLUME:
                    return self._volume(id, state)
                case Kind.CACHE:
                    return self._cache(id, state)
        except APIError as error:
            if error.status_code == 404:
                return Removal(id, Fate.ABSENT)
            return Removal(id, Fate.USED if error.status_code == 409 else Fate.FAILED, one_line(error.explanation))

    def _image(self, id: str, state: str) -> Removal:
        client = self._client
        inspected = client.inspect_image(id)  # type: ignore[no-untyped-call]  # its stubs are not complete
        history = client.history(id)  # type: ignore[no-untyped-call]  # as above
        if image_state(inspected) != state:
            return Removal(id, Fate.CHANGED, f"its names are {image_state(inspected) or 'none'} now")
        # By their names, images lose their tags even if others are built upon them, and all but the last in any case.
        if any(row["ParentId"] == id for row in client.images(all=True)):
            return Removal(id, Fate.USED, "an image is built upon it")
        if client.containers(all=True, limit=1, filters={"ancestor": id}):
            return Removal(id, Fate.USED, "a container uses it")
        answers = [row for name in inspected["RepoTags"] for row in client.remove_image(name)]
        deleted = [row["Deleted"] for row in answers if "Deleted" in row]
        if id not in deleted:
            return Removal(id, Fate.USED, "only its names could be removed")
        return removal(inspected, history, deleted)

    def _container(self, id: str, state: str) -> Removal:
        client = self._client
        inspected = client.inspect_container(id)
        if held := container_held(inspected):
            return Removal(id, Fate.USED, held)
        if inspected["State"]["FinishedAt"] != state:
            return Removal(id, Fate.CHANGED, "it was started since")
        rows = client.containers(all=True, size=True, filters={"id": id})
        client.remove_container(id)
        return Removal(id, Fate.REMOVED, freed=sum(int(row.get("SizeRw") or 0) for row in rows))

    def _volume(self, id: str, state: str) -> Removal:
        inspected = self._client.inspect_volume(id)
        if inspected.get("CreatedAt") != state or inspected["Driver"] != "local":
            return Removal(id, Fate.CHANGED, "it was made anew")
        sizes = [one["UsageData"]["Size"] for one in self._usage.get("Volumes") or () if one["Name"] == id]
        self._client.remove_volume(id)
        return Removal(id, Fate.REMOVED, freed=sum(size for size in sizes if size > 0), exact=bool(sizes))

    def _cache(self, id: str, state: str) -> Removal:
        record = self._records.get(id)
        if record is None:
            return Removal(id, Fate.ABSENT)
        if record["InUse"] or record["Shared"]:
            return Removal(id, Fate.USED, "a build uses it" if record["InUse"] else "an image has it")
        if (record.get("LastUsedAt") or NEVER) != state:
            return Removal(id, Fate.CHANGED, "a build has used it since")
        if any(id in stands_on(one) for one in self._records.values()):
            return Removal(id, Fate.USED, "another record stands on it")
        answer = self._client.prune_builds(filters={"id": id}, all=True)  # type: ignore[arg-type]  # its stubs know no ids
        if id not in (answer.get("CachesDeleted") or ()):
            return Removal(id, Fate.USED, "the engine keeps it")
        del self._records[id]
        return Removal(id, Fate.REMOVED, freed=int(answer["SpaceReclaimed"]))
