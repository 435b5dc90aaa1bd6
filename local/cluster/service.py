"""The cluster as a child process, for the demo and for tests."""

from __future__ import annotations

import http.client
import ssl
import sys
from pathlib import Path

from local.processes import Service

SEED = Path(__file__).with_name("seed.yaml")


def service(port: int, folder: Path, *arguments: str, tls: bool = False) -> Service:
    """The stand-in on a loopback port; its log and its kubeconfig (`folder`/kubeconfig) lie in `folder`.

    `arguments` are further ones of `python -m local.cluster`, such as `--seed`, `str(SEED)`.
    """
    command = [sys.executable, "-m", "local.cluster", "--port", str(port)]
    command += ["--write-kubeconfig", str(folder / "kubeconfig"), *(["--tls"] if tls else []), *arguments]
    return Service(
        name="stand-in cluster",
        command=command,
        log=folder / "stand-in-cluster.log",
        ready=lambda: answers(port, tls=tls),
        directory=Path(__file__).parents[2],
    )


def answers(port: int, *, tls: bool = False, token: str = "") -> bool:
    """Whether an API server is ready on a loopback port; its certificate is not looked at."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=context)
    try:
        connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
