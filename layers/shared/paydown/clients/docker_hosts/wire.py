"""Calls to a Docker engine by the hundred: kept connections, some at a time, and calls that do not wait for each other.

The docker library takes more than a millisecond of processor for each call, and http.client a quarter of one, most of
it for headers that nobody asks for. Where a thousand images are looked at and removed, that is most of the time. So
what is sent and read here is the little of HTTP/1.1 that an engine speaks.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 4
FEW = 8
"""So many calls are not worth another connection."""

AHEAD = 25
"""So many calls are sent before their answers are read: few enough for what a socket holds, in either direction."""

LINE_BYTES = 65_536
READ_BYTES = 65_536

Dial = Callable[[], http.client.HTTPConnection]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket of this machine."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Refused(Exception):
    """The engine refused a call, or failed at it; `why` is what it said."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Call(NamedTuple):
    """What to ask the engine."""

    method: str
    path: str


class Answer(NamedTuple):
    """What it said; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The answer to a call that went well. Raises Refused for another, ValueError for what is no JSON."""
        if self.status < 400:
            return json.loads(self.body)
        try:
            said = str(json.loads(self.body)["message"])
        except (KeyError, TypeError, ValueError):
            said = self.body.decode(errors="replace")
        raise Refused(self.status, said)


def look(id: str) -> Call:
    """Asks for an image, as the engine describes it."""
    return Call("GET", f"/images/{quote(id)}/json")


def history(id: str) -> Call:
    """Asks for an image's steps, newest first."""
    return Call("GET", f"/images/{quote(id)}/history")


def remove(name: str) -> Call:
    """Removes an image by its id or one of its names; the answer is what was untagged and deleted. Never forced."""
    return Call("DELETE", f"/images/{quote(name)}")


class Wire:
    """One kept connection. Raises OSError when it is gone, and ValueError for what is no HTTP."""

    def __init__(self, connection: http.client.HTTPConnection, version: str) -> None:
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise
        self._connection = connection
        self._reader = connection.sock.makefile("rb", READ_BYTES)
        self._prefix = f"/v{version}" if version else ""
        host = f"[{connection.host}]" if ":" in connection.host else connection.host
        self._suffix = f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: paydown\r\n\r\n"

    def close(self) -> None:
        """Hang up."""
        self._reader.close()
        self._connection.close()

    def ask(self, call: Call) -> Any:
        """What the engine answers to one call. Raises Refused."""
        [answer] = self.exchange(call)
        return answer.json()

    def exchange(self, *calls: Call) -> list[Answer]:
        """The answers to calls that are sent at once, at most `AHEAD`; the engine takes them one after the other."""
        text = "".join(f"{call.method} {self._prefix}{call.path}{self._suffix}" for call in calls)
        self._connection.sock.sendall(text.encode())
        return [self._answer() for _ in calls]

    def _answer(self) -> Answer:
        status = int(self._line().split(maxsplit=2)[1])
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        return Answer(status, headers, self._bytes(int(headers["content-length"])))

    def _chunks(self) -> bytes:
        found = []
        while size := int(self._line().partition(";")[0], 16):
            found.append(self._bytes(size))
            self._line()
        while self._line():  # trailers
            pass
        return b"".join(found)

    def _line(self) -> str:
        line = self._reader.readline(LINE_BYTES)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection broke")
        return line[:-2].decode("latin-1")

    def _bytes(self, count: int) -> bytes:
        found: bytes = self._reader.read(count)
        if len(found) != count:
            raise ConnectionError("the connection broke")
        return found


class Wires:
    """As many connections as there is work for, to an engine that speaks `version` of its API."""

    def __init__(self, dial: Dial, version: str) -> None:
        self._dial = dial
        self.version = version

    def connection(self) -> http.client.HTTPConnection:
        """One more connection, for a call of another kind; its caller closes it."""
        return self._dial()

    def wire(self) -> closing[Wire]:
        """One more connection, as a context."""
        return closing(Wire(self._dial(), self.version))

    def share(self, work: Callable[[Wire, Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
        """Have the items worked on over some connections at a time, each with its share; the results in their order."""
        lanes = min(PARALLEL, -(-len(items) // FEW))
        if not lanes:
            return []
        results: dict[int, R] = {}

        def lane(first: int) -> None:
            with self.wire() as wire:
                found = work(wire, items[first::lanes])
            results.update(zip(range(first, len(items), lanes), found, strict=True))

        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(lane, range(lanes)))
        return [results[index] for index in range(len(items))]


def offered_version(dial: Dial) -> str:
    """The newest version of its API that the engine speaks."""
    with closing(Wire(dial(), "")) as wire:
        [answer] = wire.exchange(Call("GET", "/_ping"))
    if answer.status >= 400:
        answer.json()
    return answer.headers["api-version"]
