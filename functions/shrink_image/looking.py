"""Looking at an image: which program it starts, what that needs beside it, and what it would be without the rest."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from functions.shrink_image.elf import MAGIC, NoElf, Program, read_elf
from functions.shrink_image.linking import Contents, Linked, linked
from functions.shrink_image.made import Made, made
from functions.shrink_image.needs import Needs, Unknown, accounts, needs
from functions.shrink_image.original import SHRUNK, Original, original
from functions.shrink_image.settings import Settings
from functions.shrink_image.toolchain import Toolchain, toolchain
from functions.shrink_image.tree import Entry, Tree, contents, tree_of
from paydown.clients.archives import Bounds, Unreadable
from paydown.clients.registry import RegistryApi

ENTRIES = 200_000
"""Entries of all layers that are read."""
VOLUMES = 20
RUNNERS = frozenset(
    {"ash", "bash", "busybox", "catatonit", "dash", "deno", "dotnet", "dumb-init", "env", "erl", "guile", "java", "ksh"}
    | {"lua", "mono", "node", "nodejs", "perl", "php", "php-fpm", "pwsh", "R", "ruby", "s6-svscan", "sh", "su-exec"}
    | {"supervisord", "tclsh", "tini", "toybox", "zsh", "gosu", "pypy", "bun", "runsv", "runsvdir"}
)
"""Programs that run other programs or scripts: what the image is for lies elsewhere."""


@dataclass(frozen=True)
class Looked:
    """What was found. `path` is where the program is asked for, `size` its bytes.

    `made` is the smaller image, if the program is static; `linked` what it is loaded with, if it is not. `hindered`
    says what else stands against a smaller image; empty if nothing does.
    """

    original: Original
    path: str
    size: int
    program: Program
    tools: Toolchain
    needs: Needs
    made: Made | None = None
    linked: Linked | None = None
    hindered: Sequence[str] = field(default=())

    @property
    def saves(self) -> int:
        """Bytes that go out of the registry at the least: of the program that is not compiled yet, as it is now."""
        if self.made:
            return self.original.size - self.made.size
        beside = sum(entry.size for entry in self.needs.files.values())
        return self.original.size - self.size - beside - (self.linked.size if self.linked else 0)


def look(
    api: RegistryApi,
    repository: str,
    reference: str,
    *,
    name: str,
    settings: Settings,
    until: float,
) -> Looked:
    """Look at the image under a tag or digest. `name` is `registry/repository`; `until` by the monotonic clock.

    Raises NotThere, and Unreadable with the reason for which nothing is said of it.
    """
    image = original(api, repository, reference, settings.platform)
    if SHRUNK in (image.config.get("Labels") or {}):
        raise Unreadable("it was made here")
    bounds = Bounds(settings.max_bytes, ENTRIES, until)

    def opened(layer: int) -> Iterator[bytes]:
        return api.blob_chunks(repository, image.layers[layer])

    def read(entries: Sequence[Entry]) -> dict[tuple[int, int], bytes]:
        return contents(entries, opened, bounds)

    tree = tree_of(len(image.layers), opened, bounds)
    path, entry = _found(image, tree)
    content = read([entry])[entry.place]
    program = _program(content, image)
    try:
        along = needs(image, tree, path, content, settings.trial(name).keep)
        _with_accounts(along, image, tree, read)
    except Unknown as why:
        along, missing = Needs(), [str(why)]
    else:
        missing = []
    along.named = tuple(one for one in along.named if one != program.interpreter)
    hindered = [*missing, *_hindrances(image, tree, path, entry)]
    tools = toolchain(program, content, image.history)
    if not program.static:
        links = linked(program, path, tree, image.environment, read)
        return Looked(image, path, entry.size, program, tools, along, linked=links, hindered=hindered)
    result = None if missing else _made(image, name, path, entry, content, along, tree, read)
    return Looked(image, path, entry.size, program, tools, along, made=result, hindered=hindered)


def _found(image: Original, tree: Tree) -> tuple[str, Entry]:
    if not image.command:
        raise Unreadable("it says no program to start")
    if (name := posixpath.basename(image.command[0])) in RUNNERS or name.startswith(("python", "ruby", "perl", "php")):
        raise Unreadable(f"{name} starts it: what it is for is no single program")
    for candidate in image.candidates:
        path = posixpath.normpath(f"/{candidate.strip('/')}")
        entry = tree.file(path)
        if entry is not None and entry.mode & 0o111:
            at = tree.resolve(path)
            if at and posixpath.basename(at[0]) in RUNNERS:
                raise Unreadable(f"{posixpath.basename(at[0])} starts it: what it is for is no single program")
            return path, entry
    raise Unreadable("its program is not among its files")


def _program(content: bytes, image: Original) -> Program:
    if content.startswith(b"#!"):
        raise Unreadable("a script starts it")
    if not content.startswith(MAGIC):
        raise Unreadable("what it starts is no ELF program")
    try:
        program = read_elf(content)
    except NoElf as why:
        raise Unreadable(f"its program cannot be read: {why}") from why
    if not program.runs:
        raise Unreadable("what it starts is no program, but a library")
    if program.machine != image.document.get("architecture"):
        raise Unreadable(f"its program is for {program.machine}, and the image says that it is for another machine")
    return program


def _with_accounts(along: Needs, image: Original, tree: Tree, read: Contents) -> None:
    files = {path: tree.file(path) for path in ("/etc/passwd", "/etc/group")}
    there = [entry for entry in files.values() if entry is not None]
    raw = read(there) if there else {}
    passwd, group = (raw[entry.place] if entry else b"" for entry in files.values())
    accounts(along, image, passwd, group, tree)


def _hindrances(image: Original, tree: Tree, path: str, entry: Entry) -> Iterator[str]:
    if entry.capable:
        yield "its program has file capabilities, which a copy would lose"
    check = image.config.get("Healthcheck")
    test = check.get("Test") if isinstance(check, Mapping) else None
    if (
        isinstance(test, list)
        and len(test) > 1
        and test[0] != "NONE"
        and (test[0] != "CMD" or test[1] not in (path, image.command[0]))
    ):
        yield "its HEALTHCHECK runs something else than its program: an empty image has no shell"
    volumes = image.config.get("Volumes")
    for volume in sorted(map(str, volumes))[:VOLUMES] if isinstance(volumes, Mapping) else ():
        at = tree.resolve(volume)
        if at and next(tree.below(at[0]), None) is not None:
            yield f"its VOLUME {volume[:100]} begins with files of the image"


def _made(
    image: Original,
    name: str,
    path: str,
    entry: Entry,
    content: bytes,
    along: Needs,
    tree: Tree,
    read: Contents,
) -> Made:
    raw = read(list(along.files.values())) if along.files else {}
    files = {one: (about, raw[about.place]) for one, about in along.files.items()}
    files |= {one: (Entry("file", 0o644), lines) for one, lines in along.accounts.items() if one not in files}
    return made(image, name, {**files, path: (entry, content)}, along.folders, tree)
