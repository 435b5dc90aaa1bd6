"""Reading what else a host keeps, beside dangling images, from the engine's own words.

Both ways to ask it end here: the docker library hands over what the API answers, and our SSM document what the docker
command prints of it, whose account of the disk is made for people (`100kB`) and is read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from paydown.clients.docker_hosts.model import Disk, Json, Kind, Leftover, Stock
from paydown.clients.docker_hosts.reading import image
from paydown.events import utc

NEVER = "never"
"""The state of a cache record that was not used since it was made."""

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_HUMAN_SIZE = re.compile(r"([0-9.]+) ?([kMGTP]?B)")
_HUMAN_TIME = re.compile(r"(\d{4}-\d\d-\d\d) ([0-9:.]+) \+0000 UTC")


def stock(
    *,
    clock: str,
    images: Sequence[Json],
    containers: Sequence[Json],
    volumes: Sequence[Json],
    usage: Json,
    disk: Disk | None,
) -> Stock:
    """What a host keeps: `images`, `containers` and `volumes` inspected, and `usage` as `/system/df` answers."""
    used = {str(one["Image"]) for one in containers}
    parents = {str(one.get("Parent") or "") for one in images}
    mounted = {str(mount.get("Name") or "") for one in containers for mount in one.get("Mounts") or ()}
    unique = {one["Id"]: int(one["Size"]) - max(0, int(one["SharedSize"])) for one in usage.get("Images") or ()}
    measured = {one["Name"]: int((one.get("UsageData") or {}).get("Size", -1)) for one in usage.get("Volumes") or ()}
    leftovers = [
        *(_tagged(one, used, parents, unique) for one in images if one.get("RepoTags")),
        *(_container(one) for one in containers),
        *(_volume(one, mounted, measured) for one in volumes),
        *_cache(usage.get("BuildCache") or ()),
    ]
    return Stock(utc(clock), tuple(leftovers), unique, disk)


def _tagged(inspected: Json, used: set[str], parents: set[str], unique: Mapping[str, int]) -> Leftover:
    read = image(inspected)
    names = tuple(sorted(inspected["RepoTags"]))
    held = "a container uses it" if read.id in used else "an image is built upon it" if read.id in parents else ""
    return Leftover(
        Kind.IMAGE,
        read.id,
        state=image_state(inspected),
        since=read.since,
        size=unique.get(read.id, 0),
        labels=read.labels,
        held=held,
        names=names,
        pushed=bool(read.digests),
        pulled=read.pulled,
    )


def _container(inspected: Json) -> Leftover:
    return Leftover(
        Kind.CONTAINER,
        inspected["Id"],
        state=inspected["State"]["FinishedAt"],
        since=utc(inspected["State"]["FinishedAt"]),
        size=int(inspected.get("SizeRw") or 0),
        labels=dict(inspected["Config"].get("Labels") or {}),
        held=container_held(inspected),
    )


def container_held(inspected: Json) -> str:
    """Why a container may not go; empty if it ended, and nothing but a person would start it again."""
    status = inspected["State"]["Status"]
    if status != "exited":
        return f"it is {status}"
    settings = inspected["HostConfig"]
    policy = str((settings.get("RestartPolicy") or {}).get("Name") or "no")
    if policy != "no":
        return f"its restart policy is {policy}"
    return "the engine removes it by itself" if settings.get("AutoRemove") else ""


def _volume(inspected: Json, mounted: set[str], measured: Mapping[str, int]) -> Leftover:
    name = inspected["Name"]
    made = inspected.get("CreatedAt") or ""
    held = "a container has it" if name in mounted else ""
    if inspected["Driver"] != "local" or not made:
        held = held or "its driver is not the engine's own"
    return Leftover(
        Kind.VOLUME,
        name,
        state=made,
        since=utc(made or "9999-01-01T00:00:00Z"),
        size=max(0, measured.get(name, 0)),
        labels=dict(inspected.get("Labels") or {}),
        held=held,
    )


def _cache(records: Iterable[Json]) -> Iterator[Leftover]:
    for record in records:
        # What images share with the cache frees nothing, and makes their next build slow.
        held = "a build uses it" if record["InUse"] else "an image has it" if record["Shared"] else ""
        yield Leftover(
            Kind.CACHE,
            record["ID"],
            state=record.get("LastUsedAt") or NEVER,
            since=utc(record.get("LastUsedAt") or record["CreatedAt"]),
            size=int(record["Size"]),
            held=held,
            below=stands_on(record),
        )


def stands_on(record: Json) -> tuple[str, ...]:
    """The cache records that one stands on: engines from 23 on know several."""
    return tuple(record.get("Parents") or ()) or tuple(one for one in (record.get("Parent"),) if one)


def image_state(inspected: Json) -> str:
    """An image's names as one word."""
    return "+".join(sorted(inspected.get("RepoTags") or ()))


def usage_of_command(printed: Json) -> dict[str, Any]:
    """What `docker system df --verbose` prints as JSON, in the shape that the engine answers with."""
    return {
        "Images": [
            {"Id": one["ID"], "Size": _bytes(one["Size"]), "SharedSize": _bytes(one["SharedSize"])}
            for one in printed.get("Images") or ()
        ],
        "Volumes": [
            {"Name": one["Name"], "UsageData": {"Size": _bytes(one["Size"])}} for one in printed.get("Volumes") or ()
        ],
        "BuildCache": [
            {
                "ID": one["ID"],
                "Parent": one["Parent"],
                "InUse": one["InUse"] == "true",
                "Shared": one["Shared"] == "true",
                "Size": _bytes(one["Size"]),
                "CreatedAt": _time(one["CreatedAt"]),
                "LastUsedAt": _time(one["LastUsedAt"]),
            }
            for one in printed.get("BuildCache") or ()
        ],
    }


def _bytes(text: str) -> int:
    found = _HUMAN_SIZE.fullmatch(text)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def _time(text: str) -> str:
    found = _HUMAN_TIME.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else ""


def space_reclaimed(printed: str) -> int:
    """The bytes that `docker builder prune` says it freed, to three digits."""
    found = re.search(r"Total(?: reclaimed space)?:\s+([0-9.]+ ?[kMGTP]?B)", printed)
    return _bytes(found[1]) if found else 0
