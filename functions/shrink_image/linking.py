"""The libraries that a dynamic program needs, found in the image's files as its loader would find them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from functions.shrink_image.elf import NoElf, Program, read_elf
from functions.shrink_image.tree import Entry, Tree

DEPTH = 8
LIBRARIES = 100
PATHS = 40
_TRIPLETS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "ppc64le": "powerpc64le", "s390x": "s390x"} | {
    "riscv64": "riscv64",
    "arm": "arm",
}
Contents = Callable[[Sequence[Entry]], Mapping[tuple[int, int], bytes]]
"""The content of files of the image, by their places."""


@dataclass(frozen=True)
class Linked:
    """What a program is loaded with: names as they were asked for, and where they are; empty if nothing was found."""

    interpreter: str
    libraries: Mapping[str, str]
    size: int
    """Bytes of the interpreter and all the libraries that were found."""

    @property
    def missing(self) -> list[str]:
        """The names that lead nowhere."""
        return [name for name, path in self.libraries.items() if not path]


def linked(program: Program, path: str, tree: Tree, environment: Mapping[str, str], contents: Contents) -> Linked:
    """The interpreter and all the libraries, also those of libraries, of the program at `path`."""
    found: dict[str, str] = {}
    loader = tree.resolve(program.interpreter)
    size = loader[1].size if loader else 0
    layer = [(program, path)]
    for _ in range(DEPTH):
        fresh: dict[str, tuple[str, Entry]] = {}
        for asking, where in layer:
            for name in asking.needed[:LIBRARIES]:
                if name in found or len(found) >= LIBRARIES:
                    continue
                found[name] = ""
                if (place := _library(name, asking, where, tree, environment)) is not None:
                    fresh[name] = place
        if not fresh:
            break
        raw = contents([entry for _, entry in fresh.values()])
        layer = []
        for name, (where, entry) in fresh.items():
            found[name] = f"/{where}"
            size += entry.size if loader is None or where != loader[0] else 0
            try:
                layer.append((read_elf(raw[entry.place]), f"/{where}"))
            except NoElf:
                continue  # the loader reads a linker's script as little as this does
    return Linked(f"/{loader[0]}" if loader else "", found, size)


def _library(
    name: str, program: Program, path: str, tree: Tree, environment: Mapping[str, str]
) -> tuple[str, Entry] | None:
    """Where a library is: by its own path, or in the first folder of the loader's order that has it."""
    if "/" in name:
        places = [name]
    else:
        own = [one.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", posixpath.dirname(path)) for one in program.paths]
        asked = [one for one in environment.get("LD_LIBRARY_PATH", "").split(":") if one]
        places = [posixpath.join(folder, name) for folder in [*asked, *own][:PATHS] + _folders(program)]
    for place in places:
        found = tree.resolve(place)
        if found is not None and found[1].kind == "file":
            return found
    return None


def _folders(program: Program) -> list[str]:
    """Where loaders look without being told: glibc with and without Debian's folders, and musl."""
    name = _TRIPLETS.get(program.machine, program.machine)
    kind = "gnueabihf" if program.machine == "arm" else "gnu"
    folders = [f"/lib/{name}-linux-{kind}", f"/usr/lib/{name}-linux-{kind}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    return [*folders, "/usr/local/lib", "/usr/local/lib64"]
