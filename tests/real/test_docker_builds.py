"""Building and pushing with a real engine, over each way that can; and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from local.registry import Registry
from paydown.clients.docker_builds import open_builds
from paydown.clients.docker_hosts.builds import BuildFailed, Context, TooLong
from paydown.clients.registry import RegistryApi
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm, Tcp, Unix
from tests.real.docker_engine import TLS_SECRET, Engine, archive

LABELS = {"paydown.rebuild": "abc"}


def tcp(engine: Engine) -> Host:
    return Host(uid="h", name="build-1", reach=Tcp(via="tcp", address=f"127.0.0.1:{engine.port}", secret=TLS_SECRET))


def unix(engine: Engine) -> Host:
    return Host(uid="h", name="build-1", reach=Unix(via="unix", path=str(engine.socket)))


def context(dockerfile: str, **files: bytes) -> Context:
    content = archive({"Dockerfile": dockerfile.encode(), **files})
    return Context(archive=(content[at : at + 4_096] for at in range(0, len(content), 4_096)))


def test_a_context_is_built_without_cache_and_pushed(
    engine: Engine, client_secret: dict[str, str], plain_registry: Registry
) -> None:
    name = f"{plain_registry.host}/team/app:v1"
    built = []
    for host in (unix(engine), tcp(engine)):
        client = open_builds(host)
        text = "FROM scratch\nCOPY content /content\nCOPY content /again\n"
        built.append(client.build(context(text, content=b"x" * 9_000), tag=name, labels=LABELS, pull=False))
    assert built[0] != built[1]  # the second was not taken from the cache
    assert set(client.built("paydown.rebuild", "abc")) == set(built)
    assert client.built("paydown.rebuild", "ab") == []
    pushed = client.push(name)
    api = RegistryApi(plain_registry.url, dict)
    assert api.digest("team/app", "v1") == pushed == client.push(name)
    client.tag(built[0], name)
    assert api.digest("team/app", "v1") == pushed != client.push(name)


def test_a_build_that_fails_tells_the_end_of_its_log_and_no_secret(engine: Engine) -> None:
    client = open_builds(unix(engine))
    text = "FROM scratch\nARG PASSWORD=hunter2hunter2\nENV A=\x1b[31mred\nCOPY gone /gone\n"
    with pytest.raises(BuildFailed) as failed:
        client.build(context(text), tag="", pull=False)
    said = str(failed.value)
    assert "Step 4/4 : COPY gone /gone" in said
    assert "hunter2" not in said
    assert "\x1b" not in said
    assert len(said) < 3_000
    assert not engine.images() or client.built("paydown.rebuild", "abc") == []


def test_a_build_without_a_dockerfile_or_with_a_base_that_is_not_there_is_refused(
    engine: Engine, plain_registry: Registry
) -> None:
    client = open_builds(unix(engine))
    with pytest.raises(PermanentError, match="Dockerfile"):
        client.build(Context(archive=[archive({"x": b"x"})]), tag="")
    with pytest.raises(PermanentError, match="not found"):
        client.build(context(f"FROM {plain_registry.host}/no/base:v1\n"), tag="")


def test_a_build_is_stopped_when_its_time_is_up(engine: Engine) -> None:
    client = open_builds(unix(engine))

    def slowly() -> Iterator[bytes]:
        content = archive({"Dockerfile": b"FROM scratch\nCOPY content /content\n", "content": os.urandom(2_000_000)})
        for at in range(0, len(content), 10_000):
            time.sleep(0.3)
            yield content[at : at + 10_000]

    began = time.monotonic()
    with pytest.raises(TooLong, match="within 1 s"):
        client.build(Context(archive=slowly()), tag="app:v1", pull=False, seconds=1)
    assert time.monotonic() - began < 30  # all of it takes a minute
    assert not engine.images()


def test_a_push_to_nowhere_and_of_nothing_is_refused(engine: Engine) -> None:
    client = open_builds(unix(engine))
    with pytest.raises(PermanentError, match=r"127\.0\.0\.1:9/team/app"):
        client.push("127.0.0.1:9/team/app:v1")
    client.build(context("FROM scratch\nCOPY c /c\n", c=b"c"), tag="127.0.0.1:9/team/app:v1", pull=False)
    with pytest.raises(PermanentError, match="refused"):
        client.push("127.0.0.1:9/team/app:v1", {"username": "u", "password": "p" * 8})


def test_a_host_behind_ssm_does_not_build() -> None:
    host = Host(uid="h", name="build-1", reach=Ssm(via="ssm", instance_id="i-0123456789abcdef0"))
    with pytest.raises(PermanentError, match="reached over SSM"):
        open_builds(host)
