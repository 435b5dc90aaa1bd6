"""The Kubernetes client over real sockets: what goes over the wire, and what it makes of a server in trouble."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paydown.clients.kube import ClusterApi, transport
from paydown.clients.kube.http import Http
from paydown.clients.kube.transport import Request, Transport
from paydown.errors import PermanentError, RetryableError
from tests.real.certificates import Authority

LAYER = Path(__file__).parents[2] / "layers" / "shared"
NODE = {"metadata": {"name": "a", "uid": "n1", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}}
GET = Request("GET", "/api/v1/nodes/a", {}, {"Accept": "application/json"}, None, 10.0)


@dataclass
class Scripted:
    """A server on loopback that answers as `script` says, and keeps what it was asked."""

    script: Callable[[http.server.BaseHTTPRequestHandler], None]
    context: ssl.SSLContext | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Scripted]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((f"{self.command} {self.path}", dict(self.headers.items()), body))
                outer.script(self)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 -- the names that the library calls

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests say what they need to know."""

        server = Listener(("127.0.0.1", 0), Handler)
        if self.context:
            server.socket = self.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if self.context else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.hang_up()
            server.server_close()


class Listener(http.server.ThreadingHTTPServer):
    """Waits for its threads at the end, and hangs up on clients that keep their connections."""

    daemon_threads = False

    def __init__(self, *arguments: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients that break off are what some tests are about."""


def replying(status: int, body: Any, **headers: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        text = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(text)

    return script


def api(server: Scripted, ca: str | None = None) -> ClusterApi:
    send = Transport(server.url, ca).send
    return ClusterApi(Http(send, name="demo", identity="operator", token=lambda: "s3cret"))


def test_what_goes_over_the_wire() -> None:
    with Scripted(replying(201, {})).running() as server:
        api(server).evict("default", "web-1", "uid-1")
    [(line, headers, body)] = server.requests
    assert line == "POST /api/v1/namespaces/default/pods/web-1/eviction"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["User-Agent"] == "paydown"
    assert json.loads(body)["deleteOptions"] == {"preconditions": {"uid": "uid-1"}}


def test_selectors_and_page_marks_are_encoded() -> None:
    with Scripted(replying(200, {"items": []})).running() as server:
        list(api(server).pods(node="worker-1"))
    assert server.requests[0][0] == "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dworker-1&limit=500"


def test_a_token_never_follows_a_redirect() -> None:
    with Scripted(replying(200, NODE)).running() as thief:
        elsewhere = replying(307, {}, Location=f"{thief.url.replace('127.0.0.1', 'localhost')}/api/v1/nodes/a")
        with Scripted(elsewhere).running() as server, pytest.raises(PermanentError, match="redirect"):
            api(server).node("a")
        with Scripted(elsewhere).running() as server, pytest.raises(PermanentError, match="redirect"):
            api(server).evict("default", "web-1", "uid-1")
    assert thief.requests == []


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_is_not_retried_here(status: int) -> None:
    with (
        Scripted(replying(status, {"message": "no"}, Retry_After="2")).running() as server,
        pytest.raises(RetryableError) as caught,
    ):
        api(server).node("a")
    assert caught.value.delay == 2.0
    assert len(server.requests) == 1


def test_connections_are_kept_and_threads_share_them() -> None:
    with Scripted(replying(200, NODE)).running() as server:
        client = api(server)
        client.node("a")
        threads = [threading.Thread(target=client.node, args=("a",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 9


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RetryableError, match="cannot be reached"):
        Transport(url).send(GET)


def test_a_server_that_does_not_answer_in_time() -> None:
    release = threading.Event()
    with Scripted(lambda handler: release.wait(60) and None).running() as server:
        began = time.monotonic()
        with pytest.raises(RetryableError, match="cannot be reached"):
            Transport(server.url).send(Request("GET", "/", {}, {}, None, 0.3))
        assert time.monotonic() - began < 30
        release.set()


def test_a_server_that_breaks_off_in_the_middle() -> None:
    def broken(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"items": [')
        handler.close_connection = True

    with Scripted(broken).running() as server, pytest.raises(RetryableError, match="cannot be reached"):
        list(api(server).pods())


@pytest.fixture
def authority() -> Authority:
    return Authority()


def server_side(authority: Authority, folder: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
    pair = authority.server(address)
    file = folder / "server.pem"
    file.write_text(pair.cert + pair.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(file)
    return made


@pytest.fixture
def context(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for loopback."""
    return server_side(authority, tmp_path)


def test_tls_with_the_clusters_own_authority(authority: Authority, context: ssl.SSLContext) -> None:
    with Scripted(replying(200, NODE), context).running() as server:
        found = api(server, authority.cert).node("a")
    assert found is not None
    assert found.uid == "n1"


BROKEN = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("ca", [Authority("another").cert, None, BROKEN], ids=["another", "the system's", "broken"])
def test_a_certificate_that_nobody_vouches_for_is_permanent(ca: str | None, context: ssl.SSLContext) -> None:
    with Scripted(replying(200, NODE), context).running() as server, pytest.raises(PermanentError, match="vouch"):
        api(server, ca).node("a")
    assert server.requests == []


def test_a_certificate_for_another_host_is_permanent(authority: Authority, tmp_path: Path) -> None:
    context = server_side(authority, tmp_path, "10.0.0.1")
    with Scripted(replying(200, NODE), context).running() as server, pytest.raises(PermanentError, match="vouch"):
        api(server, authority.cert).node("a")
    assert server.requests == []


def test_a_proxy_in_the_environment_does_not_see_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(replying(500, {})).running() as proxy, Scripted(replying(200, NODE)).running() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert api(server).node("a") is not None
    assert proxy.requests == []


def test_only_the_raw_client_is_loaded() -> None:
    """The typed models take half a second more."""
    import subprocess
    import sys

    code = (
        f"import sys; sys.path.insert(0, {str(LAYER)!r})\n"
        "from paydown.clients import kube\n"
        "assert 'kubernetes' not in sys.modules, 'imported too early'\n"
        "from paydown.clients.kube.transport import Transport\n"
        "Transport('http://127.0.0.1:1')._connected()\n"
        "assert 'kubernetes.client.models.v1_pod' not in sys.modules, 'models'\n"
        "assert not [name for name in sys.modules if name.startswith('kubernetes.client.api.')], 'typed APIs'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pool_is_as_large_as_the_parallel_actions() -> None:
    from functions.recover_node.app import Settings

    most = Settings.model_json_schema()["properties"]["parallel"]["maximum"]
    assert most <= transport.CONNECTIONS
