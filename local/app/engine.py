"""The Docker engine of this machine, if there is one that may be used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import APIClient

INSTANCE = "i-0123456789abcdef0"
"""Under which id the stand-in SSM agent serves this machine; the sample events name it too."""
DEFAULT = "unix:///var/run/docker.sock"
AGENT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the stand-in agent looks for programs, as the real one does."""
SECONDS = 5


class NoEngine(RuntimeError):
    """No Docker engine can be used; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answered. `host` is its DOCKER_HOST; `environment` is how clients reach it."""

    host: str
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)
    by_agent: bool = True
    """Whether the docker command is there, so that the SSM documents can run; otherwise its socket is used."""

    @property
    def reach(self) -> dict[str, Any]:
        """How the inventory says that the host is reached."""
        if self.by_agent:
            return {"via": "ssm", "instance_id": INSTANCE}
        return {"via": "unix", "path": self.host.removeprefix("unix://")}

    def client(self) -> APIClient:
        """A client of the engine."""
        return _client(self.environment)


def find_engine(environ: Mapping[str, str] = os.environ) -> Engine:
    """The engine that DOCKER_HOST names, or the one behind the usual socket. Raises NoEngine."""
    host = environ.get("DOCKER_HOST") or DEFAULT
    kept = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    environment = {"DOCKER_HOST": host, **{name: environ[name] for name in kept if environ.get(name)}}
    try:
        with _client(environment) as client:
            version = str(client.version()["Version"])
    except _errors() as error:
        raise NoEngine(f"no Docker engine answers at {host}: {_plain(error)}") from None
    by_agent = shutil.which("docker", path=AGENT_PATH) is not None and "PAYDOWN_ENDPOINT" not in environ
    if not by_agent and not host.startswith("unix://"):
        raise NoEngine(f"the Docker engine at {host} can only be reached by the docker command, which is not installed")
    return Engine(host, version, environment, by_agent)


def _client(environment: Mapping[str, str]) -> APIClient:
    from docker import APIClient
    from docker.utils import kwargs_from_env

    options = kwargs_from_env(environment=dict(environment))
    client = APIClient(version="auto", timeout=SECONDS, **options)
    client.trust_env = False
    return client


def _errors() -> tuple[type[Exception], ...]:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    return DockerException, RequestException, OSError


def _plain(error: Exception) -> str:
    text = str(error)
    for sign, words in (
        ("PermissionError", "you may not use its socket"),
        ("FileNotFoundError", "there is no such socket"),
        ("ConnectionRefused", "connection refused"),
    ):
        if sign in text:
            return words
    return " ".join(text.split())[:200]
