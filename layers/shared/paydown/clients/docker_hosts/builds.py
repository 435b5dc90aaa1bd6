"""Building and pushing images with a Docker engine that is asked directly, each within one call of limited length.

An engine stops a build or a push when the connection of whoever asked for it closes: so nothing is begun here that
outlives its caller, and what takes longer belongs to a build service. Pushing again goes on where it was: the layers
that the registry has by then are not sent a second time.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from paydown.clients.docker_hosts.engine import EngineHost
from paydown.clients.docker_hosts.reading import one_line
from paydown.clients.docker_hosts.wire import Refused
from paydown.errors import PermanentError

if TYPE_CHECKING:
    import http.client

CALL_SECONDS = 24.0
"""The longest that a build or a push may take, if its caller says nothing else."""
LINES = 12
LINE_LENGTH = 200
_NO_SOURCE = ("Cannot locate specified Dockerfile", "couldn't find remote ref", "could not read Username", "not found")
_LINE_LIMIT = 1024 * 1024
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\t\x20-\x7e\xa0-\u1fff\u2030-\u205f\u2070-\uffff]")
_SECRETS = (
    (re.compile(r"(://)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (
        re.compile(r"(?i)([\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|credential)[\w-]*[\"']?\s*[=:]\s*)\S+"),
        r"\1***",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"), "***"),
)

Credentials = Mapping[str, str]
"""`{"username", "password"}`; empty for a stranger."""


class BuildFailed(PermanentError):
    """The Dockerfile cannot be built: the text ends with the last lines of the log."""


class TooLong(PermanentError):
    """It was not done when its time was up, and was stopped."""


@dataclass(frozen=True)
class Context:
    """What is built: the bytes of a tar archive, or a git repository that the engine clones.

    `remote` is `https://HOST/PATH.git#REF:FOLDER`. The engine gets no credentials for it. `dockerfile` is a path in it.
    """

    archive: Iterable[bytes] | None = None
    remote: str = ""
    dockerfile: str = "Dockerfile"


class BuildHost(EngineHost):
    """A Docker engine that builds images. All raise RetryableError and PermanentError."""

    def build(
        self,
        context: Context,
        *,
        tag: str,
        no_cache: bool = True,
        pull: bool = True,
        labels: Mapping[str, str] | None = None,
        credentials: Mapping[str, Credentials] | None = None,
        network: str = "",
        seconds: float = CALL_SECONDS,
    ) -> str:
        """Build an image and give it a tag (empty: none); its id.

        `pull` looks for newer base images, with the `credentials` of each registry, by its host. Raises BuildFailed
        with the last lines of the log, and TooLong.
        """
        query = {
            "dockerfile": context.dockerfile,
            "rm": 1,
            "forcerm": 1,
            **({"t": tag} if tag else {}),
            **({"nocache": 1} if no_cache else {}),
            **({"pull": 1} if pull else {}),
            **({"labels": json.dumps(dict(labels))} if labels else {}),
            **({"networkmode": network} if network else {}),
            **({"remote": context.remote} if context.archive is None else {}),
        }
        headers = {"X-Registry-Config": _encoded({name: dict(one) for name, one in (credentials or {}).items()})}
        log, image = Log(_values(credentials)), ""
        for said in self._asked(f"/build?{urlencode(query)}", headers, context.archive, seconds, "the build"):
            if "error" in said:
                log.add(str(said["error"]))
                raise BuildFailed(f"{self._name}: the build failed: {log}")
            log.add(str(said.get("stream", "")))
            found = said.get("aux")
            image = str(found["ID"]) if isinstance(found, dict) and "ID" in found else image
        if not image:
            raise BuildFailed(f"{self._name}: the build made no image: {log}")
        return image

    def built(self, label: str, value: str) -> list[str]:
        """The ids of the images with this label: what an earlier call of the same caller made."""
        with self._opened() as (client, _):
            return [row["Id"] for row in client.images(filters={"label": f"{label}={value}"})]

    def tag(self, image: str, name: str) -> None:
        """Let `name` (`registry/repository:tag`) be this image."""
        repository, _, tag = name.rpartition(":")
        with self._opened() as (client, _):
            client.tag(image, repository, tag, force=True)

    def push(self, name: str, credentials: Credentials | None = None, *, seconds: float = CALL_SECONDS) -> str:
        """Push `registry/repository:tag`; the digest that the registry has then. Raises TooLong."""
        repository, _, tag = name.rpartition(":")
        headers = {"X-Registry-Auth": _encoded(dict(credentials or {}))}
        path = f"/images/{quote(repository)}/push?{urlencode({'tag': tag})}"
        digest = ""
        for said in self._asked(path, headers, (), seconds, "the push"):
            if "error" in said:
                log = Log(_values({"": credentials or {}}))
                log.add(str(said["error"]))
                raise PermanentError(f"{self._name}: {repository}:{tag} cannot be pushed: {log}")
            found = said.get("aux")
            digest = str(found["Digest"]) if isinstance(found, dict) and "Digest" in found else digest
        return digest

    def _asked(
        self, path: str, headers: Mapping[str, str], body: Iterable[bytes] | None, seconds: float, what: str
    ) -> Iterator[dict[str, Any]]:
        """What the engine says to a POST, as it says it."""
        until = time.monotonic() + seconds
        with self._dialled() as wires, closing(wires.connection()) as connection:
            connection.timeout = seconds
            try:
                yield from _lines(connection, f"/v{wires.version}{path}", headers, body, until)
            except TimeoutError:
                raise TooLong(f"{self._name}: {what} was not done within {seconds:.0f} s, and was stopped") from None


class Log:
    """The last lines of a log, for a person: bounded, in visible characters, without what looks like a secret.

    `hidden` are values that must not be shown wherever they stand.
    """

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        self._hidden = [value for value in hidden if len(value) >= 4]
        self._lines: deque[str] = deque(maxlen=LINES)

    def add(self, text: str) -> None:
        """More of it: any number of lines."""
        self._lines.extend(line for one in text.splitlines()[-LINES:] if (line := self._shown(one)))

    def _shown(self, line: str) -> str:
        line = line[: 50 * LINE_LENGTH]
        for value in self._hidden:
            line = line.replace(value, "***")
        line = _UNSEEN.sub("", line).strip()
        for form, instead in _SECRETS:
            line = form.sub(instead, line)
        return line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 1]}…"

    def __str__(self) -> str:
        """The lines, with a bar between them."""
        return " | ".join(self._lines)


def _lines(
    connection: http.client.HTTPConnection,
    path: str,
    headers: Mapping[str, str],
    body: Iterable[bytes] | None,
    until: float,
) -> Iterator[dict[str, Any]]:
    import http.client

    kind = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"} if body is not None else {}
    try:
        connection.connect()
        wire = connection.sock
        flow = _in_time(body, wire, until) if body is not None else None
        try:
            connection.request("POST", path, body=flow, headers={**headers, **kind}, encode_chunked=True)
        except (BrokenPipeError, ConnectionResetError):
            with suppress(OSError):
                wire.settimeout(1.0)  # it may say why it does not want more
        answer = connection.getresponse()
        if answer.status >= 400:
            said = one_line(answer.read(4_000).decode(errors="replace"))
            if any(sign in said for sign in _NO_SOURCE):  # a 500 as well
                log = Log()
                log.add(said)
                raise BuildFailed(f"the engine does not get what is to be built: {log}")
            raise Refused(answer.status, said)
        while True:
            _patience(wire, until)
            line = answer.readline(_LINE_LIMIT)
            if not line:
                return
            if line.strip():
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found
    except http.client.HTTPException as error:
        raise ConnectionError(f"the connection broke: {error!r}") from error


def _in_time(pieces: Iterable[bytes], wire: socket.socket, until: float) -> Iterator[bytes]:
    for piece in pieces:
        _patience(wire, until)
        yield piece


def _patience(wire: socket.socket, until: float) -> None:
    """Let the next step of a connection take what is left of the time. Raises TimeoutError when nothing is."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    wire.settimeout(left)


def _values(credentials: Mapping[str, Credentials] | None) -> list[str]:
    return [one["password"] for one in (credentials or {}).values() if one.get("password")]


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
