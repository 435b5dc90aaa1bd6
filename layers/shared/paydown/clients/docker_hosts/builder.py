"""Running scripts on a Docker host that is reached by a socket: each in a container of an image that has what it needs.

A container gets as much of its host as its script needs, and no more. What it writes is read while it runs, bounded,
and kept nowhere. Each ends by itself when its time is up, and the engine removes it then: also if whoever started it
has died meanwhile.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from paydown.clients.command_documents import read_document
from paydown.clients.docker_hosts import logins
from paydown.clients.docker_hosts.builds import BuildFailed, BuildHost, Credentials, TooLong
from paydown.clients.docker_hosts.containers import remove_container
from paydown.clients.docker_hosts.engine import Way
from paydown.clients.docker_hosts.logins import Login
from paydown.clients.docker_hosts.reading import one_line
from paydown.clients.docker_hosts.ssm import COMMAND_SECONDS, NO_DOCKER, NO_ENGINE
from paydown.clients.docker_hosts.streams import Demultiplexer
from paydown.clients.docker_hosts.wire import Refused, Wires
from paydown.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from docker import APIClient

PLACE = "/var/lib/paydown/bases"
"""The folder on the host in which scripts keep what outlasts them; it has the same name in containers."""
SOCKET = "/var/run/docker.sock"
"""Where an engine that is reached over TLS has its own socket; and where containers find it."""
LOGIN = "/root/.docker"
LABEL = "paydown.base"
"""Of the containers: its value is the mark of whoever started one."""
START_SECONDS = 3.0
"""So long a script that nobody waits for is watched: what it cannot work without, it misses at once."""
PULL_SECONDS = 25.0
LEFT_SECONDS = 3600
OUTPUT_MOST = 32 * 1024 * 1024
ERRORS_MOST = 64 * 1024

UNFIT = 12
"""The exit code of a script that trying again does not help."""

Parameters = Mapping[str, Sequence[str]]

_READ_BYTES = 65_536
_OUT, _ERR = 1, 2


class Needs(IntEnum):
    """What a script needs of its host; each has what those before it have."""

    LOOK = 1
    """The network, and the folder in which scripts keep what outlasts them."""
    ENGINE = 2
    """The engine, which is as much as being root on the host; and root's login for registries."""
    ROOT = 3
    """To mount file systems: `CAP_SYS_ADMIN`, which AppArmor does not hem in."""


class Ended(NamedTuple):
    """How a script ended, and what it wrote."""

    code: int
    out: str
    errors: str


