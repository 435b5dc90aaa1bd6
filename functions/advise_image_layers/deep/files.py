"""What the layers of an image bring, and take away again: names and sizes, and the heads of few programs.

Layers are read from the lowest to the highest, each once. Layers are hostile: paydown.clients.archives has the bounds.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from functions.advise_image_layers.deep.leftovers import manager_of
from functions.advise_image_layers.image import Image
from paydown.clients.archives import Bounds, Flow, Unreadable, inside, members, unpacked
from paydown.clients.web import NotThere
from paydown.errors import PermanentError

HEAD = 64 * 1024
"""Bytes of a program that are kept: its headers, and the name of its interpreter."""
HEADS = 64
LINKS = 40
ELF = b"\x7fELF"
_GONE = ".wh."
_OPAQUE = ".wh..wh..opq"
_EACH = 2_048

Opener = Callable[[str], Iterable[bytes]]
"""The bytes of a layer as it is stored, by its digest in the registry."""


@dataclass(frozen=True)
class Sum:
    """Files, their bytes as they are unpacked, and the largest one."""

    files: int = 0
    size: int = 0
    largest: str = ""
    largest_size: int = -1

    def plus(self, path: str, size: int) -> Sum:
        """With one more."""
        more = replace(self, files=self.files + 1, size=self.size + size)
        return replace(more, largest=path, largest_size=size) if size > self.largest_size else more


@dataclass
class Files:
    """What the layers were found to hold. Instructions are known by their numbers in the image, counted from 0.

    `present`: the instruction and the size of each path but folders, as far as it was read. `links`: where symbolic
    ones point to. `heads`: of programs. `hidden`: by the instruction that brought files, the later one that took them
    away, and whether it did so by deleting them. `shares`: how many bytes of the registry one unpacked byte of a layer
    takes. `fetched` bytes were read of `looked` layers. `trouble`: why reading ended, before the layer of the
    instruction `ended`; empty if it did not.
    """

    present: dict[str, tuple[int, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    hidden: dict[tuple[int, int, bool], Sum] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    looked: int = 0
    fetched: int = 0
    trouble: str = ""
    ended: int = -1

    def resolve(self, path: str) -> str:
        """The path without links, below the root; empty if they do not end."""
        at = posixpath.normpath(posixpath.join("/", path))[1:]
        for _ in range(LINKS):
            linked = next((above for above in _folders(f"{at}/") if above in self.links), None)
            if linked is None:
                return at
            folder = posixpath.join("/", posixpath.dirname(linked))
            rest = at[len(linked) :].strip("/")
            at = posixpath.normpath(posixpath.join(folder, self.links[linked], rest)).lstrip("/")
        return ""


@dataclass
class _Layer:
    """What one layer has: sizes by paths (None: a folder), links, heads, and what it takes away."""

    paths: dict[str, int | None] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def deletes(self, path: str, known: dict[str, bool]) -> bool:
        """Whether a path of a lower layer is gone. `known` is what was found for folders."""
        if path in self.gone:
            return True
        folder = posixpath.dirname(path)
        if folder not in known:
            above = [*_folders(path), ""]
            known[folder] = any(it in self.gone or it in self.opaque or self.paths.get(it) is not None for it in above)
        return known[folder]


def files_of(image: Image, opened: Opener, bounds: Bounds, programs: bool) -> Files:
    """What the layers of the image's own Dockerfile hold; `programs`: keep the heads of programs.

    What cannot be read, or is beyond the bounds, ends the reading, and `trouble` tells why. Raises RetryableError.
    """
    found = Files()
    bounds.look()
    for number, one in enumerate(image.instructions):
        if number < image.own or not one.diff_id:
            continue
        before = bounds.spent
        try:
            bounds.admit(one.size)
            room = HEADS - len(found.heads) if programs else 0
            layer = _read(_counted(opened(one.blob), found), bounds, room)
            _cover(found, layer, number, bounds)
        except (Unreadable, PermanentError) as why:
            gone = isinstance(why, NotThere)
            found.trouble, found.ended = "a layer is not in the registry" if gone else str(why)[:200], number
            return found
        found.looked += 1
        found.shares[number] = min(1.0, one.size / max(1, bounds.spent - before))
    return found


def _counted(pieces: Iterable[bytes], found: Files) -> Iterator[bytes]:
    for piece in pieces:
        found.fetched += len(piece)
        yield piece


def _read(pieces: Iterable[bytes], bounds: Bounds, room: int) -> _Layer:
    flow = Flow(unpacked(pieces, bounds))
    layer = _Layer()
    for _, path, info in members(flow):
        bounds.count(path)
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            layer.opaque.add(folder)
        elif name.startswith(_GONE):
            if name != _GONE:
                layer.gone.add(posixpath.join(folder, name.removeprefix(_GONE)))
        elif path:
            layer.links.pop(path, None)
            layer.heads.pop(path, None)
            layer.paths[path] = None if info.isdir() else info.size if info.isreg() else 0
            _look_at(layer, path, info, flow, bounds, room)
    flow.drain()
    return layer


def _look_at(layer: _Layer, path: str, info: tarfile.TarInfo, flow: Flow, bounds: Bounds, room: int) -> None:
    """Keep where a link points to, and the head of a program."""
    if info.issym():
        target = info.linkname[:4_096]
        bounds.count(target)
        layer.links[path] = target
    elif info.islnk():
        head = layer.heads.get(inside(info.linkname))
        if head is not None:
            layer.heads[path] = head
    elif info.isreg() and not info.issparse() and info.mode & 0o111 and len(layer.heads) < room:
        flow.seek(info.offset_data)
        head = flow.read(min(HEAD, info.size))
        if head.startswith(ELF):
            layer.heads[path] = head


def _cover(found: Files, layer: _Layer, number: int, bounds: Bounds) -> None:
    """Put a layer on those that were read."""
    known: dict[str, bool] = {}
    hidden = []
    for count, path in enumerate(found.present):
        if count % _EACH == 0:
            bounds.take(0)
        if path in layer.paths:
            hidden.append((path, False))
        elif layer.deletes(path, known):
            hidden.append((path, True))
    for path, deleted in hidden:
        added, size = found.present.pop(path)
        found.links.pop(path, None)
        found.heads.pop(path, None)
        key = (added, number, deleted)
        found.hidden[key] = found.hidden.get(key, Sum()).plus(path, size)
    found.present.update({path: (number, size) for path, size in layer.paths.items() if size is not None})
    found.links.update(layer.links)
    found.heads.update(layer.heads)


def leftovers(present: Mapping[str, tuple[int, int]]) -> dict[tuple[int, str], Sum]:
    """What package managers left, by the instruction that brought it and by the manager."""
    found: dict[tuple[int, str], Sum] = {}
    for path, (number, size) in present.items():
        if manager := manager_of(path):
            found[number, manager] = found.get((number, manager), Sum()).plus(path, size)
    return found


def _folders(path: str) -> Iterator[str]:
    """The folders above a path, the highest first, without the root."""
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)
