"""The demo's own images and containers, made FROM scratch and labelled, and nobody else's."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from local.app.engine import Engine
from local.app.publishing import MIN_AGE
from local.emulator import PROJECT

LABEL = "paydown.demo"
REPOSITORY = "paydown-demo/app"
SIZE = 256 * 1024


def labels() -> dict[str, str]:
    """What the images of the demos of this folder carry; those of another folder have another value."""
    return {LABEL: hashlib.sha256(str(PROJECT).encode()).hexdigest()[:12]}


@dataclass
class Images:
    """Images whose tags move on a build host.

    `old` are images by the name of their tag, which have been there for a while; `moved_on` takes the tag away from one
    of them, as a rebuild does, and it dangles.
    """

    engine: Engine
    old: dict[str, str] = field(default_factory=dict, init=False)
    in_use: str = field(default="", init=False)
    young: str = field(default="", init=False)
    current: str = field(default="", init=False)
    made: float = field(default=0.0, init=False)

    def prepare(self, tags: list[str]) -> None:
        """Make an image for each tag, the one that will replace them, and one that dangles but is used."""
        self.clean_up()
        self.current = self._make("current")
        for tag in tags:
            self.old[tag] = self._make(tag)
        self.in_use = self._make("used")
        with self.engine.client() as client:
            client.create_container(self.in_use, ["/never-started"], labels=labels())
        self.moved_on("used")
        self.made = time.monotonic()

    def wait_until_old(self) -> None:
        """Until the prepared images are older than the policy's age limit."""
        time.sleep(max(0.0, self.made + MIN_AGE + 1 - time.monotonic()))

    def moved_on(self, tag: str) -> None:
        """The tag now names the current image; the one that had it dangles."""
        with self.engine.client() as client:
            client.tag(self.current, REPOSITORY, tag, force=True)

    def rebuild(self) -> None:
        """A build that was not kept: an image that dangles from its first moment."""
        self.young = self._make("rebuilt")
        self.moved_on("rebuilt")

    def drop_young(self) -> None:
        """Remove the young image ourselves: it has shown that Paydown leaves it alone."""
        with self.engine.client() as client:
            client.remove_image(self.young)
        self.young = ""

    def present(self) -> set[str]:
        """The ids of all images of the engine that are ours."""
        with self.engine.client() as client:
            return {row["Id"] for row in client.images(all=True, filters=_ours())}

    def clean_up(self) -> None:
        """Remove every container and image of this folder's demos, also of one that was killed."""
        from docker.errors import APIError

        with self.engine.client() as client:
            for container in client.containers(all=True, filters=_ours()):
                client.remove_container(container["Id"], force=True)
            for row in client.images(all=True, filters=_ours()):
                with suppress(APIError):  # gone with another one
                    client.remove_image(row["Id"], force=True)

    def _make(self, tag: str) -> str:
        """An image with one layer of random bytes; its id."""
        changes = [f"LABEL {name}={value}" for name, value in labels().items()]
        with self.engine.client() as client:
            client.import_image_from_data(_layer(tag), repository=REPOSITORY, tag=tag, changes=changes)
            inspect: Any = client.inspect_image  # its stubs are not complete
            return str(inspect(f"{REPOSITORY}:{tag}")["Id"])


def _ours() -> dict[str, list[str]]:
    return {"label": [f"{name}={value}" for name, value in labels().items()]}


def _layer(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = SIZE
        tar.addfile(entry, io.BytesIO(os.urandom(SIZE)))
    return buffer.getvalue()
