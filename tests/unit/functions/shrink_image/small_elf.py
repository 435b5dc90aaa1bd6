"""ELF files of a few hundred bytes, made by hand: headers, a dynamic segment, and nothing that runs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

EXEC, DYN = 2, 3
X86_64, AARCH64 = 62, 183
LOAD, DYNAMIC, INTERP = 1, 2, 3
NEEDED, STRTAB, STRSZ, RPATH, RUNPATH, FLAGS_1 = 1, 5, 10, 15, 29, 0x6FFFFFFB
PIE = 0x08000000
_HEADER, _SEGMENT = 64, 56


def elf(
    *,
    kind: int = EXEC,
    machine: int = X86_64,
    interpreter: str = "",
    needed: Sequence[str] = (),
    runpath: str = "",
    rpath: str = "",
    flags: int = 0,
    tail: bytes = b"",
) -> bytes:
    """A 64-bit, little-endian ELF file with these facts; `tail` is put behind it."""
    names = [*needed, runpath, rpath]
    texts, offsets = b"\x00", []
    for name in names:
        offsets.append(len(texts))
        texts += name.encode() + b"\x00"
    dynamic = bool(needed or runpath or rpath or flags)
    count = 1 + bool(interpreter) + dynamic
    at = _HEADER + count * _SEGMENT
    path = interpreter.encode() + b"\x00" if interpreter else b""
    strings = at + len(path)
    tags = [(NEEDED, offset) for offset in offsets[: len(needed)]]
    tags += [(RUNPATH, offsets[-2])] if runpath else []
    tags += [(RPATH, offsets[-1])] if rpath else []
    tags += [(FLAGS_1, flags)] if flags else []
    tags += [(STRTAB, strings), (STRSZ, len(texts)), (0, 0)]
    table = b"".join(struct.pack("<QQ", tag, value) for tag, value in tags) if dynamic else b""
    size = strings + len(texts) + len(table)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 64, _HEADER, 0, 0, _HEADER, _SEGMENT, count, 0, 0, 0)
    segments = [_segment(LOAD, 0, size)]
    segments += [_segment(INTERP, at, len(path))] if interpreter else []
    segments += [_segment(DYNAMIC, strings + len(texts), len(table))] if dynamic else []
    return header + b"".join(segments) + path + texts + table + tail


def _segment(kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 1)
