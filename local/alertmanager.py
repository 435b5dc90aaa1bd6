"""A real Alertmanager on loopback that sends its alerts to Paydown's ingress."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from local.processes import Service, free_port, url_answers

PROGRAMS = ("prometheus-alertmanager", "alertmanager")
"""Its names in Debian's package and in the project's own archive."""


def program() -> str | None:
    """The path of Alertmanager; None when it is not installed (apt-get install prometheus-alertmanager)."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Alertmanager:
    """One Alertmanager, with its configuration, data and log below `folder`.

    `webhook_url` and `token` are what its receiver sends to and with. `wait` and `interval` are how long a group waits
    for its first and for further notifications, in Prometheus' notation.
    """

    folder: Path
    webhook_url: str
    token: str = field(repr=False)
    wait: str = "100ms"
    interval: str = "1s"
    port: int = field(default_factory=free_port)
    service: Service | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Alertmanager:
        """Start it and wait until it is ready. Raises ServiceError with the end of its log, or that it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(self.token)
        config = self.folder / "alertmanager.json"  # JSON is YAML
        config.write_text(json.dumps(self._config(token)))
        self.service = Service(
            "Alertmanager",
            [
                program() or PROGRAMS[0],
                f"--config.file={config}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            log=self.folder / "alertmanager.log",
            ready=lambda: url_answers(f"{self.url}/-/ready"),
        )
        self.service.start()
        return self

    def stop(self) -> None:
        """Stop it. Harmless when it has not started."""
        if self.service:
            self.service.stop()

    def __enter__(self) -> Alertmanager:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def send(self, alerts: Sequence[Mapping[str, str]], ends_at: datetime | None = None) -> None:
        """Alerts by their labels, as Prometheus sends them; `ends_at` in the past resolves them."""
        body = [{"labels": dict(labels), **({"endsAt": ends_at.isoformat()} if ends_at else {})} for labels in alerts]
        request = urllib.request.Request(  # noqa: S310 -- our own loopback address
            f"{self.url}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 -- our own loopback address
            pass

    def resolve(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Say that these alerts ended just now."""
        self.send(alerts, ends_at=datetime.now(UTC))

    def _config(self, token: Path) -> object:
        webhook = {
            "url": self.webhook_url,
            "http_config": {"authorization": {"type": "Bearer", "credentials_file": str(token)}},
        }
        return {
            "route": {
                "receiver": "paydown",
                "group_by": ["alertname", "cluster"],
                "group_wait": self.wait,
                "group_interval": self.interval,
            },
            "receivers": [{"name": "paydown", "webhook_configs": [webhook]}],
        }
