"""Layers, sound and hostile: what an image's files are, and what is refused."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from functions.shrink_image import tree as tree_module
from functions.shrink_image.tree import contents, tree_of
from paydown.clients.archives import HEADER_MOST, Flow, Unreadable, inside, members, unpacked
from tests.unit.functions.shrink_image.layers import bounds, layer, opener, tree


def read(raw: bytes, path: str) -> bytes:
    """The content of one file of an image with one layer."""
    found = tree_of(1, opener([raw]), bounds())
    entry = found.file(path)
    assert entry is not None
    return contents([entry], opener([raw]), bounds())[entry.place]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda raw: gzip.compress(raw[:700]) + gzip.compress(raw[700:])]
)
def test_plain_and_packed_layers(pack: object) -> None:
    raw = layer({"usr/bin/app": b"program", "etc/x": b"y" * 5_000})
    assert callable(pack)
    assert read(pack(raw), "/usr/bin/app") == b"program"
    assert read(pack(raw), "/etc/x") == b"y" * 5_000


def test_higher_layers_cover_lower_ones() -> None:
    found = tree(
        {"a": b"1", "b": None, "b/x": b"1", "c/x": b"1", "c/y": b"1", "d": b"12", "e/x": b"1"},
        {".wh.a": b"", "c/.wh..wh..opq": b"", "c/z": b"2", "d": b"123", "e": b"now a file"},
        {"b/.wh.x": b"", "a2": b""},
    )
    assert set(found.entries) == {"a2", "b", "c", "c/z", "d", "e"}
    assert found.entries["d"].size == 3


def test_a_whiteout_does_not_take_what_its_own_layer_brings() -> None:
    assert set(tree({"a/x": b"1"}, {"a/.wh.x": b"", "a/y": b""}).entries) == {"a", "a/y"}
    assert "a" in tree({"a": b"1"}, {".wh.a": b"", "a": b"2"}).entries


def test_folders_without_an_entry_are_there() -> None:
    found = tree({"usr/local/bin/app": b""})
    assert found.entries["usr/local"].kind == "folder"
    assert found.file("/usr/local/bin/app")


def test_links_stay_inside() -> None:
    found = tree(
        {
            "etc/passwd": b"root",
            "bin": ("link", "usr/bin"),
            "usr/bin/app": ("link", "../lib/app-1"),
            "usr/lib/app-1": b"program",
            "up": ("link", "../../../../etc/passwd"),
            "absolute": ("link", "/etc"),
            "loop": ("link", "loop"),
            "one": ("link", "two"),
            "two": ("link", "one"),
            "hard": ("hard", "usr/lib/app-1"),
            "dangling": ("link", "/nowhere"),
            "odd": ("hard", "not/there"),
        }
    )
    resolved = {
        path: at[0] if (at := found.resolve(path)) else None for path in ("/bin/app", "/up", "/absolute/passwd")
    }
    assert resolved == {"/bin/app": "usr/lib/app-1", "/up": "etc/passwd", "/absolute/passwd": "etc/passwd"}
    assert [found.resolve(path) for path in ("/loop", "/one", "/dangling", "/etc/passwd/x", "/", "")] == [None] * 6
    hard = found.file("/hard")
    assert hard is not None
    assert hard.size == len(b"program")
    assert found.file("/odd") is None


def test_a_hard_link_has_the_content() -> None:
    assert read(layer({"a": b"content", "b": ("hard", "a")}), "b") == b"content"


def test_the_last_of_two_entries_counts() -> None:
    both = layer({"a": b"first"})[:1024] + layer({"a": b"second"})
    assert read(both, "a") == b"second"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/..", "a/b/.."])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(Unreadable, match="outside of the image"):
        tree({path: b""})


def test_names_are_cleaned() -> None:
    assert [inside(path) for path in ("./a/b", "/a//b/", ".", "a/./b")] == ["a/b", "a/b", "", "a/b"]
    with pytest.raises(Unreadable):
        inside("a/" * 3_000)


def test_a_link_that_leads_out_of_its_layer_is_refused() -> None:
    with pytest.raises(Unreadable):
        tree({"a": ("hard", "../../etc/shadow")})


def bomb(count: int) -> Iterator[bytes]:
    """Zeros by the gigabyte, packed."""
    engine = zlib.compressobj(9, wbits=31)
    for _ in range(count):
        yield engine.compress(bytes(1_000_000))
    yield engine.flush()


def test_a_bomb_ends_at_the_limit() -> None:
    packed = b"".join(bomb(60))
    assert len(packed) < 1_000_000
    limit = bounds(size=5_000_000)
    tracemalloc.start()
    with pytest.raises(Unreadable, match="unpack to more than 5 MB"):
        for _ in unpacked([packed], limit):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert limit.spent < 6_000_000
    assert peak < 10_000_000


def test_time_is_up() -> None:
    with pytest.raises(Unreadable, match="in time"):
        tree_of(1, opener([layer({"a": b"x"})]), bounds(seconds=-1))


def test_too_many_entries() -> None:
    raw = layer({f"f{number}": b"" for number in range(50)})
    with pytest.raises(Unreadable, match="too many files"):
        tree_of(1, opener([raw]), bounds(entries=49))
    deep = layer({"/".join("a" * 60): b""})
    with pytest.raises(Unreadable, match="too many files"):
        tree_of(1, opener([deep]), bounds(entries=30))


def test_a_header_that_is_too_long_is_not_taken_into_memory() -> None:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 200_000_000
    head = entry.tobuf(tarfile.USTAR_FORMAT)
    pieces = itertools.chain([head], itertools.repeat(bytes(100_000), 1_000))
    with pytest.raises(Unreadable, match="header that is too long"):
        list(members(Flow(unpacked(pieces, bounds(size=1_000_000_000)))))
    assert entry.size > HEADER_MOST


def test_damaged_archives() -> None:
    for raw in (
        b"no tar at all" * 100,
        layer({"a": b"x" * 3_000})[:1_500],
        b"\x1f\x8bno gzip",
        b"\x28\xb5\x2f\xfd" * 9,
    ):
        with pytest.raises(Unreadable):
            read(raw, "a")


def test_negative_sizes_do_not_lead_backwards() -> None:
    entry = tarfile.TarInfo("x")
    head = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 10 + b"\xf0\x00"  # -4096, in base 256
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    with pytest.raises(Unreadable):
        list(members(Flow(iter([bytes(head) * 3]))))


def test_large_files_are_passed_over_and_not_kept() -> None:
    raw = layer({"large": bytes(12_000_000), "small": b"s"})
    tracemalloc.start()
    assert read(raw, "small") == b"s"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000 + len(raw), "the opener itself holds the pieces"


def test_content_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "CONTENT_MOST", 10)
    with pytest.raises(Unreadable, match="the files that it needs"):
        read(layer({"a": b"x" * 11}), "a")


def test_file_capabilities_are_seen() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("app")
        entry.pax_headers = {"SCHILY.xattr.security.capability": "x"}
        tar.addfile(entry)
    found = tree_of(1, opener([buffer.getvalue()]), bounds()).file("app")
    assert found is not None
    assert found.capable
