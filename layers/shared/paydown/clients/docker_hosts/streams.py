"""What a container writes, as an engine sends it."""

from __future__ import annotations

from collections.abc import Iterator

_HEAD_BYTES = 8


class Demultiplexer:
    """Takes the two streams apart that an engine sends as one: pieces, each after a head of 8 bytes."""

    def __init__(self) -> None:
        self._stream = 0
        self._left = 0
        self._head = b""

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The pieces in some more bytes, each with the number of its stream."""
        at = 0
        while at < len(data):
            if not self._left:
                need = _HEAD_BYTES - len(self._head)
                self._head, at = self._head + data[at : at + need], at + need
                if len(self._head) == _HEAD_BYTES:
                    self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
                    self._head = b""
                continue
            piece = data[at : at + self._left]
            at, self._left = at + len(piece), self._left - len(piece)
            yield self._stream, piece
