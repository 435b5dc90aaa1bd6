"""Reading what the Docker engine writes, whether the docker library or the docker command hands it over."""

from __future__ import annotations

from paydown.clients.docker_hosts.model import Image, Json
from paydown.events import utc

_NEVER = "0001-01-01"
_CONTAINERD = "io.containerd.snapshotter.v1"


def image(inspected: Json) -> Image:
    """The image in the answer of an inspection."""
    tagged = str((inspected.get("Metadata") or {}).get("LastTagTime") or _NEVER)
    return Image(
        id=inspected["Id"],
        created=utc(inspected["Created"]),
        tagged=None if tagged.startswith(_NEVER) else utc(tagged),
        size=int(inspected["Size"]),
        digests=tuple(inspected.get("RepoDigests") or ()),
        labels=dict(inspected.get("Labels") or (inspected.get("Config") or {}).get("Labels") or {}),
    )


def repositories(inspected: Json) -> set[str]:
    """The repositories in which an image is known by its digest."""
    return {str(name).partition("@")[0] for name in inspected.get("RepoDigests") or ()}


def driver_name(info: Json) -> str:
    """The storage driver in the engine's account of itself; the containerd image store is named, as it differs."""
    containerd = any(_CONTAINERD in pair for pair in info.get("DriverStatus") or ())
    return f"{info['Driver']} (containerd)" if containerd else str(info["Driver"])


def one_line(text: object) -> str:
    """What an engine, a command or a library says went wrong, short enough for a person to read."""
    return " ".join(str(text).split())[:300]
