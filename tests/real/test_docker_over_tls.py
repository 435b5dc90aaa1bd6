"""Mutual TLS with a real engine: who is let in, whom we trust, and that no key stays behind."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest

from local.processes import free_port
from paydown.clients.docker import open_host
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Tcp, Unix
from tests.real.certificates import Authority
from tests.real.docker_engine import TLS_SECRET, Engine


def over_tcp(address: str) -> Host:
    return Host(uid="host-1", name="build-1", reach=Tcp(via="tcp", address=address, secret=TLS_SECRET))


@pytest.fixture
def secret(docker_engine: Engine) -> dict[str, str]:
    pair = docker_engine.authority.client()
    return {"ca": docker_engine.authority.cert, "cert": pair.cert, "key": pair.key}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_keys_are_files_only_while_they_are_read(
    engine: Engine, secret: dict[str, str], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker import APIClient

    seen: list[tuple[str, int, int]] = []

    def looking(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def looked(self: Any, *arguments: Any, **options: Any) -> Any:
            (folder,) = scratch.iterdir()
            seen.append((name, folder.stat().st_mode & 0o777, (folder / "key").stat().st_mode & 0o777))
            return original(self, *arguments, **options)

        monkeypatch.setattr(owner, name, looked)

    looking(ssl.SSLContext, "load_cert_chain")
    looking(APIClient, "df")
    host = open_host(over_tcp(f"127.0.0.1:{engine.port}"), observing=True, secrets=lambda _: secret)
    host.list_images()
    assert seen == [("load_cert_chain", 0o700, 0o600)]
    assert list(scratch.iterdir()) == []
    host.list_leftovers()
    assert ("df", 0o700, 0o600) in seen
    assert {one[1:] for one in seen} == {(0o700, 0o600)}
    assert list(scratch.iterdir()) == []


def test_a_server_of_another_authority_is_not_trusted(engine: Engine, secret: dict[str, str], scratch: Path) -> None:
    strange = {**secret, "ca": Authority("strangers").cert}
    host = open_host(over_tcp(f"127.0.0.1:{engine.port}"), observing=True, secrets=lambda _: strange)
    with pytest.raises(PermanentError, match="build-1: no TLS with the Docker engine"):
        host.list_images()
    assert list(scratch.iterdir()) == []


def test_the_environment_does_not_widen_the_trust(
    engine: Engine, secret: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(engine.authority.cert)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    strange = {**secret, "ca": Authority("strangers").cert}
    host = open_host(over_tcp(f"127.0.0.1:{engine.port}"), observing=True, secrets=lambda _: strange)
    with pytest.raises(PermanentError, match="no TLS"):
        host.list_images()


def test_a_server_must_be_called_as_its_certificate_says(engine: Engine, secret: dict[str, str]) -> None:
    host = open_host(over_tcp(f"localhost:{engine.port}"), observing=True, secrets=lambda _: secret)
    with pytest.raises(PermanentError, match=r"no TLS.*localhost"):
        host.list_images()


def test_a_client_of_another_authority_is_not_let_in(engine: Engine, secret: dict[str, str]) -> None:
    pair = Authority("strangers").client()
    strange = {**secret, "cert": pair.cert, "key": pair.key}
    host = open_host(over_tcp(f"127.0.0.1:{engine.port}"), observing=True, secrets=lambda _: strange)
    with pytest.raises((PermanentError, RetryableError), match="build-1: "):
        host.list_images()


def test_what_is_no_certificate_is_a_permanent_fault(engine: Engine, secret: dict[str, str]) -> None:
    host = open_host(
        over_tcp(f"127.0.0.1:{engine.port}"), observing=True, secrets=lambda _: {**secret, "cert": "no certificate"}
    )
    with pytest.raises(PermanentError, match="no TLS"):
        host.list_images()


def test_an_engine_that_is_down_is_worth_another_try(secret: dict[str, str], tmp_path: Path) -> None:
    reaches = (
        over_tcp(f"127.0.0.1:{free_port()}"),
        Host(uid="host-1", name="build-1", reach=Unix(via="unix", path=str(tmp_path / "nothing.sock"))),
    )
    for declared in reaches:
        with pytest.raises(RetryableError, match="build-1: the Docker engine does not answer"):
            open_host(declared, observing=True, secrets=lambda _: secret).list_images()
