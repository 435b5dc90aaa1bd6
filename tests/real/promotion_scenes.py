"""Two real registries, with an inventory and a ledger in memory, for tests of promotions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from functions.promote_image.app import PromoteImages
from paydown.events import Event, ImagePushed
from paydown.ledger import Ledger, Run
from paydown.toil.worker import Worker
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.real.registry_images import Images, images
from tests.real.workers import worker_of
from tests.unit.ledgers import Clock


@dataclass
class Stages:
    """`lab` and `prod` are two registries; `shop` is a repository of the first, beside its `team/app`."""

    lab: Images
    prod: Images
    shop: Images
    ledger: Ledger
    clock: Clock = field(default_factory=Clock)
    serial: int = 0

    def allow(self, *routes: dict[str, Any], **policy: Any) -> None:
        """Put routes into the policy; each goes from `lab` to `prod` unless it says otherwise."""
        settings = {"routes": [{**self.route(), **route} for route in routes or ({},)]}
        toil = {"mode": "enforce", "cool_down_seconds": 0, "settings": settings, **policy}
        self.ledger.policy.publish({"toils": {"promote_image": toil}}, "test", self.clock())

    def route(self) -> dict[str, Any]:
        """From one registry to the other."""
        hosts = self.lab.registry.host, self.prod.registry.host
        return {"stage": "prod", "from": hosts[0], "to": [hosts[1]], "repositories": ["team/*"]}

    def within(self, **route: Any) -> dict[str, Any]:
        """From one repository to another of the same registry."""
        host = self.lab.registry.host
        return {"stage": "shop", "from": host, "to": [host], "strip": "team/", "prefix": "shop/", **route}

    def pushed(self, tag: str = "1.0", digest: str = "") -> ImagePushed:
        """The event of a push to `lab`."""
        self.serial += 1
        return ImagePushed(
            key=f"registry:{self.serial}",
            at=self.clock(),
            registry=self.lab.registry.host,
            repository="team/app",
            digest=digest or "sha256:" + "0" * 64,
            tag=tag,
        )

    def worker(self, observing: bool = False) -> Worker:
        """A worker of the toil type."""
        return worker_of(PromoteImages, self.ledger, observing=observing, now=self.clock)

    def handle(self, event: Event, observing: bool = False) -> Run:
        """What becomes of an event."""
        detail = event.model_dump(mode="json")
        envelope = {"source": "paydown", "detail-type": event.detail_type(), "detail": detail}
        (run,) = self.worker(observing).handle(envelope)
        return run

    def wake(self, run: Run) -> Run:
        """Look after a run that is due."""
        self.worker().handle({"paydown": 1, "command": "wake", "run_id": run.id})
        found = self.ledger.runs.get(run.id)
        assert found is not None
        return found

    def approve(self, run: Run) -> Run:
        """A person says yes."""
        self.ledger.approvals.decide(run, run.fingerprint, approved=True, by="ann", why="", now=self.clock())
        return self.wake(run)

    def undo(self, run: Run) -> Run:
        """`paydown undo RUN`."""
        return self.wake(self.ledger.runs.undo(run, "ann", "it does not start", self.clock()))


@contextmanager
def stages(folder: Path) -> Iterator[Stages]:
    """Both registries run meanwhile."""
    with images(folder / "lab") as lab, images(folder / "prod") as prod:
        ledger = memory_ledger(MemoryDynamo())
        declared = [
            {"uid": uid, "name": one.registry.host, "url": one.registry.url, "repositories": ["team/*", "shop/*"]}
            for uid, one in (("lab", lab), ("prod", prod))
        ]
        made = Stages(lab, prod, Images(lab.registry, "shop/app"), ledger)
        ledger.inventory.publish({"registries": declared}, "test", made.clock())
        yield made
