"""Policy and inventory: immutable versions, and a pointer to the current one that moves conditionally.

A document is validated, stored under the next version number as compressed chunks, and only then becomes current. A run
records the version that it was judged by. Documents lie in the ledger's table, since a function that needs no other
service starts faster; a chunk keeps below DynamoDB's 400 KB for an item.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from paydown.errors import PaydownError, RetryableError
from paydown.ledger.table import ConditionFailed, Item, Table

T = TypeVar("T")
_CHUNK = 350_000


class NoDocument(RetryableError):
    """Nothing has been published yet: what needs it waits until somebody does."""


class Conflict(PaydownError):
    """Somebody else published meanwhile."""


@dataclass(frozen=True)
class Version(Generic[T]):
    """A published document: its number, the SHA-256 of its text, who published it when, and the parsed document."""

    number: int
    sha256: str
    by: str
    at: str
    document: T


class Documents(Generic[T]):
    """The versions of one kind of document; `parse` turns plain JSON data into it or raises InvalidDocument."""

    def __init__(self, table: Table, kind: str, parse: Callable[[Any], T]) -> None:
        self.table = table
        self.kind = kind
        self._parse = parse
        self._cached: Version[T] | None = None

    @property
    def _partition(self) -> str:
        return f"DOC#{self.kind}"

    @property
    def pointer_key(self) -> tuple[str, str]:
        """The key of the pointer to the version in force, for reading it together with other items."""
        return self._partition, "CURRENT"

    def current(self) -> Version[T]:
        """The version in force: the pointer is read consistently each time, the document itself only when it changed.

        Raises NoDocument.
        """
        return self.pointed_at(self.table.get(*self.pointer_key))

    def pointed_at(self, pointer: Item | None, chunks: Mapping[tuple[str, str], Item] | None = None) -> Version[T]:
        """The version that a pointer names; `chunks` are items that were read before. Raises NoDocument."""
        if pointer is None:
            raise NoDocument(f"no {self.kind} has been published: paydown {self.kind} publish FILE")
        if self._cached is None or self._cached.number != pointer["version"]:
            self._cached = self._read(pointer, chunks or {})
        return self._cached

    def missing(self, pointer: Item | None) -> list[tuple[str, str]]:
        """The keys of what has to be read for the version that a pointer names."""
        if pointer is None or (self._cached is not None and self._cached.number == pointer["version"]):
            return []
        number, digest = int(pointer["version"]), pointer["sha256"]
        return [(self._partition, _chunk_key(number, digest, index)) for index in range(int(pointer["chunks"]))]

    def version(self, number: int) -> Version[T]:
        """A version by its number. Raises NoDocument."""
        head = self.table.get(self._partition, f"V#{number:06}")
        if head is None:
            raise NoDocument(f"there is no version {number} of the {self.kind}")
        return self._read(head, {})

    def publish(self, document: Any, by: str, now: datetime, expected: int | None = None) -> Version[T]:
        """Validate a document, store it as the next version and make it current.

        With `expected`, only if that is the number of the version in force. Publishing what is in force changes
        nothing. Raises InvalidDocument (the current one stays in force) and Conflict.
        """
        parsed = self._parse(document)
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        sha256 = hashlib.sha256(text).hexdigest()
        pointer = self.table.get(self._partition, "CURRENT")
        before = int(pointer["version"]) if pointer else 0
        if expected is not None and expected != before:
            raise Conflict(f"version {before} of the {self.kind} is in force, not {expected}")
        if pointer and pointer["sha256"] == sha256:
            return self.current()
        number = before + 1
        packed = zlib.compress(text, 9)
        chunks = [packed[first : first + _CHUNK] for first in range(0, len(packed), _CHUNK)]
        at = now.isoformat(timespec="seconds")
        head = {"pk": self._partition, "version": number, "sha256": sha256, "by": by, "at": at, "chunks": len(chunks)}
        for index, chunk in enumerate(chunks):
            # Under the digest too: two who publish at once must not mix their chunks.
            item = {"pk": self._partition, "sk": _chunk_key(number, sha256, index), "data": chunk}
            self.table.transact([self.table.put(item)])
        unchanged = "#version = :before" if pointer else "attribute_not_exists(pk)"
        values = {"before": before} if pointer else {}
        try:
            self.table.transact(
                [
                    self.table.put({**head, "sk": f"V#{number:06}"}, "attribute_not_exists(pk)"),
                    self.table.put({**head, "sk": "CURRENT"}, unchanged, **values),
                ]
            )
        except ConditionFailed:
            raise Conflict(f"another {self.kind} was published meanwhile") from None
        return Version(number, sha256, by, at, parsed)

    def text(self, number: int) -> Any:
        """The plain JSON data of a version, as it was published. Raises NoDocument."""
        head = self.table.get(self._partition, f"V#{number:06}")
        if head is None:
            raise NoDocument(f"there is no version {number} of the {self.kind}")
        return self._load(head, {})

    def _read(self, head: Item, chunks: Mapping[tuple[str, str], Item]) -> Version[T]:
        document = self._parse(self._load(head, chunks))
        return Version(int(head["version"]), head["sha256"], head["by"], head["at"], document)

    def _load(self, head: Item, chunks: Mapping[tuple[str, str], Item]) -> Any:
        packed = b""
        for index in range(int(head["chunks"])):
            key = _chunk_key(int(head["version"]), head["sha256"], index)
            item = chunks.get((self._partition, key)) or self.table.get(self._partition, key)
            if item is None:
                raise NoDocument(f"version {head['version']} of the {self.kind} lacks part {index}")
            packed += bytes(item["data"])
        text = zlib.decompress(packed)
        if hashlib.sha256(text).hexdigest() != head["sha256"]:
            raise NoDocument(f"version {head['version']} of the {self.kind} is damaged")
        return json.loads(text)


def _chunk_key(number: int, sha256: str, index: int) -> str:
    return f"CHUNK#{number:06}#{sha256[:16]}#{index:03}"
