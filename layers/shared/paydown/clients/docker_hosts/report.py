"""Reading what our SSM documents write: lines of a word and what belongs to it, the last of which is `paydown-end`.

::

    info {…}            the engine's account of itself      image {…}    an image, as the engine describes it
    used ID             an image that a container uses      step {…}     a step of that image's history, newest first
    present ID          an image                            deleted ID   an image or layer that the engine deleted
    free BYTES          of the data root's file system      fate ID FATE WHY   what became of one of them
    disk TOTAL FREE     the same, in bytes                  freed BYTES  what the removal of something else freed
    container {…}       a container, volume {…} a volume, tagged {…} an image of any kind, as the engine describes them
    usage {…}           what `docker system df --verbose` says
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paydown.clients.docker_hosts.layers import removal
from paydown.clients.docker_hosts.leftovers import space_reclaimed, stock, usage_of_command
from paydown.clients.docker_hosts.model import Disk, Fate, Image, Listing, Removal, Stock
from paydown.clients.docker_hosts.reading import driver_name, image, one_line
from paydown.errors import PermanentError
from paydown.events import utc

END = "paydown-end"


def read_listing(name: str, output: str) -> Listing:
    """What the listing document wrote on the host `name`."""
    try:
        return _listing(output)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PermanentError(f"{name}: the list of images makes no sense: {error!r}") from error


def read_removals(name: str, output: str) -> dict[str, Removal]:
    """What the removing document wrote on the host `name`, by image id."""
    try:
        return {one.id: one for one in _removals(output)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PermanentError(f"{name}: the report of the removal makes no sense: {error!r}") from error


def read_stock(name: str, output: str) -> Stock:
    """What the document that lists the rest wrote on the host `name`."""
    try:
        return _stock(output)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PermanentError(f"{name}: the list of leftovers makes no sense: {error!r}") from error


def read_disk(name: str, output: str) -> Disk | None:
    """How full the same document says that the disk is; None if it could not tell."""
    try:
        return next((_disk(rest) for word, rest in _lines(output) if word == "disk"), None)
    except ValueError as error:
        raise PermanentError(f"{name}: the size of the disk makes no sense: {error!r}") from error


def _disk(text: str) -> Disk:
    total, free = text.split()
    return Disk(int(total), int(free))


def _stock(output: str) -> Stock:
    found: dict[str, list[dict[str, Any]]] = {"info": [], "container": [], "volume": [], "tagged": [], "usage": []}
    for word, rest in _lines(output):
        if word in found:
            found[word].append(json.loads(rest))
    return stock(
        clock=found["info"][0]["SystemTime"],
        images=found["tagged"],
        containers=found["container"],
        volumes=found["volume"],
        usage=usage_of_command(found["usage"][0]),
        disk=read_disk("", output),
    )


def _lines(output: str) -> Iterator[tuple[str, str]]:
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        yield word, rest


def _listing(output: str) -> Listing:
    info: dict[str, Any] = {}
    dangling: list[Image] = []
    used: set[str] = set()
    present: set[str] = set()
    free = None
    for word, rest in _lines(output):
        match word:
            case "info":
                info = json.loads(rest)
            case "image":
                inspected = json.loads(rest)
                if not inspected["RepoTags"]:
                    dangling.append(image(inspected))
            case "used":
                used.add(rest)
            case "present":
                present.add(rest)
            case "free":
                free = int(rest)
    return Listing(
        clock=utc(info["SystemTime"]),
        driver=driver_name(info),
        root=info["DockerRootDir"],
        dangling=tuple(dangling),
        used=frozenset(used),
        present=frozenset(present),
        free=free,
    )


def _removals(output: str) -> Iterator[Removal]:
    inspected: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    deleted: list[str] = []
    freed: int | None = None
    for word, rest in _lines(output):
        match word:
            case "image":
                inspected, history, deleted = json.loads(rest), [], []
            case "freed":
                freed = int(rest) if rest.isdigit() else space_reclaimed(rest)
            case "step":
                history.append(json.loads(rest))
            case "deleted":
                deleted.append(rest)
            case "fate":
                of, fate, why = (rest + "  ").split(" ", 2)
                if of in deleted and inspected.get("Id") == of:
                    yield removal(inspected, history, deleted)
                else:
                    # The docker command tells sizes of things other than images to three digits.
                    yield Removal(of, Fate(fate), one_line(why), freed=freed or 0, exact=freed is None)
                freed = None
