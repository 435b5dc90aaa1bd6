"""A Docker engine that is asked directly: over TCP with mutual TLS, or over a unix socket of this machine."""

from __future__ import annotations

import http.client
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from paydown.clients.docker_hosts import engine_images
from paydown.clients.docker_hosts.engine_leftovers import containers as inspected_containers
from paydown.clients.docker_hosts.engine_leftovers import remove_each
from paydown.clients.docker_hosts.layers import LayerSizes
from paydown.clients.docker_hosts.leftovers import stock
from paydown.clients.docker_hosts.model import Disk, Kind, Listing, Removal, Stock
from paydown.clients.docker_hosts.reading import driver_name, image, one_line
from paydown.clients.docker_hosts.wire import Call, Dial, Refused, UnixConnection, Wires, offered_version
from paydown.errors import PermanentError, RetryableError
from paydown.events import utc
from paydown.inventory import Tcp, Unix

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig

NEWEST_API = (1, 48)
"""The newest version of the engine's API whose answers this was written for; an older engine is asked in its own."""

CALL_SECONDS = 15
PEM = ("ca", "cert", "key")
"""What the secret of an engine that is reached over TLS holds."""
REMOVE_SECONDS = 20.0
"""No image is begun later than this after the first: with the last call's own limit it stays near 30 s."""

INFO = Call("GET", "/info")
EVERY_IMAGE = Call("GET", "/images/json?all=1")
DANGLING = Call("GET", "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")


class Way(Protocol):
    """How an engine is reached."""

    def dialling(self) -> Dial:
        """What makes connections. Raises ssl.SSLError for what is no certificate."""

    def client(self, version: str) -> AbstractContextManager[APIClient]:
        """The docker library's client."""


class _Unix(NamedTuple):
    path: str

    def dialling(self) -> Dial:
        return lambda: UnixConnection(self.path, CALL_SECONDS)

    def client(self, version: str) -> AbstractContextManager[APIClient]:
        return _api_client(f"unix://{self.path}", False, version)


class _Tls(NamedTuple):
    """The libraries want files of keys: they lie in a private directory while they are read, and no longer."""

    address: str
    pem: Mapping[str, str]

    def dialling(self) -> Dial:
        with self._files() as paths:
            trust = ssl.create_default_context(cafile=paths["ca"])
            trust.load_cert_chain(paths["cert"], paths["key"])
        return lambda: http.client.HTTPSConnection(self.address, timeout=CALL_SECONDS, context=trust)

    @contextmanager
    def client(self, version: str) -> Iterator[APIClient]:
        from docker.tls import TLSConfig

        with self._files() as paths:
            tls = TLSConfig(client_cert=(paths["cert"], paths["key"]), ca_cert=paths["ca"], verify=True)
            with _api_client(f"tcp://{self.address}", tls, version) as client:
                yield client

    @contextmanager
    def _files(self) -> Iterator[dict[str, str]]:
        with tempfile.TemporaryDirectory(prefix="paydown-") as directory:
            yield {part: str(_write(Path(directory, part), self.pem[part])) for part in ("ca", "cert", "key")}


def way_to(reach: Tcp | Unix, secrets: Callable[[str], Any]) -> Way:
    """The way that the inventory names; over TLS the engine must be what its certificate says.

    `secrets` gives a secret's value. Raises PermanentError for one that holds no certificates.
    """
    if isinstance(reach, Unix):
        return _Unix(reach.path)
    value = secrets(reach.secret)
    if not isinstance(value, dict) or not all(isinstance(value.get(part), str) for part in PEM):
        raise PermanentError(f"secret {reach.secret}: needs ca, cert and key, each as PEM text")
    return _Tls(reach.address, {part: value[part] for part in PEM})


