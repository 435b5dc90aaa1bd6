"""What is unexpected in a new base image: its packages and files against the last base, decided from facts alone.

A file may change with the version of a package that owns it, or if the settings name it. What no package owns may
change as well if it is known to be written anew by the package managers. What runs with another's rights must be named
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from functions.refresh_base_image.settings import Base
from paydown.clients.base_contents import Contents, Entry

WRITTEN_ANEW = (
    "/var/cache/debconf/*",
    "/var/cache/dnf/*",
    "/var/cache/libdnf5/*",
    "/var/lib/apt/*",
    "/var/lib/dnf/*",
    "/var/lib/dpkg/*",
)
"""Patterns of files of no package that the package managers keep their books in."""

GHOSTS = (
    "/etc/ld.so.cache",
    "/usr/lib/sysimage/rpm/*",
    "/var/cache/ldconfig/*",
    "/var/lib/rpm/*",
)
"""Patterns of the same that the packages of rpm and the C library call theirs without bringing them."""

SHOWN = 40
"""Packages and files that a plan or its evidence names."""


@dataclass(frozen=True)
class Changes:
    """Packages (`name/architecture`) that came, went, or have another version."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @classmethod
    def between(cls, old: Mapping[str, str], new: Mapping[str, str]) -> Changes:
        """What became of the packages."""
        return cls(
            tuple(sorted(new.keys() - old.keys())),
            tuple(sorted(old.keys() - new.keys())),
            tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        )

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them, without their architectures."""
        return frozenset(name.partition("/")[0] for name in (*self.added, *self.removed, *self.changed))

    @property
    def note(self) -> str:
        """How many there are of each, in words."""
        return f"{len(self.changed)} packages have another version, {len(self.added)} came, {len(self.removed)} went"

    def shown(self) -> dict[str, list[str]]:
        """The first of each, for a plan and its evidence."""
        return {name: list(getattr(self, name)[:SHOWN]) for name in ("added", "removed", "changed")}


def unexpected(new: Contents, last: Contents | None, base: Base) -> list[str]:
    """What nobody expected, in words. Without a last base only what runs with another's rights is judged."""
    found = [f"{_rights(entry)} {path}" for path, entry in sorted(_strange(new, base))]
    if last is None:
        return found
    changes = Changes.between(last.packages, new.packages)
    expected = (*base.include, *base.packages)
    for what, names in (("a new package", changes.added), ("a lost package", changes.removed)):
        found += [f"{what} {name.partition('/')[0]}" for name in names if not _named(name, expected)]
    return found + [f"{what} {path}" for path, what in sorted(_files(new, last, changes.names, base))]


def differing(new: Contents, last: Contents) -> list[str]:
    """The paths that are not the same in both."""
    return sorted(path for path in new.files.keys() | last.files.keys() if new.files.get(path) != last.files.get(path))


def _strange(new: Contents, base: Base) -> Iterator[tuple[str, Entry]]:
    for path, entry in new.files.items():
        if (entry.privileged and path not in base.privileged) or entry.kind not in ("f", "d", "l"):
            yield path, entry


def _rights(entry: Entry) -> str:
    if entry.kind not in ("f", "d", "l"):
        return f"a file of the kind {entry.kind}"
    if entry.mode & 0o6000:
        return "a setuid file" if entry.mode & 0o4000 else "a setgid file"
    return "a file with capabilities"


def _files(new: Contents, last: Contents, changed: frozenset[str], base: Base) -> Iterator[tuple[str, str]]:
    for path in differing(new, last):
        owners = new.owners.get(path, frozenset()) | last.owners.get(path, frozenset())
        if owners & changed or _matches(path, GHOSTS) or path in base.files:
            continue
        if not owners and _matches(path, WRITTEN_ANEW):
            continue
        what = "changed" if path in new.files and path in last.files else "new" if path in new.files else "lost"
        owner = f" of {', '.join(sorted(owners))}, whose version is the same," if owners else " of no package"
        yield path, f"a {what} file{owner}"


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _named(name: str, patterns: Iterable[str]) -> bool:
    return _matches(name.partition("/")[0], patterns)
