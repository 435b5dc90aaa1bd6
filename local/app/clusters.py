"""The cluster of the local application: the stand-in, or the user's own that KUBECONFIG names."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from local.cluster.service import SEED, service
from local.processes import Service, free_port

NAMESPACE = "paydown"
YOURS = {"paydown.local/cluster": "yours"}
"""The label that a user's own cluster has in the inventory: the local policy acts on it only when a person approves."""


class NoCluster(RuntimeError):
    """The user's cluster cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class Cluster:
    """A cluster as the application uses it: its entry in the inventory, without secrets, and what the secrets hold."""

    name: str
    kubeconfig: str
    nodes: tuple[str, ...]
    reader: Mapping[str, str] = field(repr=False)
    operator: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StandIn:
    """The stand-in cluster, in a process of its own. It forgets everything when it stops."""

    folder: Path
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    process: Service | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl."""
        return self.folder / "kubeconfig"

    @property
    def certificate(self) -> Path:
        """Its certificate as PEM, for curl."""
        return self.folder / "ca.pem"

    def start(self) -> StandIn:
        """Start it and wait until it is ready. Raises ServiceError."""
        self.process = service(self.port, self.folder, "--seed", str(SEED), "--token", self.token, tls=True)
        self.process.start()
        config = yaml.safe_load(self.kubeconfig.read_text())
        self.certificate.write_bytes(base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]))
        return self

    def stop(self) -> None:
        """Stop it. Harmless when it does not run."""
        if self.process is not None:
            self.process.stop()

    @property
    def cluster(self) -> Cluster:
        """As the application uses it."""
        access = {"server": self.url, "token": self.token, "ca": self.certificate.read_text()}
        return Cluster("demo", str(self.kubeconfig), ("worker-*",), access, access)

    def get(self, path: str) -> Any:
        """The answer to a GET."""
        return self._request("GET", path)

    def switch_kubelet(self, node: str, *, running: bool) -> None:
        """Stop or start a node's kubelet, as if its machine had lost its power."""
        self._request("POST", f"/_standin/nodes/{node}/kubelet", {"running": running})

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=10, context=self._trust) as answer:  # noqa: S310 -- loopback
            return json.load(answer)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def users_cluster(kubeconfig: str) -> Cluster:
    """The cluster that the current context of a kubeconfig names. Raises NoCluster.

    Paydown's own service accounts are used if they are there (deploy/kubernetes/paydown-rbac.yaml), so that it has no
    more rights than it needs; otherwise the context's token.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise NoCluster("KUBECONFIG is set, but kubectl, which reads it, is not installed")
    shown = _run(kubectl, kubeconfig, "config", "view", "--raw", "--minify", "--flatten", "--output=json")
    if shown is None:
        raise NoCluster(f"kubectl finds no current context in {kubeconfig}")
    config = json.loads(shown)
    where, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    access = {"server": where["server"]}
    if "certificate-authority-data" in where:
        access["ca"] = base64.b64decode(where["certificate-authority-data"]).decode()
    tokens = {}
    for identity in ("reader", "operator"):
        made = _run(kubectl, kubeconfig, "--namespace", NAMESPACE, "create", "token", identity, "--duration=12h")
        token = made.strip() if made else user.get("token")
        if not token:
            raise NoCluster(
                f"your context {config['current-context']} has no token, and its cluster no service account "
                f"{identity}: kubectl apply -f deploy/kubernetes/paydown-rbac.yaml"
            )
        tokens[identity] = {**access, "token": token}
    return Cluster(config["current-context"], kubeconfig, ("*",), tokens["reader"], tokens["operator"], YOURS)


def _run(kubectl: str, kubeconfig: str, *arguments: str) -> str | None:
    """What kubectl writes; None when it fails."""
    done = subprocess.run(  # noqa: S603 -- the user's kubectl
        [kubectl, "--kubeconfig", kubeconfig, "--request-timeout=10s", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None
