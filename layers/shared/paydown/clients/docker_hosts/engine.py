"""A Docker engine that is asked directly: over TCP with mutual TLS, or over a unix socket of this machine."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from paydown.clients.docker_hosts.engine_leftovers import containers, remove_each
from paydown.clients.docker_hosts.layers import LayerSizes, removal
from paydown.clients.docker_hosts.leftovers import stock
from paydown.clients.docker_hosts.model import Disk, Fate, Json, Kind, Listing, Removal, Stock
from paydown.clients.docker_hosts.reading import driver_name, image, one_line, repositories
from paydown.clients.docker_hosts.wire import UnixConnection, Wire, Wires
from paydown.errors import PermanentError, RetryableError
from paydown.events import utc

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig

NEWEST_API = (1, 48)
"""The newest version of the engine's API whose answers this was written for; an older engine is asked in its own."""

CALL_SECONDS = 15
REMOVE_SECONDS = 20.0
"""No image is begun later than this after the first: with the last call's own limit it stays near 30 s."""

Connect = Callable[[], AbstractContextManager["Opened"]]


class Opened(NamedTuple):
    """A client for one operation, and the way to more connections for its calls by the hundred."""

    client: APIClient
    wires: Wires


def over_unix(path: str) -> Connect:
    """Clients for the engine behind a unix socket."""

    @contextmanager
    def connect() -> Iterator[Opened]:
        with socket.socket(socket.AF_UNIX) as probe:  # the docker library leaves a socket that cannot connect open
            probe.settimeout(CALL_SECONDS)
            probe.connect(path)
        with _negotiated(f"unix://{path}", False) as client:
            yield Opened(client, Wires(lambda: UnixConnection(path, CALL_SECONDS), client.api_version))

    return connect


def over_tls(address: str, pem: Mapping[str, str]) -> Connect:
    """Clients for the engine at `address`, which must be what its certificate says; `pem` holds ca, cert and key.

    The docker library wants files: they lie in a private directory while a client is open, and no longer.
    """

    @contextmanager
    def connect() -> Iterator[Opened]:
        from docker.tls import TLSConfig

        with tempfile.TemporaryDirectory(prefix="paydown-") as directory:
            paths = {part: str(_write(Path(directory, part), pem[part])) for part in ("ca", "cert", "key")}
            tls = TLSConfig(client_cert=(paths["cert"], paths["key"]), ca_cert=paths["ca"], verify=True)
            with _negotiated(f"tcp://{address}", tls) as client:
                trust = ssl.create_default_context(cafile=paths["ca"])
                trust.load_cert_chain(paths["cert"], paths["key"])

                def dial() -> http.client.HTTPConnection:
                    return http.client.HTTPSConnection(address, timeout=CALL_SECONDS, context=trust)

                yield Opened(client, Wires(dial, client.api_version))

    return connect


