"""JSON over HTTP to one system outside: time-outs, bounded answers, no redirects, faults translated into ours."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3

from paydown.errors import PermanentError, RetryableError

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
TOTAL_SECONDS = 20.0
ANSWER_LIMIT = 4 * 1024 * 1024
PIECE = 64 * 1024
LONGEST_DELAY = 3_600.0
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class NotThere(PermanentError):
    """The answer is 404 or 410: there is no such thing, or we may not see it."""


@dataclass(frozen=True)
class Answer:
    """An answer whose status its caller can take.

    `headers` has names in lower case; `data` is decoded JSON; `content` is the bytes that it was decoded from.
    """

    status: int
    headers: Mapping[str, str]
    data: Any
    content: bytes = b""


class Web:
    """Calls to the addresses under `base`.

    `authorise` returns the headers with our credentials; it is asked once, at the first call. They are sent over https
    only, or to this very machine. Without `speaks_json`, an answer that is no JSON has the data None. An answer has at
    most `most` bytes.
    """

    absent: type[PermanentError] = NotThere
    """What is raised when the answer is 404 or 410."""

    def __init__(
        self,
        base: str,
        authorise: Callable[[], Mapping[str, str]],
        headers: Mapping[str, str],
        *,
        speaks_json: bool = True,
        most: int = ANSWER_LIMIT,
    ) -> None:
        self.base = base.rstrip("/")
        self._most = most
        self._speaks_json = speaks_json
        self._authorise = authorise
        self._headers = headers
        parts = urlsplit(self.base)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise PermanentError(f"{parts.hostname} is reached without TLS: credentials are not sent that way")
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=8, retries=False, timeout=timeout)

    @cached_property
    def _all_headers(self) -> dict[str, str]:
        return {"User-Agent": "paydown", **self._headers, **self._authorise()}

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
        content: bytes | None = None,
    ) -> Answer:
        """Call `path` (which begins with a slash) and return the answer if its status is 2xx or one of `also`.

        `body` is sent as JSON; `content` as it is, with the type that `headers` tells. Raises `absent` for 404 and 410,
        RetryableError for trouble that may pass, else PermanentError.
        """
        sent = {**self._all_headers, **(headers or {})}
        if body is not None:
            content = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            answer = self._taken(self._response(method, path, content, sent))
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"{self._host} does not answer: {type(error).__name__}") from error
        if answer.status in also or 200 <= answer.status < 300:
            return answer
        raise self._fault(answer)

    def stream(
        self, path: str, headers: Mapping[str, str] | None = None, also: tuple[int, ...] = ()
    ) -> tuple[Answer, Iterator[bytes]]:
        """GET `path`: the answer's head, and the bytes of its body as they come, of any length.

        A status of `also` comes back with its body in the answer, and no bytes follow. The iterator must be used up or
        closed: it holds a connection until then. Raises what `call` raises, at once or while iterating.
        """
        try:
            response = self._response("GET", path, None, {**self._all_headers, **(headers or {})})
            if response.status != 200:
                answer = self._taken(response)
                if answer.status not in also:
                    raise self._fault(answer)
                return answer, iter(())
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"{self._host} does not answer: {type(error).__name__}") from error
        return Answer(response.status, _headers(response), None), self._flow(response)

    def _response(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            method, self.base + path, body=content, headers=headers, redirect=False, preload_content=False
        )

    def _flow(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        complete = False
        try:
            yield from response.stream(PIECE)
            complete = True
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"{self._host} does not go on: {type(error).__name__}") from error
        finally:
            if complete:
                response.release_conn()
            else:
                response.close()

    @property
    def _host(self) -> str:
        return urlsplit(self.base).netloc

    def _taken(self, response: urllib3.BaseHTTPResponse) -> Answer:
        deadline = time.monotonic() + TOTAL_SECONDS
        taken = bytearray()
        complete = False
        try:
            for chunk in response.stream(PIECE):
                taken += chunk
                if len(taken) > self._most:
                    raise PermanentError(f"{self._host} answers more than {self._most} bytes")
                if time.monotonic() > deadline:
                    raise RetryableError(f"{self._host} answers too slowly")
            complete = True
        finally:
            if complete:
                response.release_conn()
            else:
                response.close()
        try:
            data = json.loads(taken) if taken else None
        except ValueError:
            data = None
            if 200 <= response.status < 300 and self._speaks_json:
                raise PermanentError(f"{self._host} does not answer with JSON") from None
        return Answer(response.status, _headers(response), data, bytes(taken))

    def _fault(self, answer: Answer) -> Exception:
        status, what = answer.status, f"{self._host} answers {answer.status}{said(answer.data)}"
        if status in (404, 410):
            return self.absent(what)
        if 300 <= status < 400:
            return PermanentError(f"{what}: redirects are not followed with our credentials")
        limited = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
        if status in (408, 425, 429) or status >= 500 or (status == 403 and limited):
            return RetryableError(what, delay=_delay(answer.headers))
        return PermanentError(what)


def _headers(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def said(data: Any) -> str:
    """What an error answer says, in brackets and on one line; empty when it says nothing."""
    error = data.get("error", data) if isinstance(data, dict) else None
    said = error.get("msg") or error.get("message") if isinstance(error, dict) else None
    text = _UNSEEN.sub("", " ".join(str(said).split()))
    return f" ({text if len(text) <= 200 else text[:199] + '…'})" if said else ""


def _delay(headers: Mapping[str, str]) -> float:
    """Seconds until a limit ends, as the server says (`Retry-After`, or GitHub's reset time), else 30."""
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        seconds = float(after)
    elif headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        seconds = float(reset) - time.time()
    else:
        seconds = 30.0
    return min(max(seconds, 1.0), LONGEST_DELAY)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
