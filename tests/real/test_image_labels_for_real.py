"""The labels of dangling images, whichever way the host is reached."""

from __future__ import annotations

from paydown.clients.docker import open_host
from paydown.inventory import Host
from tests.real.docker_engine import Engine


def test_labels_are_read(engine: Engine, docker_host: Host) -> None:
    labelled = engine.build(None, 'FROM scratch\nCOPY a /\nLABEL paydown.demo="a b" other="ü\\"{}"\n', a=b"1")
    bare = engine.build(None, "FROM scratch\nCOPY a /\n", a=b"2")
    found = {image.id: image.labels for image in open_host(docker_host, observing=True).list_images().dangling}
    assert found == {labelled: {"paydown.demo": "a b", "other": 'ü"{}'}, bare: {}}
