"""An engine whose storage driver is vfs: it tells no directories, and each layer is a copy of all below it."""

from __future__ import annotations

import pytest

from paydown.clients.docker import Fate, open_host
from paydown.inventory import Host, Unix
from tests.real.docker_engine import Engine


def test_vfs_gives_back_no_less_than_is_told(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    # A short name: the path of containerd's socket must stay below 108 characters.
    engine = Engine(tmp_path_factory.mktemp("vfs"), driver="vfs")
    try:
        engine.start()
        image = engine.build("app:1", "FROM scratch\nCOPY a /a\nCOPY b /b\n", a=b"a" * 3000, b=b"b" * 500)
        engine.image("app:1", content=b"new")
        host = open_host(Host(uid="h", name="h", reach=Unix(via="unix", path=str(engine.socket))), observing=False)
        assert host.list_images().driver == "vfs"
        before = engine.layer_bytes()
        (removal,) = host.remove_images([image])
        assert (removal.fate, removal.freed, removal.exact) == (Fate.REMOVED, 3500, False)
        assert (removal.layers, removal.directories) == (2, ())
        assert before - engine.layer_bytes() == 6500, "the second layer held a copy of the first"
    finally:
        engine.stop()
