"""A real CNCF Distribution registry on loopback that notifies Paydown's ingress of pushes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from local.processes import Service, free_port, url_answers

PROGRAMS = ("docker-registry", "registry")
"""Its names in Debian's package and in the project's own archive."""


def program() -> str | None:
    """The path of the registry; None when it is not installed (apt-get install docker-registry)."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Registry:
    """One registry, with its configuration, images and log below `folder`.

    `webhook_url` and `token` are what its notifications are sent to and with. `blobs` sends notifications of layers
    too, which a registry does unless it is told otherwise.
    """

    folder: Path
    webhook_url: str
    token: str = field(repr=False)
    blobs: bool = False
    port: int = field(default_factory=free_port)
    service: Service | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        """Under which images are named."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"

    def start(self) -> Registry:
        """Start it and wait until it answers. Raises ServiceError with the end of its log, or that it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "registry.json"  # JSON is YAML
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._config()))
        self.service = Service(
            "the registry",
            [program() or PROGRAMS[0], "serve", str(config)],
            log=self.folder / "registry.log",
            ready=lambda: url_answers(f"{self.url}/v2/"),
            environment={"OTEL_TRACES_EXPORTER": "none"},
        )
        self.service.start()
        return self

    def stop(self) -> None:
        """Stop it. Harmless when it has not started."""
        if self.service:
            self.service.stop()

    def __enter__(self) -> Registry:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _config(self) -> object:
        endpoint = {
            "name": "paydown",
            "url": self.webhook_url,
            "headers": {"Authorization": [f"Bearer {self.token}"]},
            "timeout": "10s",
            "threshold": 3,
            "backoff": "1s",
            "ignoredmediatypes": [] if self.blobs else ["application/octet-stream"],
        }
        return {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "notifications": {"endpoints": [endpoint]},
        }
