"""Calls to a Docker engine by the hundred: kept connections, several at a time.

The docker library takes more than a millisecond of processor for each call. Where a thousand images are looked at and
removed, that is most of the time, and the engine waits for its disk in between.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 4
FEW = 8
"""So many calls are not worth another connection."""

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


class Wire:
    """One kept connection. Calls raise docker's APIError when the engine refuses, and OSError when it is gone."""

    def __init__(self, connection: http.client.HTTPConnection, version: str) -> None:
        self._connection = connection
        self._version = version

    def inspect(self, id: str) -> dict[str, Any]:
        """An image, as the engine describes it."""
        found: dict[str, Any] = self._call("GET", f"/images/{quote(id)}/json")
        return found

    def history(self, id: str) -> list[dict[str, Any]]:
        """An image's steps, newest first."""
        found: list[dict[str, Any]] = self._call("GET", f"/images/{quote(id)}/history")
        return found

    def remove(self, name: str) -> list[dict[str, str]]:
        """Remove an image by its id or one of its names; what the engine untagged and deleted. Never forced."""
        found: list[dict[str, str]] = self._call("DELETE", f"/images/{quote(name)}")
        return found

    def _call(self, method: str, path: str) -> Any:
        from docker.errors import APIError
        from requests import Response

        try:
            self._connection.request(method, f"/v{self._version}{path}")
            answer = self._connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the connection broke: {error!r}") from error
        if answer.status >= 400:
            failed = Response()
            failed.status_code, failed.reason = answer.status, answer.reason
            try:
                said = str(json.loads(body)["message"])
            except (KeyError, TypeError, ValueError):
                said = body.decode(errors="replace")
            raise APIError(f"{answer.status} {answer.reason}", response=failed, explanation=said)
        return json.loads(body)


class Wires:
    """As many connections as there is work for."""

    def __init__(self, dial: Dial, version: str) -> None:
        self._dial = dial
        self._version = version

    def each(self, work: Callable[[Wire, T], R], items: Sequence[T]) -> list[R]:
        """`work` on each item, some of them at a time; the results in the order of the items."""
        lanes = max(1, min(PARALLEL, len(items) // FEW))
        results: dict[int, R] = {}

        def lane(first: int) -> None:
            with closing(self._dial()) as connection:
                wire = Wire(connection, self._version)
                for index in range(first, len(items), lanes):
                    results[index] = work(wire, items[index])

        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(lane, range(lanes)))
        return [results[index] for index in range(len(items))]
