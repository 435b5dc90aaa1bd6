"""How a host of the inventory is opened."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from paydown.clients.docker import open_host
from paydown.clients.docker_hosts.engine import EngineHost
from paydown.clients.docker_hosts.ssm import SsmHost
from paydown.errors import PermanentError
from paydown.inventory import Host, Reach, Ssm, Tcp, Unix

PEM = {"ca": "c", "cert": "d", "key": "e"}


def host(reach: Reach) -> Host:
    return Host(uid="h", name="build-1", reach=reach)


OVER_TCP = host(Tcp(via="tcp", address="10.0.0.5:2376", secret="paydown/hosts/build-1"))


def test_each_way_has_its_class() -> None:
    unused: Any = None
    over_ssm = host(Ssm(via="ssm", instance_id="i-0123456789abcdef0"))
    assert isinstance(open_host(over_ssm, observing=False, secrets=unused), SsmHost)
    over_unix = host(Unix(via="unix", path="/d.sock"))
    assert isinstance(open_host(over_unix, observing=False, secrets=unused), EngineHost)
    assert isinstance(open_host(OVER_TCP, observing=False, secrets={"paydown/hosts/build-1": PEM}.get), EngineHost)


@pytest.mark.parametrize("value", [None, "PRIVATE", [], {"ca": "PRIVATE", "cert": "d"}, {**PEM, "key": 3}])
def test_a_secret_without_its_parts_is_refused_untold(value: Any) -> None:
    with pytest.raises(PermanentError, match="secret paydown/hosts/build-1: needs ca, cert and key") as caught:
        open_host(OVER_TCP, observing=True, secrets=lambda _: value)
    assert "PRIVATE" not in str(caught.value)


def test_opening_imports_no_docker_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    open_host(OVER_TCP, observing=True, secrets=lambda _: PEM)


def test_observing_never_reaches_the_host() -> None:
    watched = open_host(host(Unix(via="unix", path="/d.sock")), observing=True)
    with pytest.raises(PermanentError, match="build-1: nothing is removed while observing"):
        watched.remove_images(["sha256:" + "a" * 64])
