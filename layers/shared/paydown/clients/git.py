"""A git repository over HTTPS (the smart protocol, version 2): some files at one commit, and what its commits changed.

Only commits, folders (without the content of files) and the files that are asked for are fetched, into a folder that
goes again at once. `dulwich` speaks the protocol; the functions that read repositories ship it themselves.

What a repository holds is outside text: paths come back as they are, and names in it are never opened on this machine.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paydown.clients.web import CONNECT_SECONDS, READ_SECONDS, NotThere, is_loopback
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Source

if TYPE_CHECKING:
    from dulwich.object_store import DiskObjectStore
    from dulwich.objects import ObjectID

COMMIT = re.compile(r"[0-9a-f]{40}")
PACK_LIMIT = 32 * 1024 * 1024
"""Bytes of what one look fetches."""
FILE_LIMIT = 256 * 1024
SECONDS = 20.0
PATHS_LIMIT = 2_000
"""Paths of one commit that are told; one that changes more changes everything."""


@dataclass(frozen=True)
class Checkout:
    """What was read of a repository at the commit `revision` (40 hexadecimal digits).

    `files`: those that were asked for and are there. `changes`: for the commit and those before it on its first line of
    descent, the newest first, the paths that each changed against the one before it. `fetched`: bytes.
    """

    revision: str
    files: Mapping[str, bytes]
    changes: tuple[frozenset[str], ...]
    fetched: int


class GitRepository:
    """One repository. `credentials` is asked once: `{"username", "password"}`, or empty for a stranger."""

    def __init__(self, url: str, credentials: Callable[[], Mapping[str, str]]) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise PermanentError(f"{parts.hostname} is reached without TLS: credentials are not sent that way")
        self._url = url
        self._host = parts.netloc
        self._credentials = credentials
        self._fetched = 0

    def look(self, revision: str, paths: Sequence[str], commits: int) -> Checkout:
        """Files at a commit (`revision`; empty: the newest of the default branch), and `commits` before it.

        Raises NotThere for a repository or commit that is not there, PermanentError and RetryableError.
        """
        from dulwich.client import HTTPUnauthorized
        from dulwich.errors import GitProtocolError, NotGitRepository
        from dulwich.object_store import DiskObjectStore

        if revision and not COMMIT.fullmatch(revision):
            raise PermanentError(f"{revision[:80]!r} is no commit")
        self._fetched = 0
        try:
            with tempfile.TemporaryDirectory() as folder, closing(DiskObjectStore.init(folder)) as store:
                return self._looked(store, revision, paths, commits)
        except NotGitRepository:
            raise NotThere(f"{self._host} has no such repository") from None
        except HTTPUnauthorized:
            raise PermanentError(f"{self._host} answers 401: it does not take our credentials") from None
        except GitProtocolError as error:
            raise self._fault(error) from None
        except (KeyError, ValueError, AssertionError, OSError) as error:
            raise PermanentError(f"{self._host} sends no usable repository: {type(error).__name__}") from error

    def _looked(self, store: DiskObjectStore, revision: str, paths: Sequence[str], commits: int) -> Checkout:
        client = self._client()
        tip = self._fetch(client, store, revision.encode(), depth=commits + 1, filter_spec=b"blob:none")
        tree = store[tip].tree  # type: ignore[attr-defined]  # it is a commit: _fetch made sure
        wanted = {path: found for path in paths if (found := _blob(store, tree, path))}
        missing = sorted({sha for sha in wanted.values() if sha not in store})
        for sha in missing:
            self._fetch(client, store, sha)
        files = {path: store[sha].as_raw_string() for path, sha in wanted.items()}
        small = {path: content for path, content in files.items() if len(content) <= FILE_LIMIT}
        return Checkout(tip.decode(), small, tuple(_changes(store, tip, commits)), self._fetched)

    def _client(self) -> Any:
        import urllib3
        from dulwich.client import HttpGitClient

        known = self._credentials()
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        pool = urllib3.PoolManager(num_pools=1, retries=False, timeout=timeout, headers={"User-Agent": "git/paydown"})
        return HttpGitClient(
            self._url, pool_manager=pool, username=known.get("username"), password=known.get("password"), quiet=True
        )

    def _fetch(self, client: Any, store: DiskObjectStore, wanted: bytes, **options: Any) -> ObjectID:
        """Fetch one object and what hangs on it; its name. Nothing wanted: the newest commit."""
        from dulwich.objects import Commit, ObjectID

        until, found = time.monotonic() + SECONDS, [wanted]
        file, commit, abort = store.add_pack()

        def wants(refs: Mapping[bytes, bytes | None], **_: int | None) -> list[bytes]:
            found[0] = wanted or refs.get(b"HEAD") or b""
            return [found[0]] if found[0] else []

        def take(piece: bytes) -> int:
            self._fetched += len(piece)
            if self._fetched > PACK_LIMIT:
                raise PermanentError(f"{self._host} sends more than {PACK_LIMIT} bytes of one repository")
            if time.monotonic() > until:
                raise RetryableError(f"{self._host} sends its repository too slowly")
            return file.write(piece)

        try:
            client.fetch_pack("", wants, _Nothing(), take, ref_prefix=[b"HEAD"], protocol_version=2, **options)
        except BaseException:
            abort()
            raise
        commit()
        name = ObjectID(found[0])
        if not name or name not in store:
            raise NotThere(f"{self._host} does not have that commit")
        if options and not isinstance(store[name], Commit):
            raise PermanentError(f"{name.decode()} is no commit")
        return name

    def _fault(self, error: Exception) -> Exception:
        text = "".join(one for one in str(error) if one.isprintable())[:200]
        if "not our ref" in text or "upload-pack: not" in text:
            return NotThere(f"{self._host} does not have that commit")
        passing = re.search(r"unexpected http resp (408|429|5\d\d)", text) or "http resp" not in text
        told = f"{self._host} does not let its repository be read ({text})"
        return RetryableError(told) if passing else PermanentError(told)


class _Nothing:
    """What we have already."""

    def __next__(self) -> None:
        """No commit."""

    def ack(self, sha: bytes) -> None:
        """Nobody acknowledges what is not said."""

    def nak(self) -> None:
        """As said."""


def open_git(source: Source, secret: Callable[[str], Any]) -> GitRepository:
    """The repository of a source; nothing is sent before its first use. `secret` is `paydown.clients.aws.secret`."""

    def known() -> Mapping[str, str]:
        if source.secret is None:
            return {}
        found = secret(source.secret)
        if not isinstance(found, dict) or not all(isinstance(found.get(it), str) for it in ("username", "password")):
            raise PermanentError(f"the secret {source.secret} must be a JSON object with username and password")
        return found

    return GitRepository(source.url, known)


def _blob(store: DiskObjectStore, tree: bytes, path: str) -> ObjectID | None:
    """The name of a file's content; None if there is no plain file of that name."""
    import stat

    at: Any = tree
    *folders, last = posixpath.normpath(path).encode().split(b"/")
    for name in folders:
        held: Any = store[at]
        if name not in held or not stat.S_ISDIR(held[name][0]):
            return None
        at = held[name][1]
    held = store[at]
    if last not in held or not stat.S_ISREG(held[last][0]):
        return None
    return held[last][1]  # type: ignore[no-any-return]


def _changes(store: DiskObjectStore, tip: ObjectID, commits: int) -> Iterator[frozenset[str]]:
    from dulwich.diff_tree import tree_changes

    at = tip
    for _ in range(commits):
        one: Any = store[at]
        if not one.parents or one.parents[0] not in store:
            return
        before: Any = store[one.parents[0]]
        paths: set[str] = set()
        for change in tree_changes(store, before.tree, one.tree):
            sides = (change.old, change.new)
            paths |= {side.path.decode(errors="replace") for side in sides if side is not None and side.path}
            if len(paths) >= PATHS_LIMIT:
                break
        yield frozenset(paths)
        at = one.parents[0]
