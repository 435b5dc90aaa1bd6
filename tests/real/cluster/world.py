"""What the tests of a whole stand-in cluster use: a client, its own paths, and waiting."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config


@dataclass
class World:
    kubeconfig: Path
    api: client.ApiClient

    @classmethod
    @contextmanager
    def open(cls, kubeconfig: Path) -> Iterator[World]:
        with config.new_client_from_config(str(kubeconfig)) as api:
            yield cls(kubeconfig, api)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    @property
    def policy(self) -> client.PolicyV1Api:
        return client.PolicyV1Api(self.api)

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the stand-in's own paths."""
        url = f"{self.api.configuration.host}/_standin/{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as reply:  # noqa: S310 -- loopback
            return json.load(reply)

    def kubelet(self, node: str, **wish: bool) -> Any:
        return self.admin("POST", f"nodes/{node}/kubelet", wish)

    def pods(self, app: str, namespace: str = "shop") -> list[client.V1Pod]:
        return self.core.list_namespaced_pod(namespace, label_selector=f"app={app}").items

    def ready(self, node: str) -> str:
        conditions = self.core.read_node(node).status.conditions or []
        return next((held.status for held in conditions if held.type == "Ready"), "")

    def evict(self, pod: client.V1Pod) -> None:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        self.core.create_namespaced_pod_eviction(name, namespace, {"metadata": {"name": name, "namespace": namespace}})


def is_ready(pod: client.V1Pod) -> bool:
    conditions = (pod.status and pod.status.conditions) or []
    return any(held.type == "Ready" and held.status == "True" for held in conditions)


def wait(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of `what`, looked at 20 times a second."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found
