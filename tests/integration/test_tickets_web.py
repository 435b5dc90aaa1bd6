"""HTTP as ticket systems speak it when all is not well: each answer becomes the right error, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from paydown.clients import web as module
from paydown.errors import PermanentError, RetryableError
from paydown.tickets.shapes import TicketNotFound
from paydown.tickets.web import Web
from tests.integration.http_server import HttpServer, answered


class Server(HttpServer):
    """Keeps what it was asked; answers as the test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Respond = plainly(200, b"{}")
        super().__init__(self._noted)

    def _noted(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.seen.append((handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()}, body))
        self.answer(handler)


Respond = Callable[[BaseHTTPRequestHandler], None]


def plainly(status: int, body: bytes, **headers: str) -> Respond:
    return lambda handler: answered(handler, status, body, **headers)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def web(server: Server) -> Iterator[Web]:
    made = Web(f"{server.url}/base/", lambda: {"Authorization": "Bearer hush-hush"}, {"X-Own": "1"})
    yield made
    made._pool.clear()


def test_a_call_and_its_answer(server: Server, web: Web) -> None:
    server.answer = plainly(201, '{"a": "ü"}'.encode(), ETag='"x"')
    answer = web.call("POST", "/things", {"b": "ß"}, {"If-Match": "1"})
    assert (answer.status, answer.headers["etag"], answer.data) == (201, '"x"', {"a": "ü"})
    method, path, headers, body = server.seen[0]
    assert (method, path, body) == ("POST", "/base/things", b'{"b": "\\u00df"}')
    assert headers["authorization"] == "Bearer hush-hush"
    assert (headers["x-own"], headers["if-match"], headers["content-type"]) == ("1", "1", "application/json")


def test_credentials_are_asked_for_once(server: Server) -> None:
    asked: list[int] = []
    web = Web(server.url, lambda: asked.append(1) or {}, {})  # type: ignore[func-returns-value] -- counts its calls
    assert asked == []
    for _ in range(3):
        web.call("GET", "/")
    assert asked == [1]
    web._pool.clear()


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there(server: Server, web: Web, status: int) -> None:
    server.answer = plainly(status, b'{"message": "Not Found"}')
    with pytest.raises(TicketNotFound, match="Not Found"):
        web.call("GET", "/")


@pytest.mark.parametrize("status", [400, 401, 403, 409, 412, 422])
def test_what_will_not_get_better(server: Server, web: Web, status: int) -> None:
    server.answer = plainly(status, b'{"error": {"msg": "no\\n\\nway"}}')
    with pytest.raises(PermanentError, match=rf"{status} \(no way\)") as caught:
        web.call("GET", "/")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "low", "high"),
    [
        (500, {}, 30, 30),
        (502, {}, 30, 30),
        (503, {"Retry_After": "7"}, 7, 7),
        (429, {"Retry_After": "99999"}, 3_600, 3_600),
        (429, {"Retry_After": "0"}, 1, 1),
        (429, {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30, 30),
        (403, {"Retry_After": "60"}, 60, 60),
    ],
)
def test_what_may_get_better(
    server: Server, web: Web, status: int, headers: dict[str, str], low: float, high: float
) -> None:
    server.answer = plainly(status, b"<html>not JSON</html>", **headers)
    with pytest.raises(RetryableError) as caught:
        web.call("GET", "/")
    assert low <= caught.value.delay <= high


def test_a_used_up_limit_gets_better_when_it_is_reset(server: Server, web: Web) -> None:
    reset = str(int(time.time()) + 100)
    server.answer = plainly(403, b"", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)
    with pytest.raises(RetryableError) as caught:
        web.call("GET", "/")
    assert 50 <= caught.value.delay <= 100


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: Server, web: Web, status: int) -> None:
    other = Server()
    server.answer = plainly(status, b"", Location=f"{other.url}/")
    try:
        with pytest.raises(PermanentError, match="redirects"):
            web.call("GET", "/")
        assert other.seen == []
        assert len(server.seen) == 1
    finally:
        other.close()


def test_a_huge_answer_is_not_taken(server: Server, web: Web) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for _ in range(1_000):
                handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            handler.close_connection = True

    server.answer = endless
    with pytest.raises(PermanentError, match="answers more than"):
        web.call("GET", "/")


def test_a_trickle_ends(server: Server, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.3)

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for _ in range(1_200):
                handler.wfile.write(b"1\r\nx\r\n")
                time.sleep(0.05)
        except OSError:
            handler.close_connection = True

    server.answer = trickle
    began = time.monotonic()
    with pytest.raises(RetryableError, match="too slowly"):
        web.call("GET", "/")
    assert time.monotonic() - began < 30, "half of the trickle"


def test_a_connection_that_breaks(server: Server, web: Web) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.close_connection = True

    server.answer = break_off
    with pytest.raises(RetryableError, match="does not answer"):
        web.call("GET", "/")


def test_success_that_is_not_json(server: Server, web: Web) -> None:
    server.answer = plainly(200, b"<html>log in</html>")
    with pytest.raises(PermanentError, match="JSON"):
        web.call("GET", "/")


def test_an_empty_answer(server: Server, web: Web) -> None:
    server.answer = plainly(204, b"")
    assert web.call("DELETE", "/").data is None
