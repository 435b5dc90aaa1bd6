"""Bounds of reading a layer's archive; the layers themselves are in the tests of the functions that read them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import tarfile
import time
import tracemalloc

import pytest
import zstandard

from paydown.clients.archives import PIECE, Bounds, Flow, Unreadable, members, unpacked


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


def zstd(content: bytes, **parameters: int) -> bytes:
    chosen = zstandard.ZstdCompressionParameters.from_level(3, **parameters)
    return zstandard.ZstdCompressor(compression_params=chosen).compress(content)


def test_zstd_of_any_frames_is_unpacked_in_pieces() -> None:
    content = os.urandom(700_000)
    skipped = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"ignored"
    stored = skipped + zstd(content[:300_000]) + skipped + zstd(content[300_000:])
    for size in (1, 1_000, len(stored)):
        pieces = (stored[at : at + size] for at in range(0, len(stored), size))
        found = list(unpacked(pieces, bounds(bytes=300_000_000)))
        assert b"".join(found) == content
        assert max(map(len, found)) <= PIECE


def test_a_frame_that_wants_much_memory_is_not_read() -> None:
    content = os.urandom(20_000_000)
    with pytest.raises(Unreadable, match="too much memory"):
        list(unpacked([zstd(content, window_log=25, write_content_size=0)], bounds(bytes=300_000_000)))
    assert (
        b"".join(unpacked([zstd(content, window_log=23, write_content_size=0)], bounds(bytes=300_000_000))) == content
    )


def test_a_small_layer_of_zstd_that_unpacks_to_much_ends() -> None:
    stored = zstd(bytes(200_000_000))
    assert len(stored) < 20_000
    with pytest.raises(Unreadable, match="unpack to more than 1 MB"):
        list(unpacked([stored], bounds(bytes=1_000_000)))


@pytest.mark.parametrize("cut", [5, 9, 600])
def test_damaged_zstd_is_no_crash(cut: int) -> None:
    stored = bytearray(zstd(os.urandom(5_000)))
    stored[cut] ^= 0xFF
    with contextlib.suppress(Unreadable):
        assert len(b"".join(unpacked([bytes(stored)], bounds(bytes=300_000_000)))) <= 5_000


def test_without_the_library_zstd_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(Unreadable, match="zstd, which is not read here"):
        list(unpacked([zstd(b"x")], bounds(bytes=300_000_000)))
