"""What a base image is made of and what it holds: recipes, how far a candidate is, and lists of packages and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from paydown.clients.docker_hosts.reading import one_line


class BaseRecipe(Protocol):
    """What a base image is made of, whatever its family."""

    @property
    def list_document(self) -> str:
        """The document that tells which packages it would have now."""

    @property
    def build_document(self) -> str:
        """The document that builds it."""

    @property
    def parameters(self) -> dict[str, list[str]]:
        """As both documents take it."""


@dataclass(frozen=True)
class Recipe:
    """What a bootstrap of Debian or Ubuntu is made of.

    `sources` are lines `deb MIRROR SUITE COMPONENT…`; `keyring` is a host's file.
    """

    suite: str
    sources: tuple[str, ...]
    variant: str
    include: tuple[str, ...]
    keyring: str

    list_document = "ListBasePackages"
    build_document = "BuildBaseImage"

    @property
    def parameters(self) -> dict[str, list[str]]:
        """As the documents take it."""
        return {
            "Suite": [self.suite],
            "Sources": list(self.sources),
            "Variant": [self.variant],
            "Include": [",".join(self.include)],
            "Keyring": [self.keyring],
        }


@dataclass(frozen=True)
class DnfRecipe:
    """What a system of the RHEL family is made of.

    `release` is what dnf calls releasever. `repositories` are lines `ID URL` or, where the lists are signed, too,
    `ID URL repo_gpgcheck`. `keys` are a host's files.
    """

    release: str
    repositories: tuple[str, ...]
    keys: tuple[str, ...]
    include: tuple[str, ...]

    list_document = "ListRpmPackages"
    build_document = "BuildRpmBase"

    @property
    def parameters(self) -> dict[str, list[str]]:
        """As the documents take it."""
        return {
            "Release": [self.release],
            "Repositories": list(self.repositories),
            "Keys": list(self.keys),
            "Include": [",".join(self.include)],
        }


@dataclass(frozen=True)
class Candidate:
    """How far a candidate is. `failed` is (run, why) of the last attempt; the rest is set when it is built."""

    running: bool = False
    failed: tuple[str, str] | None = None
    diff_id: str = ""
    image: str = ""


@dataclass(frozen=True)
class Entry:
    """A file: its kind (as `find` tells it: f, d, l, …), mode in octal, owner as `uid:gid`, and content.

    `content` is the SHA-256 of a regular file, and where a link leads. `capable`: it has capabilities of the kernel.
    """

    kind: str
    mode: int
    owner: str
    content: str = ""
    capable: bool = False

    @property
    def privileged(self) -> bool:
        """Whether it is a file that runs as its owner or group, or with capabilities, whoever starts it."""
        return self.kind == "f" and (self.capable or bool(self.mode & 0o6000))


@dataclass(frozen=True)
class Contents:
    """What an image holds: versions by package (`name/architecture`), files by path, and the packages of each path."""

    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)
    owners: dict[str, frozenset[str]] = field(default_factory=dict)


def candidate_name(key: str) -> str:
    """What a candidate is called on its host."""
    return f"paydown-base:{key}"


def read_progress(output: str) -> Candidate:
    """How far a candidate is, as the documents tell it."""
    running, failed, built = False, None, ("", "")
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        match word:
            case "running":
                running = True
            case "failed":
                run, _, why = rest.partition(" ")
                failed = run, one_line(why)
            case "done":
                diff_id, _, image = rest.partition(" ")
                built = diff_id, image
    return Candidate(running, failed, *built)


def read_contents(output: str) -> Contents:
    """What the listing document wrote. Raises ValueError.

    With `/usr` merged, packages still own files in `/bin` and the like: these count for where they really are.
    """
    files: dict[str, Entry] = {}
    hashes: dict[str, str] = {}
    capable: list[str] = []
    owned: list[tuple[str, str]] = []
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        match word:
            case "entry":
                kind, mode, owner, named = rest.split(" ", 3)
                path, _, leads = named.partition("\t")
                files[f"/{path}"] = Entry(kind, int(mode, 8), owner, leads)
            case "hash":
                digest, _, path = rest.partition("  ")
                hashes[path.removeprefix(".")] = digest
            case "capable":
                capable.append(rest.removeprefix("."))
            case "owner":
                package, _, path = rest.partition(".list:")
                owned.append((package, path))
    for path, digest in hashes.items():
        files[path] = replace(_known(files, path, "a hash"), content=digest)
    for path in capable:
        files[path] = replace(_known(files, path, "capabilities"), capable=True)
    if missing := [path for path, entry in files.items() if entry.kind == "f" and not entry.content]:
        raise ValueError(f"{missing[0]} has no hash")
    return Contents(dict(read_packages(output)), files, _owners(owned, files))


def _owners(owned: Iterable[tuple[str, str]], files: Mapping[str, Entry]) -> dict[str, frozenset[str]]:
    """The packages of each path, where it really is: `/sbin` may lead to `/usr/sbin`, and that to `/usr/bin`."""
    moved = {path: f"/{entry.content}" for path, entry in files.items() if _merged(path, entry)}
    programs = files.get("/usr/sbin")
    if programs and (programs.kind, programs.content) == ("l", "bin"):
        moved["/usr/sbin"] = "/usr/bin"
    owners: dict[str, frozenset[str]] = {}
    for package, path in owned:
        place = path
        for old, new in sorted(moved.items()):
            if place.startswith(f"{old}/"):
                place = new + place[len(old) :]
        owners[place] = owners.get(place, frozenset()) | {package.partition(":")[0]}
    return owners


def _known(files: Mapping[str, Entry], path: str, what: str) -> Entry:
    if path not in files:
        raise ValueError(f"{path} has {what} and is no file")
    return files[path]


def _merged(path: str, entry: Entry) -> bool:
    return entry.kind == "l" and path.count("/") == 1 and entry.content == f"usr{path}"


def read_packages(output: str) -> Iterator[tuple[str, str]]:
    """Each package (`name/architecture`) with its version, as the documents tell them."""
    for line in output.splitlines():
        if line.startswith("package "):
            _, name, version, architecture = line.split()
            yield f"{name}/{architecture}", version
