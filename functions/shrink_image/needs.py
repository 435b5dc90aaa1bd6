"""The files that go along with a program: what it cannot do without in an empty image, and what else its author names.

A program tells them by its own text: the paths of certificates and of time zones stand in its bytes. The entry of its
user is what gives it its name, its groups and its home, and what the Docker engine looks a user's name up in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from functions.shrink_image.original import Original
from functions.shrink_image.tree import Entry, Tree

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/lib/ssl/cert.pem",
)
"""Where distributions keep the certificates of authorities."""
ZONES = "/usr/share/zoneinfo"
LOCAL_TIME = "/etc/localtime"
PLACES = ("/tmp", "/var/tmp", "/run")  # noqa: S108 -- folders of an image, not of this machine
"""Folders that programs write to: they stay, empty."""
FILES_MOST = 5_000
NAMED_MOST = 20
_PATH = re.compile(rb"/(?:[A-Za-z0-9._+@-]{1,64}/){1,8}[A-Za-z0-9._+@-]{1,128}")
_SYSTEM = re.compile(r"/(?:dev|proc|sys)/|/etc/(?:hosts|hostname|resolv\.conf|mtab)$")
_SKIPPED_ZONES = ("right/", "posix/")


class Unknown(ValueError):
    """Something that has to go along is not in the image."""


@dataclass
class Needs:
    """What goes along: files by the path that they get, folders, the lines of accounts, and why, by kind.

    `named` are further files of the image whose paths stand in the program, and that do not go along.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    accounts: dict[str, bytes] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    named: tuple[str, ...] = ()


def needs(original: Original, tree: Tree, path: str, content: bytes, keep: Iterable[str]) -> Needs:
    """What goes along with the program at `path`, except its accounts. Raises Unknown."""
    found = Needs()
    _certificates(found, original, tree, content)
    _zones(found, tree, content)
    for one in map(_absolute, keep):
        kept = list(_all_of(tree, one))
        if not kept and tree.resolve(one) is None:
            raise Unknown(f"the setting keep names {one}, which is not in the image")
        found.files |= dict(kept)
        found.folders |= {one} if not kept else set()
        found.kinds.append(f"kept by the settings: {one}")
    if len(found.files) > FILES_MOST:
        raise Unknown(f"more than {FILES_MOST} files would have to go along")
    volumes = original.config.get("Volumes")
    wanted = [*PLACES, original.folder, *map(str, volumes if isinstance(volumes, Mapping) else ())]
    found.folders |= {_absolute(one) for one in wanted if (at := tree.resolve(one)) and at[1].kind == "folder"}
    found.named = tuple(_named(tree, content, {*found.files, path, *BUNDLES, "/etc/passwd", "/etc/group"}))
    return found


def accounts(found: Needs, original: Original, passwd: bytes, group: bytes, tree: Tree) -> None:
    """The lines of the image's user, its group, and the groups that name it; and its home. Raises Unknown."""
    said = str(original.config.get("User") or "0")
    user, _, wanted = said.partition(":")
    entry = next((one for one in _lines(passwd, 7) if user in ((one[2],) if user.isdecimal() else (one[0],))), None)
    if entry is None and not user.isdecimal():
        raise Unknown(f"its user {user[:64]} is not in its /etc/passwd")
    name, own = (entry[0], entry[3]) if entry else ("", "0")
    groups = [one for one in _lines(group, 4) if _has(one, name) or own == one[2] or wanted in (one[0], one[2])]
    if wanted and not wanted.isdecimal() and all(wanted != one[0] for one in groups):
        raise Unknown(f"its group {wanted[:64]} is not in its /etc/group")
    if entry:
        found.accounts["/etc/passwd"] = (":".join(entry) + "\n").encode("utf-8", "surrogateescape")
        home = tree.resolve(entry[5])
        found.folders |= {_absolute(entry[5])} if home and home[1].kind == "folder" else set()
        found.kinds.append(f"the entry of its user {name}")
    if groups:
        lines = "".join(":".join(_only(one, name)) + "\n" for one in groups)
        found.accounts["/etc/group"] = lines.encode("utf-8", "surrogateescape")


def _only(entry: list[str], name: str) -> list[str]:
    """A group without its other members."""
    return [*entry[:3], name if _has(entry, name) else ""]


def _has(entry: list[str], name: str) -> bool:
    return bool(name) and name in entry[3].split(",")


def _absolute(path: str) -> str:
    """A path of an image without detours; what an image says of itself may have some."""
    return posixpath.normpath(f"/{path.strip('/')}")


def _lines(content: bytes, fields: int) -> Iterator[list[str]]:
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        parts = line.split(":")
        if len(parts) == fields:
            yield parts


def _certificates(found: Needs, original: Original, tree: Tree, content: bytes) -> None:
    asked = original.environment.get("SSL_CERT_FILE")
    literal = [path for path in BUNDLES if path.encode() in content]
    for path in [*([_absolute(asked)] if asked else []), *literal]:
        entry = tree.file(path)
        if entry is not None:
            found.files[path] = entry
            found.kinds.append(f"the certificates of authorities, {path}")
            return


def _zones(found: Needs, tree: Tree, content: bytes) -> None:
    if ZONES.encode() in content:
        zones = {
            path: entry
            for path, entry in _all_of(tree, ZONES)
            if not path.removeprefix(f"{ZONES}/").startswith(_SKIPPED_ZONES)
        }
        found.files |= zones
        found.kinds += [f"{len(zones)} time zones, {ZONES}"] if zones else []
    if LOCAL_TIME.encode() in content and (entry := tree.file(LOCAL_TIME)) is not None:
        found.files[LOCAL_TIME] = entry
        found.kinds.append(f"its own time zone, {LOCAL_TIME}")


def _all_of(tree: Tree, path: str) -> Iterator[tuple[str, Entry]]:
    """The plain files at or below a path, by the path that they are asked for by; links become what they lead to."""
    at = tree.resolve(path)
    if at is None:
        return
    where, entry = at
    if entry.kind == "file":
        yield path, entry
    elif entry.kind == "folder" and where:
        for below in tree.below(where):
            one = tree.file(f"/{below}")
            if one is not None:
                yield posixpath.join(path, below.removeprefix(f"{where}/")), one


def _named(tree: Tree, content: bytes, known: set[str]) -> Iterator[str]:
    """The paths in a program that lead to files of the image, at most `NAMED_MOST`."""
    seen: set[bytes] = set()
    count = 0
    for match in _PATH.finditer(content):
        raw = match[0]
        if raw in seen or len(seen) > 50_000:
            continue
        seen.add(raw)
        path = raw.decode()
        if path in known or path.startswith(f"{ZONES}/") or _SYSTEM.match(path) or tree.file(path) is None:
            continue
        yield path
        count += 1
        if count >= NAMED_MOST:
            return