class EngineHost:
    """A Docker engine reached through the docker library; each operation opens a client and closes it."""

    def __init__(self, name: str, connect: Connect, *, local: bool = False) -> None:
        self._name = name
        self._connect = connect
        self._local = local

    def list_images(self) -> Listing:
        """Read the host's images."""
        with self._opened() as (client, wires):
            info = client.info()
            rows = client.images(filters={"dangling": True})
            dangling = wires.each(_inspect, [row["Id"] for row in rows])
            disk = _disk(info["DockerRootDir"]) if self._local else None
            return Listing(
                clock=utc(info["SystemTime"]),
                driver=driver_name(info),
                root=info["DockerRootDir"],
                dangling=tuple(image(one) for one in dangling if one and not one["RepoTags"]),
                used=frozenset(row["ImageID"] for row in client.containers(all=True)),
                present=frozenset(row["Id"] for row in client.images(all=True)),
                free=disk.free if disk else None,
            )

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        """Remove those that still dangle and that nothing uses."""
        deadline = time.monotonic() + REMOVE_SECONDS
        sizes = LayerSizes()

        with self._opened() as (client, wires):

            def work(wire: Wire, id: str) -> Removal:
                if time.monotonic() > deadline:
                    return Removal(id, Fate.SKIPPED, "time was up")
                return _remove(client, wire, sizes, id)

            return wires.each(work, ids) if ids else []

    def list_leftovers(self) -> Stock:
        """Read what else the host keeps."""
        with self._opened() as (client, wires):
            info = client.info()
            rows = client.images(all=True)
            tagged = {row["Id"] for row in rows if any(name != "<none>:<none>" for name in row["RepoTags"] or ())}
            inspected = wires.each(_inspect, sorted(tagged))
            untagged = [{"Parent": row["ParentId"]} for row in rows if row["Id"] not in tagged]
            return stock(
                clock=info["SystemTime"],
                images=[*(one for one in inspected if one), *untagged],
                containers=containers(client),
                volumes=client.volumes()["Volumes"] or [],
                usage=client.df(),
                disk=_disk(info["DockerRootDir"]) if self._local else None,
            )

    def remove_leftovers(self, keys: Sequence[tuple[Kind, str, str]]) -> list[Removal]:
        """Remove those that are as they were listed and that nothing uses."""
        deadline = time.monotonic() + REMOVE_SECONDS
        with self._opened() as (client, _):
            return remove_each(client, keys, deadline) if keys else []

    def read_disk(self) -> Disk | None:
        """How full the data root's file system is."""
        if not self._local:
            return None
        with self._opened() as (client, _):
            return _disk(client.info()["DockerRootDir"])

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        """A client for one operation; trouble with the connection or the engine comes out in our own terms."""
        import requests
        from docker.errors import APIError, DockerException

        try:
            with self._connect() as opened:
                yield opened
        except (requests.exceptions.SSLError, ssl.SSLError) as error:
            raise PermanentError(f"{self._name}: no TLS with the Docker engine: {one_line(error)}") from error
        except APIError as error:
            if error.is_client_error():
                raise PermanentError(f"{self._name}: the Docker engine refused: {one_line(error)}") from error
            raise RetryableError(f"{self._name}: the Docker engine failed: {one_line(error)}") from error
        except (requests.exceptions.RequestException, DockerException, OSError) as error:
            raise RetryableError(f"{self._name}: the Docker engine does not answer: {one_line(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise PermanentError(f"{self._name}: the Docker engine's answer makes no sense: {error!r}") from error


@contextmanager
def _negotiated(url: str, tls: TLSConfig | bool) -> Iterator[APIClient]:
    """A client that speaks the engine's version of the API, or the newest that we know if the engine is newer."""
    with _api_client(url, tls, "1.24") as client:
        offered = client.version(api_version=False)["ApiVersion"]
    newest = min(tuple(int(part) for part in offered.split(".")), NEWEST_API)
    with _api_client(url, tls, ".".join(map(str, newest))) as client:
        yield client


def _api_client(url: str, tls: TLSConfig | bool, version: str) -> APIClient:
    from docker import APIClient

    client = APIClient(base_url=url, version=version, timeout=CALL_SECONDS, tls=tls)
    client.trust_env = False  # a proxy or a CA bundle of the environment is not meant for an engine
    return client


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _inspect(wire: Wire, id: str) -> dict[str, Any] | None:
    from docker.errors import APIError

    try:
        return wire.inspect(id)
    except APIError as error:
        if error.status_code == 404:
            return None
        raise


def _remove(client: APIClient, wire: Wire, sizes: LayerSizes, id: str) -> Removal:
    """Remove one image if nothing speaks against it now; the engine itself refuses when a container has it."""
    from docker.errors import APIError

    try:
        names = [id]
        inspected: Json = wire.inspect(id)
        history = sizes.steps(inspected)
        if history is None:
            history = sizes.learn(inspected, wire.history(id))
            inspected = wire.inspect(id)  # again, last: as near as can be
        if inspected["RepoTags"]:
            return Removal(id, Fate.TAGGED, f"it is tagged {inspected['RepoTags'][0]}")
        if len(repositories(inspected)) > 1:
            # The engine refuses an id that has several repositories; by its names, it looks for containers too late.
            if client.containers(all=True, limit=1, filters={"ancestor": id}):
                return Removal(id, Fate.USED, "a container uses it")
            names = inspected["RepoDigests"]
        answers = [row for name in names for row in wire.remove(name)]
    except APIError as error:
        if error.status_code == 409:
            return Removal(id, Fate.USED, one_line(error.explanation))
        # An engine that two ask for the same at once answers one of them with a 500: what is gone is gone.
        if error.status_code == 404 or _inspect(wire, id) is None:
            return Removal(id, Fate.ABSENT)
        return Removal(id, Fate.FAILED, one_line(error.explanation))
    deleted = [row["Deleted"] for row in answers if "Deleted" in row]
    if id not in deleted:
        return Removal(id, Fate.USED, "only its names could be removed")
    return removal(inspected, history, deleted)


def _disk(root: str) -> Disk | None:
    with suppress(OSError):
        seen = os.statvfs(root)
        return Disk(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize)
    return None
