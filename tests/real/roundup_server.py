"""What the tests against a real Roundup share: a receiver of webhooks, and a running tracker that people write to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import roundup
from local.processes import Service
from tests.servers import need

SECRET = "50% of a secret"


def eventually(true: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Ingress:
    """A receiver of webhooks; `answers` are the statuses that it gives, the last one for ever."""

    def __init__(self, port: int = 0, delay: float = 0.0, answers: tuple[int, ...] = (202,)) -> None:
        self.received: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        left = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay)
                status = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                outer.received.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.end_headers()  # after it is kept: the next one comes as soon as this is answered

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def next(self, seconds: float = 60.0) -> dict[str, Any]:
        headers, body = self.received.get(timeout=seconds)
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-hub-signature-256"] == wanted
        return dict(json.loads(body))

    def silent(self, seconds: float = 0.5) -> bool:
        try:
            self.received.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Refused(Exception):
    """Roundup answers with this status."""


class Tracker:
    """A running Roundup, and a way for its users to write to it."""

    def __init__(self, home: Path, ingress_port: int) -> None:
        self.roundup = roundup.Roundup(
            home, roundup.Receiver(f"http://127.0.0.1:{ingress_port}/webhooks/roundup", SECRET)
        )
        self.roundup.set_up()
        self.service: Service = self.roundup.service().start()

    def call(self, user: str, method: str, path: str, body: Any = None) -> Any:
        """An authenticated REST call; a PATCH brings the issue's present ETag."""
        token = base64.b64encode(f"{user}:{self.roundup.passwords[user]}".encode()).decode()
        url = self.roundup.url
        headers = {
            "Authorization": f"Basic {token}",
            "X-Requested-With": "test",
            "Origin": url.rsplit("/", 2)[0],
            "Referer": url,
            "Content-Type": "application/json",
        }
        if method == "PATCH":
            headers["If-Match"] = self.call(user, "GET", path)["@etag"]
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}rest/data/{path}", data, headers, method=method)  # noqa: S310 -- loopback
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 -- loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            error.close()
            raise Refused(error.code) from None

    def create(self, title: str, text: str = "", user: str = roundup.PERSON, **more: Any) -> str:
        messages = [self.call(user, "POST", "msg", {"content": text})["id"]] if text else []
        return str(self.call(user, "POST", "issue", {"title": title, "messages": messages, **more})["id"])

    @property
    def spool(self) -> list[Path]:
        return sorted((self.roundup.tracker / "paydown-spool").glob("[0-9]*.json"))


@pytest.fixture(scope="module")
def ingress() -> Iterator[Ingress]:
    receiver = Ingress()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory, ingress: Ingress) -> Iterator[Tracker]:
    need(roundup.installed(), "Roundup is not installed (pip install roundup)")
    running = Tracker(tmp_path_factory.mktemp("roundup"), ingress.port)
    yield running
    running.service.stop()
