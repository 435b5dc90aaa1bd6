"""The files of an image: what its layers leave to be seen, and the content of those that are asked for.

Only names, kinds, owners and places are kept; content is read in a second look, for few files. Layers are read from the
highest to the lowest, as overlay file systems show them, so that one look at each entry is enough.
"""

from __future__ import annotations

import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from paydown.clients.archives import Bounds, Flow, Unreadable, inside, members, unpacked

CONTENT_MOST = 48 * 1024 * 1024
"""Bytes of all files whose content is read, in all."""
LINKS = 40
"""Links on the way to one file, as Linux counts."""
_GONE = ".wh."
_OPAQUE = ".wh..wh..opq"
_CAPABLE = "SCHILY.xattr.security.capability"

Kind = Literal["file", "folder", "link", "other"]
Opener = Callable[[int], Iterable[bytes]]
"""The bytes of a layer as it is stored, by its number from the lowest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path. `place` is the number of its layer, and that of the entry there which has its content.

    `size` in bytes; `target` of a link as it is written; `capable`: it has file capabilities, which a copy loses.
    """

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    place: tuple[int, int] = (0, 0)
    capable: bool = False


@dataclass
class Tree:
    """The paths of an image (without a slash before them), and the way to their content."""

    entries: dict[str, Entry] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def cover(self, own: Mapping[str, Entry], gone: set[str], opaque: set[str]) -> None:
        """Put the next lower layer beneath: what it has, took away, and made opaque."""
        seen = [(path, entry) for path, entry in own.items() if self._shows(path)]
        self.entries.update(seen)
        self.hidden |= gone
        self.opaque |= opaque

    def complete(self, bounds: Bounds) -> None:
        """Add the folders that no layer has an entry for, though it has what lies in them. Raises Unreadable."""
        for path in list(self.entries):
            above = posixpath.dirname(path)
            while above and above not in self.entries:
                bounds.count(above)
                self.entries[above] = Entry("folder")
                above = posixpath.dirname(above)

    def _shows(self, path: str) -> bool:
        if path in self.entries or path in self.hidden:
            return False
        while path:
            path = posixpath.dirname(path)
            above = self.entries.get(path)
            if path in self.hidden or path in self.opaque or (above is not None and above.kind != "folder"):
                return False
        return True

    def resolve(self, path: str) -> tuple[str, Entry] | None:
        """Where a path of the image leads, through its links; None if to nothing. It never leads out of the image."""
        left = [part for part in path.split("/") if part not in ("", ".")][::-1]
        at, links = "", 0
        while left:
            part = left.pop()
            if part == "..":
                at = posixpath.dirname(at)
                continue
            below = posixpath.join(at, part)
            entry = self.entries.get(below)
            if entry is None:
                return None
            if entry.kind == "link":
                links += 1
                if links > LINKS:
                    return None
                if entry.target.startswith("/"):
                    at = ""
                left += [one for one in entry.target.split("/") if one not in ("", ".")][::-1]
                continue
            if left and entry.kind != "folder":
                return None
            at = below
        found = self.entries.get(at)
        return (at, found) if found else None

    def file(self, path: str) -> Entry | None:
        """The plain file that a path leads to."""
        found = self.resolve(path)
        return found[1] if found and found[1].kind == "file" else None

    def below(self, folder: str) -> Iterator[str]:
        """The paths below a folder, as the tree has them, sorted."""
        prefix = f"{folder}/" if folder else ""
        return iter(sorted(path for path in self.entries if path.startswith(prefix)))


def tree_of(layers: int, opened: Opener, bounds: Bounds) -> Tree:
    """The files of an image of so many layers. Raises Unreadable."""
    bounds.look()
    tree = Tree()
    for number in reversed(range(layers)):
        flow = Flow(unpacked(opened(number), bounds))
        own: dict[str, Entry] = {}
        gone: set[str] = set()
        opaque: set[str] = set()
        for count, path, info in members(flow):
            bounds.count(path)
            folder, name = posixpath.split(path)
            if name == _OPAQUE:
                opaque.add(folder)
            elif name.startswith(_GONE):
                gone.add(posixpath.join(folder, name.removeprefix(_GONE)))
            elif path:
                own[path] = _entry(info, (number, count), own)
        flow.drain()
        tree.cover(own, gone, opaque)
    tree.complete(bounds)
    return tree


def contents(entries: Iterable[Entry], opened: Opener, bounds: Bounds) -> dict[tuple[int, int], bytes]:
    """The content of plain files, by their places. Raises Unreadable when they are too large together."""
    wanted = {entry.place: entry.size for entry in entries if entry.kind == "file"}
    if sum(wanted.values()) > CONTENT_MOST:
        raise Unreadable(f"the files that it needs have more than {CONTENT_MOST / 1e6:.0f} MB")
    bounds.look()
    found: dict[tuple[int, int], bytes] = {}
    for layer in sorted({number for number, _ in wanted}):
        flow = Flow(unpacked(opened(layer), bounds))
        for count, _, info in members(flow):
            if (layer, count) in wanted:
                flow.seek(info.offset_data)
                found[layer, count] = _read(flow, wanted[layer, count])
        flow.drain()
    if found.keys() != wanted.keys():
        raise Unreadable("its layers are not what they were a moment ago")
    return found


def _read(flow: Flow, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (piece := flow.read(min(65_536, size - len(found)))):
        found += piece
    if len(found) != size:
        raise Unreadable("a layer ends in the middle of a file")
    return bytes(found)


def _entry(info: tarfile.TarInfo, place: tuple[int, int], own: Mapping[str, Entry]) -> Entry:
    about = Entry("other", stat.S_IMODE(info.mode), info.uid, info.gid, place=place)
    if info.islnk():
        return own.get(inside(info.linkname), about)
    if info.isdir():
        return replace(about, kind="folder")
    if info.issym():
        return replace(about, kind="link", target=info.linkname[:4_096])
    if info.isreg() and not info.issparse():
        return replace(about, kind="file", size=info.size, capable=_CAPABLE in info.pax_headers)
    return about
