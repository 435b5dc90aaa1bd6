"""The stand-in SSM agent, as a server of the tests' own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local import emulator as local_emulator
from local.processes import Service, free_port, port_answers

if TYPE_CHECKING:
    from tests.real.docker_engine import Engine

INSTANCE = "i-0123456789abcdef0"
DARK_INSTANCE = "i-0fedcba9876543210"
"""An instance whose engine does not run."""


@dataclass
class SsmStandIn:
    """The agent for an engine, with the emulator as the S3 for its long output."""

    engine: Engine
    folder: Path
    s3: str
    port: int = field(default_factory=free_port)
    service: Service | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> SsmStandIn:
        """Start it, with the documents of the stack and two instances."""
        instances = self._instances
        dark = {"DOCKER_HOST": f"unix://{self.folder}/nothing.sock"}
        instances.write_text(json.dumps({INSTANCE: {"DOCKER_HOST": self.engine.host}, DARK_INSTANCE: dark}))
        command = [sys.executable, "-m", "local.ssm_agent", "--port", str(self.port), "--s3-endpoint", self.s3]
        self.service = Service(
            "the SSM agent",
            [*command, "--state", str(self.folder / "state"), "--instances", str(instances)],
            log=self.folder / "ssm.log",
            ready=lambda: port_answers(self.port),
            directory=local_emulator.PROJECT,
        )
        self.service.start()
        return self

    @contextmanager
    def given(self, **environment: str) -> Iterator[None]:
        """For a while, what runs on the instance has these variables, and those of `let_have`."""
        before = self._instances.read_text()
        self.let_have(**environment)
        try:
            yield
        finally:
            self._instances.write_text(before)

    def let_have(self, **environment: str) -> None:
        """What runs on the instance has these variables, until what is `given` ends."""
        known = json.loads(self._instances.read_text())
        known[INSTANCE] |= environment
        self._instances.write_text(json.dumps(known))

    @property
    def _instances(self) -> Path:
        return self.folder / "instances.json"

    def stop(self) -> None:
        if self.service:
            self.service.stop()
