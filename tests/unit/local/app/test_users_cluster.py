"""What is taken from a user's kubeconfig; kubectl is a script here."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from local.app.clusters import YOURS, NoCluster, users_cluster

CONFIG: dict[str, Any] = {
    "current-context": "mine",
    "clusters": [
        {"cluster": {"server": "https://k:6443", "certificate-authority-data": base64.b64encode(b"PEM").decode()}}
    ],
    "users": [{"user": {"token": "mine"}}],
}


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(config: dict[str, Any] | None, accounts: bool) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))
        show = f'cat "{tmp_path}/config.json"' if config else "exit 1"
        create = 'echo "token-of-$8"' if accounts else "exit 1"
        script = f'#!/bin/sh\ncase "$*" in *"config view"*) {show} ;; *"create token"*) {create} ;; esac\n'
        path = tmp_path / "kubectl"
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


def test_the_service_accounts_come_first(kubectl: Any) -> None:
    kubectl(CONFIG, accounts=True)
    found = users_cluster("/k")
    assert (found.name, found.kubeconfig, found.labels) == ("mine", "/k", YOURS)
    assert found.reader == {"server": "https://k:6443", "ca": "PEM", "token": "token-of-reader"}
    assert found.operator == {"server": "https://k:6443", "ca": "PEM", "token": "token-of-operator"}
    assert "token-of" not in repr(found)


def test_otherwise_the_context_has_a_token(kubectl: Any) -> None:
    kubectl(CONFIG, accounts=False)
    assert users_cluster("/k").operator["token"] == "mine"


def test_without_a_token_one_is_told_what_to_do(kubectl: Any) -> None:
    kubectl({**CONFIG, "users": [{"user": {"client-certificate-data": "x"}}]}, accounts=False)
    with pytest.raises(NoCluster, match=r"kubectl apply -f deploy/kubernetes/paydown-rbac\.yaml"):
        users_cluster("/k")


def test_a_kubeconfig_without_a_context(kubectl: Any) -> None:
    kubectl(None, accounts=False)
    with pytest.raises(NoCluster, match="no current context in /k"):
        users_cluster("/k")


def test_without_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCluster, match="not installed"):
        users_cluster("/k")
