"""What can be said of running scripts in containers without an engine; the rest is tested with a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paydown.clients.docker_builds import open_builder
from paydown.clients.docker_hosts.builder import SOCKET, BuilderContainer, Demultiplexer, Ended, Needs
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Reach, Ssm, Tcp, Unix

PEM = {"ca": "c", "cert": "d", "key": "e"}
OVER_TCP = Tcp(via="tcp", address="10.0.0.5:2376", secret="paydown/hosts/build-1")
PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12)


def opened(reach: Reach, documents: Path = Path("/nowhere"), **options: Any) -> BuilderContainer:
    given = {"mark": "m", "observing": False, "credentials": dict, "secrets": lambda _: PEM, **options}
    return open_builder(Host(uid="h", name="build-1", reach=reach), "builder:1", documents, **given)


@given(PIECES, st.integers(1, 50))
def test_streams_are_taken_apart_however_they_arrive(pieces: list[tuple[int, bytes]], size: int) -> None:
    sent = b"".join(bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content for stream, content in pieces)
    reading, found = Demultiplexer(), {1: b"", 2: b""}
    for at in range(0, len(sent), size):
        for stream, content in reading.take(sent[at : at + size]):
            found[stream] += content
    assert found == {one: b"".join(content for stream, content in pieces if stream == one) for one in found}


@pytest.mark.parametrize(
    ("code", "kind"), [(10, PermanentError), (11, RetryableError), (12, PermanentError), (13, RetryableError)]
)
def test_some_failures_are_worth_another_try(code: int, kind: type[Exception]) -> None:
    error = opened(OVER_TCP)._failure("ReadBaseImage", Ended(code, "", "mmdebstrap is\nnot installed"))
    assert isinstance(error, kind)
    assert str(error).endswith(": mmdebstrap is not installed")


def test_the_engine_of_this_machine_is_lent_by_the_socket_that_it_is_reached_by() -> None:
    assert opened(Unix(via="unix", path="/d.sock"))._engine == "/d.sock"
    assert opened(OVER_TCP)._engine == SOCKET


def test_a_host_behind_ssm_has_its_agent() -> None:
    with pytest.raises(PermanentError, match="host/build-1 is reached over SSM"):
        opened(Ssm(via="ssm", instance_id="i-0123456789abcdef0"))


def test_the_place_can_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYDOWN_BASES", raising=False)
    assert opened(OVER_TCP)._place == "/var/lib/paydown/bases"
    monkeypatch.setenv("PAYDOWN_BASES", "/srv/bases")
    assert opened(OVER_TCP)._place == "/srv/bases"


@pytest.mark.parametrize("needs", [Needs.ENGINE, Needs.ROOT])
def test_while_observing_nothing_gets_the_engine(needs: Needs) -> None:
    with pytest.raises(PermanentError, match="build-1: BuildBaseImage is not run while observing"):
        opened(OVER_TCP, observing=True).start("BuildBaseImage", {}, needs)


def test_a_parameter_that_the_document_refuses_never_reaches_the_engine(tmp_path: Path) -> None:
    key = {"type": "String", "allowedPattern": "^[0-9a-f]{4}$"}
    step = {"action": "aws:runShellScript", "name": "read", "inputs": {"runCommand": ["echo '{{ Key }}'"]}}
    (tmp_path / "read_base_image.json").write_text(json.dumps({"parameters": {"Key": key}, "mainSteps": [step]}))
    with pytest.raises(PermanentError, match="not matching"):
        opened(OVER_TCP, tmp_path).run("ReadBaseImage", {"Key": ["'; reboot; '"]})
