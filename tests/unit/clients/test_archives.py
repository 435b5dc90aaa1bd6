"""Bounds of reading a layer's archive; the layers themselves are in the tests of the functions that read them."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import tracemalloc

import pytest

from paydown.clients.archives import Bounds, Flow, Unreadable, members, unpacked


def bounds(**others: int) -> Bounds:
    return Bounds(**{"bytes": 100_000_000, "entries": 10, **others}, until=time.monotonic() + 30)


def test_entries_and_their_names_are_counted() -> None:
    made = bounds(names=10)
    made.count("a" * 10)
    with pytest.raises(Unreadable, match="too long together"):
        made.count("b")
    made = bounds(entries=1)
    made.count()
    with pytest.raises(Unreadable, match="too many files"):
        made.count()


def test_a_layer_is_admitted_if_it_fits_in_what_is_left() -> None:
    made = bounds(bytes=1_000)
    made.take(400)
    made.admit(600)
    with pytest.raises(Unreadable, match="max_bytes"):
        made.admit(601)


def _chain(count: int, size: int) -> bytes:
    """Global headers, one after the other, which name no entry."""
    buffer = io.BytesIO()
    for number in range(count):
        said = b"k%08d=" % number + b"v" * size + b"\n"
        length = len(said) + len(str(size)) + 1
        record = b"%d %s" % (length, said)
        assert len(record) == length
        entry = tarfile.TarInfo("h")
        entry.type, entry.size = tarfile.XGLTYPE, length
        buffer.write(entry.tobuf() + record + bytes(-length % 512))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("before", "count", "size", "why"),
    [
        (False, 60, 900_000, "too many headers"),
        (True, 12, 900_000, "too many headers"),
        (True, 3, 500_000, "of all its files"),
        (False, 3, 500_000, "of all its files"),
        (True, 1, 10_000_000, "header that is too long"),
    ],
)
def test_chains_of_global_headers_are_a_bomb(before: bool, count: int, size: int, why: str) -> None:
    entry = tarfile.TarInfo("a").tobuf()
    stored = gzip.compress((entry if before else b"") + _chain(count, size) + entry + bytes(1_024), 1)
    tracemalloc.start()
    with pytest.raises(Unreadable, match=why):
        list(members(Flow(unpacked(iter([stored]), bounds()))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


def test_a_few_global_headers_are_sound() -> None:
    stored = _chain(2, 50) + tarfile.TarInfo("a").tobuf() + bytes(1_024)
    assert [path for _, path, _ in members(Flow(unpacked(iter([stored]), bounds())))] == ["a"]
