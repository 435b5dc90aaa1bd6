"""The layers of an image as they come from a registry: unpacked piece by piece, within bounds, and never onto a disk.

Layers are hostile: they may unpack to any size, name paths outside of the image, or hold millions of entries. What goes
beyond the bounds ends the reading; what cannot be told apart safely is not guessed.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, cast

HEADER_MOST = 1024 * 1024
"""Bytes that the header of one entry may have: long names and extended attributes stand there."""
HEADERS_MOST = 4 * HEADER_MOST
"""Bytes of all headers between two entries: an archive may have chains of them, which name no entry."""
PATH_MOST = 4_096
NAMES_MOST = 32 * 1024 * 1024
PIECE = 256 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPED = b"\x2a\x4d\x18"
"""After one byte that begins with 5: a frame of zstd that holds no data."""
WINDOW_MOST = 8 * 1024 * 1024
"""What RFC 8878 (3.1.1.1.2) wants every reader to take, and builders write; a frame may ask for terabytes."""


class Unreadable(ValueError):
    """The image is not one that can be looked at: the text says why, for people."""


@dataclass
class Bounds:
    """What reading one image may take: bytes of unpacked layers in one look, entries, the time (monotonic clock).

    `names`: characters of all paths that are kept.
    """

    bytes: int
    entries: int
    until: float
    names: int = NAMES_MOST
    spent: int = field(default=0, init=False)

    def look(self) -> None:
        """Another look at the layers begins."""
        self.spent = 0

    def admit(self, size: int) -> None:
        """A layer of this size, as it is stored, may be read. Raises Unreadable."""
        if size > self.bytes - self.spent:
            raise Unreadable(f"its layers have more than {self.bytes / 1e6:.0f} MB (the setting max_bytes)")

    def take(self, count: int) -> None:
        """Bytes were unpacked. Raises Unreadable."""
        self.spent += count
        if self.spent > self.bytes:
            raise Unreadable(f"its layers unpack to more than {self.bytes / 1e6:.0f} MB (the setting max_bytes)")
        if time.monotonic() > self.until:
            raise Unreadable("it could not be read in time")

    def count(self, path: str = "") -> None:
        """One entry more, with this path. Raises Unreadable."""
        self.entries -= 1
        self.names -= len(path)
        if self.entries < 0:
            raise Unreadable("it has too many files")
        if self.names < 0:
            raise Unreadable("the names of its files are too long together")


def unpacked(pieces: Iterable[bytes], bounds: Bounds) -> Iterator[bytes]:
    """A layer's tar archive, from the layer as it is stored: plain, gzip of any members, or zstd of any frames.

    zstd only for who ships its library. Raises Unreadable.
    """
    flow = iter(pieces)
    head = b""
    while len(head) < 4 and (piece := next(flow, None)) is not None:
        head += piece
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPED and head[0] & 0xF0 == 0x50):
        for piece in _of_zstd(chain([head], flow)):
            bounds.take(len(piece))
            yield piece
        return
    if not head.startswith(_GZIP):
        for piece in chain([head], flow):
            bounds.take(len(piece))
            yield piece
        return
    try:
        for piece in _inflated(chain([head], flow)):
            bounds.take(len(piece))
            yield piece
    except zlib.error as error:
        raise Unreadable("a layer is no gzip archive, though it begins as one") from error


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Members of gzip, one after the other, a bounded piece at a time."""
    engine = zlib.decompressobj(31)
    for piece in pieces:
        waiting = piece
        while waiting:
            if engine.eof:
                engine = zlib.decompressobj(31)
            yield engine.decompress(waiting, PIECE)
            waiting = engine.unused_data if engine.eof else engine.unconsumed_tail


def _of_zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Frames of zstd (RFC 8878), one after the other, a bounded piece at a time. Raises Unreadable."""
    try:
        import zstandard
    except ImportError as error:
        raise Unreadable("a layer is compressed with zstd, which is not read here") from error
    engine = zstandard.ZstdDecompressor(max_window_size=WINDOW_MOST)
    try:
        source = cast("IO[bytes]", _Source(pieces))  # it is read, and nothing else
        with engine.stream_reader(source, read_size=PIECE, read_across_frames=True) as reader:
            while piece := reader.read(PIECE):
                yield piece
    except zstandard.ZstdError as error:
        raise Unreadable("a layer is no sound zstd archive, or asks for too much memory") from error


class _Source(io.RawIOBase):
    """Pieces as a file that is read forwards."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._here = b""

    def read(self, count: int = -1) -> bytes:
        """At most `count` of the next bytes; none at the end."""
        while not self._here and (piece := next(self._pieces, None)) is not None:
            self._here = piece
        found, self._here = (self._here, b"") if count < 0 else (self._here[:count], self._here[count:])
        return found


class Flow:
    """A file that is read forwards only, for `tarfile`: what lies between is dropped, and no long read is served."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._here = bytearray()
        self._at = 0
        self._left: int | None = None

    def bound(self, count: int | None) -> None:
        """How many bytes may be read from now on; None: any number."""
        self._left = count

    def tell(self) -> int:
        """Bytes that were read or passed over."""
        return self._at

    def seek(self, position: int) -> None:
        """Pass over what lies before `position`. Raises Unreadable if that lies behind."""
        if position < self._at:
            raise Unreadable("a layer's archive leads backwards")
        while self._at < position and self._fill():
            passed = min(position - self._at, len(self._here))
            del self._here[:passed]
            self._at += passed

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end. Raises Unreadable."""
        if not 0 <= count <= HEADER_MOST:
            raise Unreadable("a layer's archive has a header that is too long")
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise Unreadable("a layer's archive has too many headers for one file")
        while len(self._here) < count and self._more():
            pass
        found = bytes(self._here[:count])
        del self._here[:count]
        self._at += len(found)
        return found

    def drain(self) -> None:
        """Read all that is left: only then was the content compared with its digest."""
        self._here.clear()
        for _ in self._pieces:
            pass

    def _fill(self) -> bool:
        return bool(self._here) or self._more()

    def _more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._here += piece
                return True
        return False


def members(flow: Flow) -> Iterator[tuple[int, str, tarfile.TarInfo]]:
    """The entries of an archive with their numbers and their paths in the image, as `usr/bin/app`. Raises Unreadable.

    After each entry the flow may be read on from `offset_data` for the content of a plain file.
    """
    flow.bound(HEADERS_MOST)  # opening reads the first entry
    try:
        with tarfile.open(fileobj=flow, mode="r:") as tar:  # type: ignore[call-overload] # it asks for no more than these
            number = 0
            while (entry := _next(tar, flow)) is not None:
                yield number, inside(entry.name), entry
                number += 1
    except Unreadable:
        raise
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
        raise Unreadable(f"a layer is no sound archive: {type(error).__name__}") from error


def _next(tar: Any, flow: Flow) -> tarfile.TarInfo | None:
    flow.bound(HEADERS_MOST)
    found: tarfile.TarInfo | None = tar.next()
    flow.bound(None)
    tar.members.clear()  # or it would remember each
    if sum(len(name) + len(value) for name, value in tar.pax_headers.items()) > HEADER_MOST:
        raise Unreadable("a layer's archive has too much to say of all its files")
    return found


def inside(path: str) -> str:
    """A path of an archive without slashes around it; the root is empty. Raises Unreadable for what leads out."""
    if len(path) > PATH_MOST or "\x00" in path:
        raise Unreadable("a layer has a path that is too long, or none")
    if ".." in path.split("/"):
        raise Unreadable("a layer names a path outside of the image")
    return posixpath.normpath(f"/{path}").strip("/")
