"""What an ELF program tells of itself: what it needs to start, and what it was made with.

Read with pyelftools: https://github.com/eliben/pyelftools. The file is hostile: only its headers, its dynamic segment
and a few small sections are looked at, each within bounds, and what the library makes of nonsense comes out as `NoElf`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
SEGMENTS = 128
SECTIONS = 512
TAGS = 2_000
SYMBOLS = 20_000
NOTE_BYTES = 64 * 1024
_PIE = 0x08000000
"""DF_1_PIE of DT_FLAGS_1: a program that may lie anywhere, and no library."""
MACHINES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64", "EM_386": "386", "EM_ARM": "arm", "EM_PPC64": "ppc64le"} | {
    "EM_S390": "s390x",
    "EM_RISCV": "riscv64",
}
"""How images call the architectures."""
LOADING = frozenset(
    {"dlopen", "getaddrinfo", "getgrgid", "getgrnam", "gethostbyname", "getpwnam", "getpwuid", "iconv_open"}
)
"""Functions for which glibc loads libraries when a program runs, though it is linked statically."""
_GO_INFO = b"\xff Go buildinf:"


class NoElf(ValueError):
    """The file is no ELF file, or one that makes no sense."""


@dataclass(frozen=True)
class Program:
    """An ELF file. `interpreter` is what loads it, empty if nothing has to; `needed` are the libraries that it names.

    `paths`: where it says that they are, RUNPATH or else RPATH. `runs`: it is a program, not a library. `comments` are
    what compilers wrote into it, `go` the version of Go. `loading` are those of `LOADING` that it calls.
    """

    machine: str
    runs: bool
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    go: str = ""
    loading: tuple[str, ...] = field(default=())

    @property
    def static(self) -> bool:
        """Whether it starts without any other file."""
        return self.runs and not self.interpreter and not self.needed


def read_elf(content: bytes) -> Program:
    """The program in these bytes. Raises NoElf."""
    if not content.startswith(MAGIC):
        raise NoElf("it is no ELF file")
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        return _program(ELFFile(io.BytesIO(content)), content)
    except NoElf:
        raise
    except (ELFError, ConstructError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise NoElf(f"its headers make no sense ({type(error).__name__})") from error
    except (OverflowError, MemoryError, RecursionError) as error:
        raise NoElf("its headers are out of bounds") from error


def _program(file: ELFFile, content: bytes) -> Program:
    if file.num_segments() > SEGMENTS:
        raise NoElf("it has too many segments")
    interpreter = ""
    tags: list[tuple[str, Any]] = []
    for segment in file.iter_segments():
        if segment["p_type"] == "PT_INTERP":
            raw = content[segment["p_offset"] : segment["p_offset"] + min(segment["p_filesz"], 4_096)]
            interpreter = raw.partition(b"\x00")[0].decode("utf-8", "replace")
        elif segment["p_type"] == "PT_DYNAMIC" and not tags:
            tags = list(_tags(segment))
    named = {name: [value for tag, value in tags if tag == name] for name in ("DT_NEEDED", "DT_RUNPATH", "DT_RPATH")}
    flags = next((value for tag, value in tags if tag == "DT_FLAGS_1"), 0)
    paths = named["DT_RUNPATH"] or named["DT_RPATH"]
    kind = file["e_type"]
    sections = _sections(file)
    return Program(
        machine=MACHINES.get(file["e_machine"], str(file["e_machine"])),
        runs=kind == "ET_EXEC" or (kind == "ET_DYN" and bool(interpreter or flags & _PIE)),
        interpreter=interpreter,
        needed=tuple(dict.fromkeys(map(str, named["DT_NEEDED"]))),
        paths=tuple(one for path in paths for one in str(path).split(":") if one),
        comments=_comments(sections),
        go=_go(sections),
        loading=_loading(sections),
    )


def _tags(segment: Any) -> Iterator[tuple[str, Any]]:
    texts = {"DT_NEEDED": "needed", "DT_RUNPATH": "runpath", "DT_RPATH": "rpath"}
    for number, tag in enumerate(segment.iter_tags()):
        if number >= TAGS:
            raise NoElf("its dynamic segment does not end")
        name = tag.entry.d_tag
        if name in texts:
            yield name, getattr(tag, texts[name])
        elif name == "DT_FLAGS_1":
            yield name, tag.entry.d_val


def _sections(file: ELFFile) -> dict[str, Any]:
    """The sections that are of use; none of a file whose table of sections is damaged or was taken away."""
    if not 0 < file.num_sections() <= SECTIONS:
        return {}
    wanted = (".comment", ".go.buildinfo", ".dynsym")
    return {section.name: section for section in file.iter_sections() if section.name in wanted}


def _comments(sections: dict[str, Any]) -> tuple[str, ...]:
    section = sections.get(".comment")
    if section is None or section["sh_size"] > NOTE_BYTES or section["sh_type"] == "SHT_NOBITS":
        return ()
    said = section.data().split(b"\x00")
    return tuple(dict.fromkeys(one.decode("ascii", "replace")[:200] for one in said if one))[:20]


def _go(sections: dict[str, Any]) -> str:
    """The version of Go: since 1.18 it stands in the section itself, with its length before it."""
    section = sections.get(".go.buildinfo")
    if section is None or section["sh_size"] > NOTE_BYTES * 16 or section["sh_type"] == "SHT_NOBITS":
        return ""
    data = section.data()
    if not data.startswith(_GO_INFO):
        return ""
    found = re.match(rb"go(\d+(?:\.\d+){0,2})", data[33:80]) if len(data) > 33 and data[15] & 2 else None
    return found[1].decode() if found else "1"


def _loading(sections: dict[str, Any]) -> tuple[str, ...]:
    """What it takes from its libraries, and which of these load others."""
    section = sections.get(".dynsym")
    if section is None or not 0 < section["sh_entsize"] <= 64 or section.num_symbols() > SYMBOLS:
        return ()
    undefined = {symbol.name for symbol in section.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF"}
    return tuple(sorted(undefined & LOADING))
