"""Which credentials a function has for a cluster, and the client made from them.

A cluster has two secrets: one for reading, one for acting. A function that was deployed to observe may read only the
first. Each is JSON, in one of two forms::

    {"server": "https://10.0.0.1:6443", "token": "eyJ…", "ca": "-----BEGIN CERTIFICATE-----…"}
    {"eks": {"name": "prod", "region": "eu-central-1"}}

The second form is an EKS cluster that knows the function's role by an access entry: no token is stored anywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, ValidationError, model_validator

from paydown.clients.kube import eks
from paydown.clients.kube.cluster import ClusterApi
from paydown.clients.kube.http import Http
from paydown.clients.kube.transport import Transport, is_loopback
from paydown.errors import PermanentError
from paydown.inventory import Cluster

Secrets = Callable[[str], Mapping[str, Any]]
"""What reads a secret by its name and parses its JSON: `paydown.clients.aws.secret`."""

KEPT = 16
"""Clients kept between events, with their connections."""


class EksCluster(BaseModel):
    """An EKS cluster by its name and region."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]


class Credentials(BaseModel):
    """The content of a cluster's secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")] | None = None
    token: SecretStr | None = None
    ca: str | None = None
    eks: EksCluster | None = None

    @model_validator(mode="after")
    def _complete(self) -> Credentials:
        if self.server is None and self.eks is None:
            raise ValueError("neither `server` nor `eks` is given")
        if self.token is not None and self.eks is not None:
            raise ValueError("`token` and `eks` exclude each other")
        bearer = self.token is not None or self.eks is not None
        if bearer and self.server and self.server.startswith("http:") and not is_loopback(self.server):
            raise ValueError("a token is sent over https only")
        return self

    @classmethod
    def parse(cls, name: str, document: Mapping[str, Any]) -> Credentials:
        """The secret called `name`. Raises PermanentError that names the faulty fields, and none of their values."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            faults = [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors(include_input=False)]
            raise PermanentError(f"secret {name} holds no cluster credentials: " + "; ".join(faults)) from None


_clients: OrderedDict[tuple[str, str, Credentials], ClusterApi] = OrderedDict()
_lock = Lock()


def connect(cluster: Cluster, *, observing: bool, secrets: Secrets) -> ClusterApi:
    """The client of a cluster; with the reader's credentials when `observing`, with the operator's otherwise.

    The same credentials give the same client, so that its connections serve many events.
    """
    identity, name = ("reader", cluster.reader_secret) if observing else ("operator", cluster.operator_secret)
    credentials = Credentials.parse(name, secrets(name))
    key = (cluster.uid, identity, credentials)
    with _lock:
        found = _clients.get(key)
        if found is None:
            found = _clients[key] = ClusterApi(_http(cluster, identity, credentials))
            while len(_clients) > KEPT:
                _clients.popitem(last=False)
        _clients.move_to_end(key)
    return found


def _http(cluster: Cluster, identity: str, credentials: Credentials) -> Http:
    server, ca = credentials.server or "", credentials.ca
    token = _always(credentials.token.get_secret_value() if credentials.token else None)
    if credentials.eks is not None:
        token = eks.Token(credentials.eks.name, credentials.eks.region)
        if not server:
            server, ca = eks.endpoint(credentials.eks.name, credentials.eks.region)
    return Http(Transport(server, ca).send, name=cluster.name, identity=identity, token=token)


def _always(token: str | None) -> Callable[[], str | None]:
    return lambda: token
