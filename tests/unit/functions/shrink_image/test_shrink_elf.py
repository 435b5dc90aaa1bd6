"""What is read from ELF files, sound and unsound ones."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from functions.shrink_image.elf import NoElf, read_elf
from tests.unit.functions.shrink_image.small_elf import AARCH64, DYN, PIE, elf

LOADER = "/lib64/ld-linux-x86-64.so.2"


@pytest.mark.parametrize(
    ("made", "runs", "static"),
    [
        ({}, True, True),
        ({"kind": DYN, "flags": PIE}, True, True),
        ({"kind": DYN, "flags": PIE, "interpreter": LOADER, "needed": ["libc.so.6"]}, True, False),
        ({"interpreter": LOADER}, True, False),
        ({"needed": ["libc.so.6"]}, True, False),
        ({"kind": DYN, "needed": ["libc.so.6"]}, False, False),
        ({"kind": DYN}, False, False),
        ({"kind": 1}, False, False),
    ],
)
def test_static_programs_need_nothing_to_start(made: dict[str, Any], runs: bool, static: bool) -> None:
    program = read_elf(elf(**made))
    assert (program.runs, program.static) == (runs, static)


def test_what_a_dynamic_program_needs() -> None:
    program = read_elf(
        elf(
            kind=DYN,
            machine=AARCH64,
            interpreter=LOADER,
            needed=["libz.so.1", "libc.so.6"],
            runpath="$ORIGIN/../lib:/opt",
        )
    )
    assert program.machine == "arm64"
    assert program.interpreter == LOADER
    assert program.needed == ("libz.so.1", "libc.so.6")
    assert program.paths == ("$ORIGIN/../lib", "/opt")


def test_runpath_counts_before_rpath() -> None:
    assert read_elf(elf(needed=["a"], rpath="/old")).paths == ("/old",)
    assert read_elf(elf(needed=["a"], rpath="/old", runpath="/new")).paths == ("/new",)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01"])
def test_what_is_no_elf_file_is_refused(content: bytes) -> None:
    with pytest.raises(NoElf):
        read_elf(content)


def test_a_file_that_was_cut_is_refused_or_read_as_far_as_it_goes() -> None:
    whole = elf(interpreter=LOADER, needed=["libc.so.6"], runpath="/x")
    for length in range(0, len(whole), 3):
        try:
            read_elf(whole[:length])
        except NoElf:
            continue


def test_damaged_files_end_as_no_elf() -> None:
    """Any byte may be any other: nothing else than `NoElf` comes out, and soon."""
    chance, whole = random.Random(7), elf(kind=DYN, interpreter=LOADER, needed=["libc.so.6"], flags=PIE)
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, len(damaged))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        try:
            read_elf(bytes(damaged))
        except NoElf:
            continue


def test_too_many_segments_are_not_looked_at() -> None:
    made = bytearray(elf())
    struct.pack_into("<H", made, 56, 60_000)
    with pytest.raises(NoElf, match="too many segments"):
        read_elf(bytes(made))


def test_a_dynamic_segment_that_does_not_end() -> None:
    tags = struct.pack("<QQ", 21, 0) * 5_000
    made = bytearray(elf(needed=["a"], tail=tags))
    segment = 64 + 56
    struct.pack_into("<Q", made, segment + 8, len(made) - len(tags))
    struct.pack_into("<Q", made, segment + 32, len(tags))
    with pytest.raises(NoElf):
        read_elf(bytes(made))
