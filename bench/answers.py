"""What the toil types read in the benchmark of cold starts: fixed answers over HTTP, in the shape of the real ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IMAGE = {
    "Id": "sha256:" + "1" * 64,
    "RepoTags": [],
    "RepoDigests": [],
    "Created": "2026-01-01T00:00:00Z",
    "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    "Size": 1000,
    "VirtualSize": 1000,
    "RootFS": {"Type": "layers", "Layers": ["sha256:" + "2" * 64]},
    "GraphDriver": {"Name": "overlay2", "Data": {}},
}
INFO = {
    "SystemTime": "2026-11-22T03:00:00Z",
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "DriverStatus": [],
}
LISTING = f"info {json.dumps(INFO)}\nimage {json.dumps(IMAGE)}\npresent {IMAGE['Id']}\nfree 1000000\npaydown-end\n"

NODE = {
    "metadata": {
        "name": "worker-1",
        "uid": "node-uid",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {},
    },
    "spec": {},
    "status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-02T00:00:00Z"}]},
}
POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "default",
        "uid": "pod-uid",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "rs-uid", "controller": True}],
    },
    "spec": {"nodeName": "worker-1", "containers": [{"name": "c", "image": "i"}]},
    "status": {"phase": "Running"},
}
ISSUE = {
    "data": {
        "id": "1",
        "attributes": {
            "title": "disk full on build-1",
            "status": {"id": "1", "name": "unread"},
            "keyword": [],
            "messages": [],
            "creator": {"id": "3", "username": "operator"},
        },
    }
}
COMMAND = {"CommandId": "00000000-0000-0000-0000-000000000000"}
INVOCATION = {
    **COMMAND,
    "Status": "Success",
    "ResponseCode": 0,
    "StandardOutputContent": LISTING,
    "StandardOutputUrl": "",
}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body that follows its headers waits 40 ms for their acknowledgement

    def do_GET(self) -> None:
        if self.path.startswith("/api/v1/nodes/"):
            self._send(NODE)
        elif self.path.startswith("/api/v1/nodes"):
            self._send({"kind": "NodeList", "metadata": {}, "items": [NODE]})
        elif self.path.startswith("/api/v1/"):
            self._send({"kind": "PodList", "metadata": {}, "items": [POD]})
        else:
            self._send(ISSUE)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
        self._send({"SendCommand": {"Command": COMMAND}, "GetCommandInvocation": INVOCATION}[operation])

    def _send(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The output of a benchmark is its figures."""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server with these answers, while the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
