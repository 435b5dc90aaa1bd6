"""An engine and a registry for images, and the advice on what was pushed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.advise_image_layers import app
from functions.advise_image_layers.app import AdviseImageLayers, PublishAdvice
from local import registry as local_registry
from local.registry import Registry
from paydown.events import ImagePushed
from paydown.inventory import Inventory
from paydown.plan import Draft
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine, engine_in_memory
from tests.real.image_builds import Builds
from tests.servers import need

KB = 1_000
NOBODY = "sha256:" + "0" * 64
BUSYBOX = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["/bin/sh"]
"""


@dataclass(frozen=True)
class Images:
    """An engine, and a registry that has `base:latest`: a shell, and nothing else."""

    engine: Engine
    registry: Registry

    @property
    def base(self) -> str:
        return f"{self.registry.host}/base:latest"

    def builds(self, name: str, kit: bool = False, **files: bytes) -> Builds:
        """Builds of an image of this name."""
        return Builds(self.engine, self.registry, name, kit, dict(files))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """An engine and a registry of their own."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    shell = shutil.which("busybox")
    need(shell, "a static busybox is not installed (apt-get install busybox-static)")
    assert shell is not None
    memory = tmp_path_factory.mktemp("engine")
    with (
        engine_in_memory(memory) as engine,
        Registry(memory / "registry", "http://127.0.0.1:9/", "unused") as registry,
    ):
        made = Images(engine, registry)
        made.builds("base", busybox=Path(shell).read_bytes()).build(BUSYBOX)
        yield made


Advise = Callable[..., tuple[PublishAdvice | None, Draft]]


@pytest.fixture
def advise(images: Images, monkeypatch: pytest.MonkeyPatch) -> Advise:
    """What is planned for a repository, whose tag pointed to the digests `known` before."""

    def look(
        name: str, *known: str, sources: Sequence[dict[str, Any]] = (), **settings: Any
    ) -> tuple[PublishAdvice | None, Draft]:
        registries = [{"uid": "images", "name": images.registry.host, "url": images.registry.url}]
        inventory = Inventory.parse({"registries": registries, "sources": list(sources)})
        event = ImagePushed(
            key="push",
            at=datetime.now(UTC),
            registry=images.registry.host,
            repository=name,
            digest=NOBODY,
            tag="latest",
        )
        scene = Scene(
            run_id="r",
            event=event,
            inventory=inventory,
            policy=Policy(),
            settings=app.Settings(**{"min_saving_bytes": 100 * KB, **settings}),
            observing=True,
            now=lambda: datetime.now(UTC),
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
        toil = AdviseImageLayers(scene)
        monkeypatch.setattr(toil, "_earlier", lambda target: [])
        monkeypatch.setattr(toil, "_known", lambda earlier: list(known))
        [target] = AdviseImageLayers.targets(event, inventory)
        draft = toil.plan(target)
        assert isinstance(draft, Draft)
        [action] = draft.stages[0] if draft.stages else [None]
        assert action is None or isinstance(action, PublishAdvice)
        return action, draft

    return look
