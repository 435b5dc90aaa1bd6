"""A stand-in cluster in a process of its own, for tests: its nodes die and come back at a word."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from local.processes import Service, free_port, url_answers

TOKEN = "only-for-tests"
T = TypeVar("T")


@dataclass(frozen=True)
class StandIn:
    """A running stand-in cluster at `url`."""

    url: str

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """A plain request, as a person with curl would make it."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 -- loopback
            return json.loads(response.read())

    def kubelet(self, node: str, *, running: bool) -> None:
        """Stop or start the kubelet of a node, and wait until the node says so."""
        self.request("POST", f"/_standin/nodes/{node}/kubelet", {"running": running})
        until(lambda: self.is_ready(node) is running, f"{node} to be {'ready' if running else 'not ready'}")

    def node(self, name: str) -> Any:
        return self.request("GET", f"/api/v1/nodes/{name}")

    def is_ready(self, node: str) -> bool:
        conditions = self.node(node)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def patch_node(self, name: str, patch: Any, manager: str = "kubectl-cordon") -> None:
        """What kubectl does for a person: `cordon`, `uncordon`, `annotate`."""
        path = f"/api/v1/nodes/{name}?fieldManager={manager}"
        self.request("PATCH", path, patch, "application/strategic-merge-patch+json")

    def pods(self, app: str, namespace: str = "default") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request(
            "GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{app}"
        )["items"]
        return found

    def ready_pods(self, app: str, namespace: str = "default") -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.pods(app, namespace)
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod.get("status", {}).get("conditions", [])
            )
        ]


@contextmanager
def standin_cluster(folder: Path, seed: Mapping[str, Any], *options: str) -> Iterator[StandIn]:
    """Start one with this seed; every deployment is Ready when it is handed over."""
    import sys

    file = folder / "seed.yaml"
    file.write_text(yaml.safe_dump(dict(seed)))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "local.cluster",
        "--port",
        str(port),
        "--seed",
        str(file),
        "--token",
        TOKEN,
        *options,
    ]
    with Service("stand-in cluster", command, folder / "cluster.log", lambda: url_answers(f"{url}/readyz")):
        cluster = StandIn(url)
        for entry in seed.get("deployments", ()):
            name, wanted = entry["name"], entry["replicas"]
            until(lambda: len(cluster.ready_pods(name)) == wanted, f"{name} to be ready")  # noqa: B023 -- called at once
        yield cluster


def until(look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """Look until there is something true to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
    return seen
