"""The HTTP server: HTTP/1.1 with kept connections, one thread each, watches as chunked streams."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from local.cluster.router import Reply, Request, Router

_LARGEST_BODY = 8 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """The listening socket. TLS, if any, is shaken hands in each connection's own thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], router: Router, context: ssl.SSLContext | None = None) -> None:
        self.router = router
        self.context = context
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without the reverse name look-up of http.server, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about connections that the client broke off; show every other error."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 3600

    def setup(self) -> None:
        """Wrap the connection in TLS where the server has a certificate."""
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            self._send(Reply(413, "the body is too large"))
            return
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
        )
        reply = self.server.router.handle(request)
        if reply.stream is not None:
            self._stream(reply.stream)
        else:
            self._send(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _respond  # noqa: N815 -- http.server finds them by name

    def _send(self, reply: Reply) -> None:
        text = isinstance(reply.body, str)
        shown: str = reply.body if text else json.dumps(reply.body, separators=(",", ":"))
        payload = shown.encode()
        self.send_response(reply.code)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if text else "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def _stream(self, events: Iterator[Any]) -> None:
        """Send events one JSON object a line; what has gathered is sent before each wait."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        with contextlib.suppress(ConnectionError):
            for event in events:
                if event is not None:
                    line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                    continue
                self.wfile.flush()
                if self._left():
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

    def _left(self) -> bool:
        """Whether the client closed the connection: a watcher sends nothing, so anything to read is the end."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: a watcher would fill the disk."""