class BuilderContainer(BuildHost):
    """A Docker engine that runs the documents below `documents` in containers of `image`.

    `image` is `repository:tag` or `repository@sha256:…`; only the latter is pulled if it is not there, with
    `credentials`, and not while `observing`: then scripts may only look, too. `mark` tells the containers of a run from
    others. `place` and `engine` (its socket) are paths on the host. All raise RetryableError and PermanentError.
    """

    def __init__(
        self,
        name: str,
        way: Way,
        *,
        image: str,
        documents: Path,
        mark: str = "paydown",
        place: str = PLACE,
        engine: str = SOCKET,
        observing: bool = False,
        credentials: Callable[[], Credentials] = dict,
    ) -> None:
        super().__init__(name, way)
        self._image = image
        self._documents = documents
        self._mark = mark
        self._place = place
        self._engine = engine
        self._observing = observing
        self._credentials = credentials

    def run(self, document: str, parameters: Parameters, needs: Needs = Needs.LOOK) -> str:
        """The whole output of a document."""
        until = time.monotonic() + COMMAND_SECONDS
        with self._started(document, parameters, needs) as watch:
            ended = watch.ended(until)
            if ended is None:
                raise RetryableError(f"{self._name}: {document} is not done after {COMMAND_SECONDS:.0f} s", delay=30)
        if ended.code:
            raise self._failure(document, ended)
        return ended.out

    def start(
        self, document: str, parameters: Parameters, needs: Needs = Needs.ENGINE, login: Login | None = None
    ) -> None:
        """Begin with a document that takes long. Returns while it goes on. `login` takes the place of the host's."""
        with self._started(document, parameters, needs, login) as watch:
            ended = watch.ended(time.monotonic() + START_SECONDS)
        if ended and ended.code:
            raise self._failure(document, ended)

    @contextmanager
    def _started(
        self, document: str, parameters: Parameters, needs: Needs, login: Login | None = None
    ) -> Iterator[_Watch]:
        """A container in which a document runs; it is removed if an exception ends this."""
        if self._observing and needs > Needs.LOOK:
            raise PermanentError(f"{self._name}: {document} is not run while observing")
        found = read_document(self._documents, document)
        values = found.check(parameters)
        command = ["timeout", "--kill-after=5", f"{found.seconds(values):.0f}", "sh", "-c", found.script(values)]
        with self._opened() as (client, wires):
            self._sweep(client)
            container = self._made(client, command, needs, login)
            try:
                if login:
                    client.put_archive(container, "/", logins.archive(login))
                with closing(_Watch(self._name, wires, container)) as watch:
                    client.start(container)
                    yield watch
            except BaseException:
                with suppress(Exception):  # the first trouble is told, whatever comes of it
                    remove_container(client, container)
                raise

    def _made(self, client: APIClient, command: Sequence[str], needs: Needs, login: Login | None) -> str:
        from docker.errors import ImageNotFound

        try:
            return self._create(client, command, needs, login)
        except ImageNotFound:
            self._pull()
            return self._create(client, command, needs, login)

    def _create(self, client: APIClient, command: Sequence[str], needs: Needs, login: Login | None) -> str:
        made = client.create_container(
            self._image,
            entrypoint=list(command),
            command=[],
            user="0:0",
            working_dir="/",
            environment={
                "HOME": "/root",
                "PAYDOWN_BASES": self._place,
                "DOCKER_HOST": f"unix://{SOCKET}",
                "DOCKER_CONFIG": f"/{logins.FOLDER}" if login else LOGIN,
            },
            labels={LABEL: self._mark},
            healthcheck={"test": ["NONE"]},
            use_config_proxy=False,
            host_config=self._host_config(client, needs),
        )
        return str(made["Id"])

    def _host_config(self, client: APIClient, needs: Needs) -> dict[str, Any]:
        from docker.types import LogConfig, Mount

        acting = needs >= Needs.ENGINE
        binds = [f"{self._place}:{self._place}:rw"]
        return client.create_host_config(
            auto_remove=True,
            cap_add=["SYS_ADMIN"] if needs >= Needs.ROOT else [],
            network_mode="host",
            userns_mode="host",  # files of a root are root's
            # Else SELinux would keep the place closed, and AppArmor would refuse to mount.
            security_opt=["label=disable", *(["apparmor=unconfined"] if needs >= Needs.ROOT else [])],
            binds=[*binds, f"{LOGIN}:{LOGIN}:ro"] if acting else binds,
            # Not as a bind: an engine would make a folder of a socket that is not there.
            mounts=[Mount(SOCKET, self._engine, type="bind")] if acting else [],
            log_config=LogConfig(type="none"),
        )

    def _pull(self) -> None:
        from docker.auth import encode_header

        if "@" not in self._image:
            raise PermanentError(
                f"{self._name}: the builder {self._image} is not there; by a digest it would be pulled"
            )
        if self._observing:
            raise PermanentError(f"{self._name}: the builder {self._image} is not there; observing, nothing is pulled")
        repository, _, digest = self._image.partition("@")
        query = urlencode({"fromImage": repository, "tag": digest})
        headers = {"X-Registry-Auth": encode_header(dict(self._credentials())).decode()}
        try:
            for said in self._asked(f"/images/create?{query}", headers, (), PULL_SECONDS, "the pull"):
                if "error" in said:
                    raise PermanentError(f"{self._name}: the builder cannot be pulled: {one_line(said['error'])}")
        except BuildFailed as error:
            raise PermanentError(f"{self._name}: the builder cannot be pulled: {one_line(error)}") from error
        except TooLong as error:
            raise PermanentError(f"{error}: pull {self._image} there once") from error

    def _sweep(self, client: APIClient) -> None:
        """Remove what was made and never started, when its worker died; and what its engine forgot to remove."""
        over = {"label": LABEL, "status": ["created", "exited", "dead"]}
        for row in client.containers(all=True, filters=over):
            if row["Labels"].get(LABEL) == self._mark or row["Created"] < time.time() - LEFT_SECONDS:
                remove_container(client, row["Id"])

    def _failure(self, document: str, ended: Ended) -> PermanentError | RetryableError:
        said = one_line(ended.errors)
        match ended.code:
            case code if code == NO_DOCKER:
                return PermanentError(f"{self._name}: {self._image}: {said}")
            case code if code == NO_ENGINE:
                return RetryableError(f"{self._name}: the Docker engine does not answer in its containers: {said}")
            case code if code == UNFIT:
                return PermanentError(f"{self._name}: {self._image}: {said}")
        return RetryableError(f"{self._name}: {document} ended with {ended.code}: {said}", delay=60)


class _Watch:
    """What a container writes, and how it ends. Made before it is started, so that nothing is missed."""

    def __init__(self, name: str, wires: Wires, container: str) -> None:
        self._name = name
        path = f"/v{wires.version}/containers/{quote(container)}"
        self._output = _Answer(wires, f"{path}/attach?stream=1&stdout=1&stderr=1")
        try:
            self._end = _Answer(wires, f"{path}/wait?condition=next-exit")
        except BaseException:
            self._output.close()
            raise

    def close(self) -> None:
        self._output.close()
        self._end.close()

    def ended(self, until: float) -> Ended | None:
        """How it ended; None if it goes on then. Raises PermanentError for one that writes too much."""
        reading, streams = Demultiplexer(), {_OUT: bytearray(), _ERR: bytearray()}
        try:
            while piece := self._output.read(until):
                for stream, content in reading.take(piece):
                    streams.setdefault(stream, bytearray()).extend(content)
                del streams[_ERR][ERRORS_MOST:]
                if len(streams[_OUT]) > OUTPUT_MOST:
                    raise PermanentError(f"{self._name}: a script wrote more than {OUTPUT_MOST} bytes")
            said = b""
            while piece := self._end.read(max(until, time.monotonic() + 1)):
                said += piece
        except TimeoutError:
            return None
        out, errors = (streams[one].decode(errors="replace") for one in (_OUT, _ERR))
        return Ended(int(json.loads(said)["StatusCode"]), out, errors)


class _Answer:
    """The body of an answer whose head comes at once, and the rest when there is something to tell."""

    def __init__(self, wires: Wires, path: str) -> None:
        self._connection = wires.connection()
        try:
            with _broken():
                self._connection.request("POST", path, headers={"Content-Length": "0"})
                self._socket: socket.socket = self._connection.sock
                self._answer = self._connection.getresponse()
            self._raise_refusal()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._answer.close()
        self._connection.close()

    def read(self, until: float) -> bytes:
        """Some bytes; none at its end. Raises TimeoutError when there are none until then."""
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        with _broken():
            return self._answer.read1(_READ_BYTES)

    def _raise_refusal(self) -> None:
        if self._answer.status >= 400:
            raise Refused(self._answer.status, one_line(self._answer.read(4_000).decode(errors="replace")))


@contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except http.client.HTTPException as error:
        raise ConnectionError(f"the connection broke: {error!r}") from error
