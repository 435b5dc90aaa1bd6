"""A real etcd and kube-apiserver from the folder that KUBEBUILDER_ASSETS names, without controllers or kubelets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.cluster import access
from local.cluster.service import answers
from local.processes import Service, free_port, url_answers


@contextmanager
def control_plane(assets: Path, folder: Path) -> Iterator[Path]:
    """Run both; gives the path of a kubeconfig whose user may do everything."""
    client, peer, port, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    certificate, key = access.self_signed("127.0.0.1")
    files = {"tls.crt": certificate, "tls.key": key, "tokens.csv": f'{token},tester,1,"system:masters"\n'.encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    etcd = Service(
        name="etcd",
        command=[
            str(assets / "etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ],
        log=folder / "etcd.log",
        ready=lambda: url_answers(f"http://127.0.0.1:{client}/health"),
    )
    api_server = Service(
        name="kube-apiserver",
        command=[
            str(assets / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={folder / 'tls.crt'}",
            f"--tls-private-key-file={folder / 'tls.key'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'tls.crt'}",
            f"--service-account-signing-key-file={folder / 'tls.key'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # No controller makes service accounts here, and pods are not to wait for one.
            "--disable-admission-plugins=ServiceAccount",
        ],
        log=folder / "kube-apiserver.log",
        ready=lambda: answers(port, tls=True, token=token),
        start_seconds=60,
    )
    kubeconfig = folder / "kubeconfig"
    url = f"https://127.0.0.1:{port}"
    with etcd, api_server:
        access.write_kubeconfig(kubeconfig, url, cluster="control-plane", token=token, certificate=certificate)
        yield kubeconfig
