"""Requests to one API server through the official client's raw `ApiClient`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paydown.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

CONNECT_SECONDS = 3.0
CONNECTIONS = 16
"""Kept open to one server: as many as actions may run in parallel."""
UNREACHABLE_SECONDS = 15.0


@dataclass(frozen=True)
class Request:
    """One request. `headers` may hold the token; `body` is plain JSON data."""

    method: str
    path: str
    query: Mapping[str, str | int]
    headers: Mapping[str, str]
    body: Any
    read_seconds: float


@dataclass(frozen=True)
class Response:
    """What came back, whatever its status."""

    status: int
    body: bytes
    retry_after: str | None = None


class Transport:
    """Sends requests to `server`, a URL. `ca` (PEM) takes the place of the system's certificate authorities."""

    def __init__(self, server: str, ca: str | None = None) -> None:
        self.server = server.rstrip("/")
        self._ca = ca
        self._client: ApiClient | None = None
        self._lock = Lock()

    def send(self, request: Request) -> Response:
        """The response. Raises RetryableError when the server cannot be reached, PermanentError for its certificate."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        api = self._connected()
        prepared = api.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params=dict(request.headers),
            body=request.body,
        )
        try:
            response = api.call_api(*prepared, _request_timeout=(CONNECT_SECONDS, request.read_seconds))
            body: bytes = response.read()  # type: ignore[no-untyped-call]
        except (ApiException, HTTPError) as error:
            raise self._unreachable(error) from None
        return Response(response.status, body, response.headers.get("Retry-After"))

    def _connected(self) -> ApiClient:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> ApiClient:
        from kubernetes.client.api_client import ApiClient
        from kubernetes.client.configuration import Configuration
        from urllib3.util.retry import Retry

        # A redirect could carry the token to another host, and retries are the ledger's: neither happens here.
        once = Retry(total=0, connect=0, read=0, redirect=False, status=0, other=0)
        settings = Configuration(
            host=self.server,
            retries=once,
            ca_cert_data=self._ca,
            connection_pool_maxsize=CONNECTIONS,
            proxy="" if is_loopback(self.server) else None,
        )
        client = ApiClient(settings)
        client.user_agent = "paydown"
        return client

    def _unreachable(self, error: Exception) -> PermanentError | RetryableError:
        cause = getattr(error, "reason", None)
        if _about_certificates(error) or _about_certificates(cause):
            return PermanentError(f"`ca` does not vouch for the certificate of {self.server}")
        kind = type(cause if isinstance(cause, Exception) else error).__name__
        return RetryableError(f"{self.server} cannot be reached ({kind})", UNREACHABLE_SECONDS)


def is_loopback(server: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _about_certificates(error: object) -> bool:
    # The library turns SSLError into an ApiException whose reason begins with the error's name.
    return type(error).__name__ == "SSLError" or (isinstance(error, str) and "certificate" in error.lower())
