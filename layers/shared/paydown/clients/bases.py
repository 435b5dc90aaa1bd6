"""Base images on a build host: which packages one would have, bootstrapping, looking into and pushing one.

Only a host behind SSM can do it, with the documents of `functions/refresh_base_image/documents`: a Docker engine that
is reached over a socket runs containers, and a bootstrap needs rights that no container of ours gets.

A candidate is known by a key (32 hex digits) that its recipe and its packages make: whoever asks for the same again
finds what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paydown.clients.docker_hosts.reading import one_line
from paydown.clients.docker_hosts.ssm import SsmHost
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import GetCommandInvocationResultTypeDef

PACKAGES_DOCUMENT = "ListBasePackages"
BUILD_DOCUMENT = "BuildBaseImage"
READ_DOCUMENT = "ReadBaseImage"
UNPACK_DOCUMENT = "UnpackBaseImage"
CONTENTS_DOCUMENT = "ReadBaseContents"
PUSH_DOCUMENT = "PushBaseImage"
FORGET_DOCUMENT = "ForgetBaseImage"

_UNFIT = 12
"""The exit code of a document that trying again does not help."""


@dataclass(frozen=True)
class Recipe:
    """What a bootstrap is made of. `sources` are lines `deb MIRROR SUITE COMPONENT…`; `keyring` is a host's file."""

    suite: str
    sources: tuple[str, ...]
    variant: str
    include: tuple[str, ...]
    keyring: str

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
class Candidate:
    """How far a candidate is. `failed` is (run, why) of the last attempt; the rest is set when it is built."""

    running: bool = False
    failed: tuple[str, str] | None = None
    diff_id: str = ""
    image: str = ""


@dataclass(frozen=True)
class Entry:
    """A file: its kind (as `find` tells it: f, d, l, …), mode in octal, owner as `uid:gid`, and content.

    `content` is the SHA-256 of a regular file, and where a link leads.
    """

    kind: str
    mode: int
    owner: str
    content: str = ""

    @property
    def privileged(self) -> bool:
        """Whether it is a file that runs as its owner or group, whoever starts it."""
        return self.kind == "f" and bool(self.mode & 0o6000)


@dataclass(frozen=True)
class Contents:
    """What an image holds: versions by package (`name/architecture`), files by path, and the packages of each path."""

    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)
    owners: dict[str, frozenset[str]] = field(default_factory=dict)


class BuildHost(SsmHost):
    """A host that builds base images."""

    def packages(self, recipe: Recipe) -> dict[str, str]:
        """The versions of the packages that the recipe gives now, by `name/architecture`."""
        found = dict(_packages(self._run(PACKAGES_DOCUMENT, recipe.parameters)))
        if not found:
            raise PermanentError(f"{self._name}: mmdebstrap names no package")
        return found

    def build(self, key: str, run_id: str, recipe: Recipe) -> None:
        """Begin with a candidate, unless it is there or in the making. Returns at once."""
        self._send(BUILD_DOCUMENT, {"Key": [key], "Run": [run_id], **recipe.parameters}, "")

    def read(self, key: str) -> Candidate:
        """How far it is."""
        return _progress(self._run(READ_DOCUMENT, {"Key": [key]}))

    def unpack(self, image: str, run_id: str) -> None:
        """Begin to list what is in an image, unless that is done or going on. Returns at once.

        It is a candidate (`paydown-base:KEY`), or an image of a registry (`registry/repository@digest`).
        """
        self._send(UNPACK_DOCUMENT, {"Image": [image], "Run": [run_id]}, "")

    def contents(self, image: str) -> Contents | Candidate:
        """What is in an image; how far that is, if it is not listed yet."""
        output = self._run(CONTENTS_DOCUMENT, {"Image": [image]})
        try:
            read = read_contents(output)
        except ValueError as error:
            raise PermanentError(f"{self._name}: the list of files of {image} makes no sense: {error}") from error
        return read if read.files else _progress(output)

    def push(self, key: str, run_id: str, name: str) -> None:
        """Begin to push a candidate under a name, unless that is going on. Returns at once."""
        self._send(PUSH_DOCUMENT, {"Key": [key], "Run": [run_id], "Name": [name]}, "")

    def forget(self, key: str) -> bool:
        """Remove a candidate; False while something is being done with it."""
        return "running" not in self._run(FORGET_DOCUMENT, {"Key": [key]}).splitlines()

    def _failure(self, invocation: GetCommandInvocationResultTypeDef) -> Exception:
        if invocation["ResponseCode"] == _UNFIT:
            return PermanentError(f"{self._name}: {one_line(invocation['StandardErrorContent'])}")
        return super()._failure(invocation)


def open_build_host(host: Host, *, mark: str = "paydown") -> BuildHost:
    """The build host. Raises PermanentError for one that is not behind SSM."""
    if not isinstance(host.reach, Ssm):
        raise PermanentError(f"{host.ref} is reached by {host.reach.via}: a base image is bootstrapped over ssm only")
    return BuildHost(host.name, host.reach.instance_id, mark=mark)


def _progress(output: str) -> Candidate:
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


def candidate_name(key: str) -> str:
    """What a candidate is called on its host."""
    return f"paydown-base:{key}"


def read_contents(output: str) -> Contents:
    """What the listing document wrote. Raises ValueError.

    With `/usr` merged, packages still own files in `/bin` and the like: these count for where they really are.
    """
    files: dict[str, Entry] = {}
    hashes: dict[str, str] = {}
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
            case "owner":
                package, _, path = rest.partition(".list:")
                owned.append((package, path))
    for path, digest in hashes.items():
        found = files.get(path)
        if found is None:
            raise ValueError(f"{path} has a hash and is no file")
        files[path] = Entry(found.kind, found.mode, found.owner, digest)
    if missing := [path for path, entry in files.items() if entry.kind == "f" and not entry.content]:
        raise ValueError(f"{missing[0]} has no hash")
    moved = {path: f"/{entry.content}" for path, entry in files.items() if _merged(path, entry)}
    owners: dict[str, frozenset[str]] = {}
    for package, path in owned:
        top = "/" + path.split("/", 2)[1] if path.count("/") > 1 else ""
        place = moved[top] + path[len(top) :] if top in moved else path
        owners[place] = owners.get(place, frozenset()) | {package.partition(":")[0]}
    return Contents(dict(_packages(output)), files, owners)


def _merged(path: str, entry: Entry) -> bool:
    return entry.kind == "l" and path.count("/") == 1 and entry.content == f"usr{path}"


def _packages(output: str) -> Iterator[tuple[str, str]]:
    for line in output.splitlines():
        if line.startswith("package "):
            _, name, version, architecture = line.split()
            yield f"{name}/{architecture}", version