class EngineHost:
    """A Docker engine; each operation opens its connections and closes them.

    What is done by the hundred goes over wires of our own, the rest through the docker library.
    """

    def __init__(self, name: str, way: Way, *, local: bool = False) -> None:
        self._name = name
        self._way = way
        self._local = local
        self._sizes = LayerSizes()

    def list_images(self) -> Listing:
        """Read the host's images."""
        with self._dialled() as wires, ThreadPoolExecutor(1) as pool:
            # The engine takes its time over each list: the others are made while images are looked at.
            others = pool.submit(_ask_each, wires, INFO, Call("GET", "/containers/json?all=1"), EVERY_IMAGE)
            [rows] = _ask_each(wires, DANGLING)
            dangling = engine_images.inspect_each(wires, [row["Id"] for row in rows])
            info, containers, present = others.result()
            disk = _disk(info["DockerRootDir"]) if self._local else None
            return Listing(
                clock=utc(info["SystemTime"]),
                driver=driver_name(info),
                root=info["DockerRootDir"],
                dangling=tuple(image(one) for one in dangling if not one["RepoTags"]),
                used=frozenset(row["ImageID"] for row in containers),
                present=frozenset(row["Id"] for row in present),
                free=disk.free if disk else None,
            )

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        """Remove those that still dangle and that nothing uses."""
        deadline = time.monotonic() + REMOVE_SECONDS
        if not ids:
            return []
        with self._dialled() as wires:
            return engine_images.remove_each(wires, self._sizes, ids, deadline)

    def list_leftovers(self) -> Stock:
        """Read what else the host keeps."""
        with self._opened() as (client, wires):
            info = client.info()
            rows = client.images(all=True)
            tagged = {row["Id"] for row in rows if any(name != "<none>:<none>" for name in row["RepoTags"] or ())}
            inspected = engine_images.inspect_each(wires, sorted(tagged))
            untagged = [{"Parent": row["ParentId"]} for row in rows if row["Id"] not in tagged]
            return stock(
                clock=info["SystemTime"],
                images=[*inspected, *untagged],
                containers=inspected_containers(client),
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
        with self._dialled() as wires:
            [info] = _ask_each(wires, INFO)
            return _disk(info["DockerRootDir"])

    @contextmanager
    def _dialled(self) -> Iterator[Wires]:
        """Wires for one operation; trouble with the connection or the engine comes out in our own terms."""
        try:
            dial = self._way.dialling()
            offered = offered_version(dial)
            newest = min(tuple(int(part) for part in offered.split(".")), NEWEST_API)
            yield Wires(dial, ".".join(map(str, newest)))
        except ssl.SSLError as error:
            raise PermanentError(f"{self._name}: no TLS with the Docker engine: {one_line(error)}") from error
        except Refused as error:
            raise self._refusal(error, error.status) from error
        except OSError as error:
            raise RetryableError(f"{self._name}: the Docker engine does not answer: {one_line(error)}") from error
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PermanentError(f"{self._name}: the Docker engine's answer makes no sense: {error!r}") from error

    @contextmanager
    def _opened(self) -> Iterator[tuple[APIClient, Wires]]:
        """The docker library's client as well."""
        import requests
        from docker.errors import APIError, DockerException

        with self._dialled() as wires:
            try:
                with self._way.client(wires.version) as client:
                    yield client, wires
            except requests.exceptions.SSLError as error:
                raise PermanentError(f"{self._name}: no TLS with the Docker engine: {one_line(error)}") from error
            except APIError as error:
                raise self._refusal(error, error.status_code or 500) from error
            except (requests.exceptions.RequestException, DockerException) as error:
                raise RetryableError(f"{self._name}: the Docker engine does not answer: {one_line(error)}") from error

    def _refusal(self, error: Exception, status: int) -> PermanentError | RetryableError:
        if status < 500:
            return PermanentError(f"{self._name}: the Docker engine refused: {one_line(error)}")
        return RetryableError(f"{self._name}: the Docker engine failed: {one_line(error)}")


def _ask_each(wires: Wires, *calls: Call) -> list[Any]:
    with wires.wire() as wire:
        return [wire.ask(call) for call in calls]


def _api_client(url: str, tls: TLSConfig | bool, version: str) -> APIClient:
    from docker import APIClient

    client = APIClient(base_url=url, version=version, timeout=CALL_SECONDS, tls=tls)
    client.trust_env = False  # a proxy or a CA bundle of the environment is not meant for an engine
    return client


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _disk(root: str) -> Disk | None:
    with suppress(OSError):
        seen = os.statvfs(root)
        return Disk(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize)
    return None
