"""The AWS emulator, with everything bound to loopback and its state in one folder.

Any emulator that speaks the protocol of LocalStack serves: with PAYDOWN_ENDPOINT set, nothing is started and that
address is used. Clients come from localstack-client for the same reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import localstack_client.session

from local.processes import Service, free_port, url_answers

PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = PROJECT / ".build/emulator/bin/ministack"
REGION = "eu-central-1"


@dataclass
class Emulator:
    """One emulator process on `host` and `port`, with its data and its log below `folder`.

    With `authorise` it enforces the roles of the functions. `environment` reaches the functions too: they are its
    children (AWS_ENDPOINT_URL_SSM sends their SSM calls elsewhere). With `persist` the state survives a clean stop.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    host: str = "127.0.0.1"
    authorise: bool = False
    persist: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    service: Service | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The address of every service."""
        return os.environ.get("PAYDOWN_ENDPOINT") or f"http://{self.host}:{self.port}"

    def start(self) -> Emulator:
        """Start it and wait until it answers. Raises ServiceError with the end of its log."""
        if "PAYDOWN_ENDPOINT" in os.environ:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self.service = Service(
            "the AWS emulator",
            [str(PROGRAM)],
            log=self.folder / "emulator.log",
            ready=lambda: url_answers(f"{self.url}/_ministack/health"),
            environment={**self._settings(), **self.environment},
            directory=self.folder,
        )
        self.service.start()
        return self

    def stop(self) -> None:
        """Stop it and the functions' workers. Harmless when it does not run."""
        if self.service is not None:
            self.service.stop()
            self.service = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, name: str) -> Any:
        """A boto3 client of one AWS service, as the account's administrator."""
        return self._session.client(name)

    @cached_property
    def _session(self) -> localstack_client.session.Session:
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):  # they would send our calls to another account
            os.environ.pop(name, None)
        return localstack_client.session.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 -- what every emulator takes
            region_name=REGION,
            localstack_host=self.url.removeprefix("http://"),
        )

    def _settings(self) -> dict[str, str | None]:
        workers = self.folder / "workers"  # where it unpacks the functions: of no use to the next process
        shutil.rmtree(workers, ignore_errors=True)
        workers.mkdir()
        settings: dict[str, str | None] = {
            "BIND_HOST": self.host,
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "MINISTACK_REGION": REGION,
            "STATE_DIR": str(self.folder / "state"),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "PERSIST_STATE": "1" if self.persist else "0",
            "S3_PERSIST": "1" if self.persist else "0",
            "TMPDIR": str(workers),
            "PYTHONPATH": None,
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": None,
            "AWS_PROFILE": None,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": None,
        }
        if self.authorise:
            settings["AUTH"] = "true"
        return settings
