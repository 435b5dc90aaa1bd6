"""One call to an API server: its answer, or its error translated into ours.

The cases in `tests/unit/clients/test_kube_http.py` are what a real 1.36 server answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from paydown.clients.kube.transport import Request, Response
from paydown.errors import PermanentError, RetryableError

READ_SECONDS = 10.0
LIST_SECONDS = 20.0
TROUBLE_SECONDS = 15.0
BUSY_SECONDS = 5.0
UNKNOWN_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """An answer that the caller can deal with. `retry_after` is in seconds, None when the server named none."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None

    @property
    def message(self) -> str:
        """What the server said, cut to 300 characters."""
        return str(self.body.get("message") or "")[:300]

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """`details.causes` of a Status."""
        details = self.body.get("details")
        return list(details.get("causes") or ()) if isinstance(details, Mapping) else []


class Http:
    """Calls of one API server through `send`.

    `token` is asked for each call, since some last only minutes. `name` is how messages call the cluster, `identity`
    how they call the credentials (`reader`, `operator`).
    """

    def __init__(
        self,
        send: Callable[[Request], Response],
        *,
        name: str,
        identity: str,
        token: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.name = name
        self.identity = identity
        self._send = send
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        read_seconds: float = READ_SECONDS,
        expected: Collection[int] = (),
    ) -> Answer:
        """The answer, when it is a success or its status is `expected`.

        Raises RetryableError when the server cannot be reached, is in trouble (429, 5xx) or does not know us (401);
        else PermanentError.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        token = self._token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        response = self._send(Request(method, path, query or {}, headers, body, read_seconds))
        answer = Answer(response.status, _json(response.body), _seconds(response.retry_after))
        if 200 <= answer.status < 300 or answer.status in expected:
            return answer
        raise self.trouble(method, path, answer)

    def trouble(self, method: str, path: str, answer: Answer) -> PermanentError | RetryableError:
        """The error that an answer means, to be raised."""
        said = f"cluster {self.name}: {method} {path}: {answer.status} {answer.message}".rstrip()
        match answer.status:
            case 429:
                return RetryableError(said, answer.retry_after or BUSY_SECONDS)
            case status if status >= 500:
                return RetryableError(said, answer.retry_after or TROUBLE_SECONDS)
            case 401:
                # After a rotation, the old secret is remembered for some minutes: that passes.
                return RetryableError(f"{said}: the {self.identity} credentials are not accepted", UNKNOWN_SECONDS)
            case 403:
                return PermanentError(f"{said}: the {self.identity} credentials lack this right (docs/recover-node.md)")
            case status if 300 <= status < 400:
                return PermanentError(f"{said}: a redirect, which is not followed: name the API server itself")
        return PermanentError(said)


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {"message": text[:300].decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)[:300]}


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdigit() else None
