"""Running an image's program once on a Docker host, shut in, and what it said.

No network, nothing to write to, no capabilities, no new privileges; memory, processes and processor limited; it is
stopped when its time is up, and the container goes whatever happens. What it writes is kept by the engine in files of a
bounded size, and read only as far as can be compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paydown.clients.docker_hosts.containers import remove_container
from paydown.clients.docker_hosts.engine import EngineHost
from paydown.clients.docker_hosts.reading import one_line
from paydown.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from docker import APIClient

OUTPUT_MOST = 64 * 1024
"""Bytes of each stream that are read; more cannot be compared."""
LOG_BYTES = "8m"
"""Of each of two files on the host. A byte of output takes up to 82 there: the first `OUTPUT_MOST` are never lost."""
MEMORY = 256 * 1024 * 1024
PROCESSES = 64
PROCESSORS = 1_000_000_000
"""In billionths."""
LABEL = "paydown.trial"
"""Of the containers: its value is the mark of whoever tries."""
PULL_SECONDS = 10.0
_SIGNS = (
    "no such file",
    "executable file not found",
    "unable to find user",
    "unable to find group",
    "no matching entries",
    "permission denied",
    "exec format error",
    "is a directory",
    "no command specified",
)
"""What an engine says when a program cannot be started as its image is."""


@dataclass(frozen=True)
class Ran:
    """How a program ended: its exit code (None: it was stopped, as its time was up), and what it wrote.

    `cut`: it wrote more than is read.
    """

    code: int | None
    out: bytes = b""
    err: bytes = b""
    cut: bool = False


@dataclass(frozen=True)
class Cannot:
    """The engine could not start the program: the text says why."""

    why: str


class TrialHost(EngineHost):
    """A Docker engine that runs programs for comparison. All raise RetryableError and PermanentError."""

    @contextmanager
    def image(self, id: str, name: str, credentials: Mapping[str, str] | None) -> Iterator[str]:
        """The image `id` for as long as this lasts, and how it is called.

        It is pulled by `name` (with its digest) if it is not there, and goes again then.
        """
        called = self._present(id) or self._present(name)
        if called:
            yield called
            return
        with self._opened() as (client, _):
            _pull(client, name, credentials)
        try:
            yield name
        finally:
            self._forget(name)

    @contextmanager
    def loaded(self, id: str, archive: Iterable[bytes]) -> Iterator[str]:
        """The image `id` out of an archive as `docker image load` takes it; it goes again, unless it was there."""
        if self._present(id):
            yield id
            return
        with self._opened() as (client, _):
            _load(client, archive)
        try:
            if not self._present(id):
                raise PermanentError(f"{self._name}: the engine does not call the image that was loaded {id[:19]}")
            yield id
        finally:
            self._forget(id)

    def architecture(self) -> str:
        """The host's architecture, as images call it."""
        with self._opened() as (client, _):
            return str(client.version()["Arch"])

    def run(self, image: str, arguments: Sequence[str] | None, *, seconds: int, mark: str) -> Ran | Cannot:
        """Run the image's entrypoint with these arguments (None: its own), for so long at the most."""
        with self._opened() as (client, _):
            container = ""
            try:
                made = client.create_container(
                    image,
                    list(arguments) if arguments is not None else None,
                    hostname="paydown",
                    labels={LABEL: mark},
                    network_disabled=True,
                    healthcheck={"test": ["NONE"]},
                    host_config=_shut_in(client),
                )
                container = made["Id"]
                return _ended(client, container, seconds)
            except Exception as error:
                if why := _refused(error):
                    return Cannot(why)
                raise
            finally:
                if container:
                    remove_container(client, container)

    def sweep(self, mark: str) -> None:
        """Remove what a trial of the same mark left when its worker died."""
        with self._opened() as (client, _):
            for row in client.containers(all=True, filters={"label": f"{LABEL}={mark}"}):
                remove_container(client, row["Id"])

    def _present(self, name: str) -> str:
        """The image's id, if the host has it; otherwise nothing."""
        from docker.errors import APIError

        with self._opened() as (client, _):
            try:
                return str(_inspected(client, name)["Id"])
            except APIError as error:
                if error.status_code == 404:
                    return ""
                raise

    def _forget(self, name: str) -> None:
        """Remove an image that came for a trial; one that is in use meanwhile, or has a tag now, stays."""
        with suppress(PermanentError, RetryableError), self._opened() as (client, _):
            if not _inspected(client, name)["RepoTags"]:
                client.remove_image(name, noprune=False)


def _inspected(client: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.inspect_image(name)
    return found


def _shut_in(client: APIClient) -> dict[str, Any]:
    from docker.types import LogConfig

    return client.create_host_config(
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=MEMORY,
        memswap_limit=MEMORY,
        pids_limit=PROCESSES,
        nano_cpus=PROCESSORS,
        privileged=False,
        ipc_mode="private",
        log_config=LogConfig(type="json-file", config={"max-size": LOG_BYTES, "max-file": "2"}),
        restart_policy={"Name": "no"},
    )


def _ended(client: APIClient, container: str, seconds: int) -> Ran:
    """Start it, wait until it ends or its time is up, and read what it wrote."""
    import requests

    client.start(container)
    code: int | None = None
    try:
        code = int(client.wait(container, timeout=seconds)["StatusCode"])
    except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
        _kill(client, container)
    # Not as a stream: the engine's own files of it are small enough.
    out = client.logs(container, stdout=True, stderr=False, follow=False)
    err = client.logs(container, stdout=False, stderr=True, follow=False)
    cut = max(len(out), len(err)) > OUTPUT_MOST
    return Ran(code, out[:OUTPUT_MOST], err[:OUTPUT_MOST], cut)


def _kill(client: APIClient, container: str) -> None:
    from docker.errors import APIError

    try:
        client.kill(container)
    except APIError as error:
        if error.status_code not in (404, 409):  # it ended at this moment
            raise


def _refused(error: Exception) -> str:
    """Why the engine could not start a program, if that lies in the image; empty if it lies elsewhere."""
    from docker.errors import APIError

    if not isinstance(error, APIError) or error.status_code not in (400, 404, 500):
        return ""
    said = one_line(error.explanation)
    return said if any(sign in said.lower() for sign in _SIGNS) else ""


def _pull(client: APIClient, name: str, credentials: Mapping[str, str] | None) -> None:
    """Pull an image by its digest, and no longer than `PULL_SECONDS`. The library's own call would wait for ever."""
    from docker.auth import encode_header
    from docker.errors import APIError

    until = time.monotonic() + PULL_SECONDS
    repository, _, digest = name.partition("@")
    with client.post(
        f"{client.base_url}/v{client.api_version}/images/create",
        params={"fromImage": repository, "tag": digest},
        headers={"X-Registry-Auth": encode_header(dict(credentials or {}))},
        timeout=PULL_SECONDS,
        stream=True,
    ) as answer:
        if answer.status_code >= 400:
            raise APIError(f"{answer.status_code} {answer.reason}", response=answer, explanation=answer.text[:1_000])
        for line in answer.iter_lines():
            said = json.loads(line) if line else {}
            if "error" in said:
                raise PermanentError(f"the image cannot be pulled: {one_line(said['error'])}")
            if time.monotonic() > until:
                raise PermanentError(f"the image cannot be pulled within {PULL_SECONDS:.0f} s")


def _load(client: Any, archive: Iterable[bytes]) -> None:
    for said in client.load_image(iter(archive)) or ():
        told = said if isinstance(said, dict) else json.loads(said)
        if "error" in told:
            raise PermanentError(f"the image cannot be loaded: {one_line(told['error'])}")
