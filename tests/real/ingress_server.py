"""Ingress behind a small HTTP server that hands each request to its handler as API Gateway does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from functions.ingress import app
from local.webhooks import gateway_event
from paydown.events import Event
from tests.fixtures.ingress import Ingress


@dataclass
class Received:
    """One request that came in, and what it was answered."""

    headers: dict[str, str]
    body: bytes
    status: int
    answer: dict[str, Any]


@dataclass
class Front:
    """The front door over HTTP, with secrets and a bus of the test's own."""

    ingress: Ingress = field(default_factory=Ingress)
    received: list[Received] = field(default_factory=list)
    port: int = 0
    _at_work: threading.Lock = field(default_factory=threading.Lock)

    def url(self, sender: str, query: str = "") -> str:
        """Where a sender posts."""
        return f"http://127.0.0.1:{self.port}/webhooks/{sender}{query}"

    @property
    def events(self) -> list[Event | None]:
        """What the bus has."""
        return self.ingress.bus.events

    @property
    def statuses(self) -> list[int]:
        """How the requests were answered."""
        return [one.status for one in self.received]

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for a condition to hold between two requests, or fail with what came in."""
        deadline = time.monotonic() + seconds
        while True:
            with self._at_work:
                if condition():
                    return
            assert time.monotonic() < deadline, (
                f"nothing more came: {[(one.status, one.answer) for one in self.received]}"
            )
            time.sleep(0.02)

    def take(self, headers: dict[str, str], path: str, body: bytes) -> Received:
        """Hand a request to ingress, one at a time."""
        address = urlsplit(path)
        sender = address.path.rsplit("/", 1)[-1]
        with self._at_work:
            answer = app.handler(gateway_event(sender, body, headers, dict(parse_qsl(address.query))))
            self.received.append(Received(headers, body, answer["statusCode"], json.loads(answer["body"])))
            return self.received[-1]


@contextmanager
def front_door() -> Iterator[Front]:
    """A front door that is open inside the block."""
    front = Front()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received = front.take(dict(self.headers.items()), self.path, body)
            said = json.dumps(received.answer).encode()
            self.send_response(received.status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        front.ingress.install(patch)
        front.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield front
        server.shutdown()
        thread.join()
