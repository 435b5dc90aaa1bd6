"""A build host with mmdebstrap, a registry, and the mirror that this machine's own apt uses: never one of ours."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.refresh_base_image import app
from functions.refresh_base_image.app import RefreshBaseImage
from functions.refresh_base_image.published import Published, published
from local.registry import Registry
from local.ssm_agent.publish import publish_documents
from paydown.clients import aws
from paydown.clients.bases import BuildHost, OverSsm
from paydown.clients.registry import RegistryApi
from paydown.inventory import Inventory
from paydown.ledger import Ledger, Run
from paydown.toil.worker import Worker
from tests.real.docker_engine import INSTANCE, STACK, Engine, SsmStandIn
from tests.real.workers import worker_of
from tests.servers import need

REPOSITORY = "base/debian"
SAMPLE = Path(__file__).resolve().parents[2] / "events/refresh_base_image/sweep.json"


def now() -> datetime:
    return datetime.now(UTC)


def builder() -> BuildHost:
    return BuildHost("build-1", OverSsm("build-1", INSTANCE))


def machine_source() -> tuple[dict[str, Any], str]:
    """A source of this machine's apt that has the whole distribution, and the keyring that it is signed by."""
    for mirror, suite, keyring in _sources():
        if mirror.startswith("http") and re.fullmatch(r"[a-z]+", suite) and Path(keyring).exists():
            return {"mirror": mirror.rstrip("/"), "suite": suite, "components": ["main"]}, keyring
    need(None, "apt has no http source of a Debian or Ubuntu suite with a keyring here")
    raise AssertionError


def _sources() -> Iterator[tuple[str, str, str]]:
    known = "/usr/share/keyrings/debian-archive-keyring.gpg"
    if "ID=ubuntu" in Path("/etc/os-release").read_text():
        known = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in path.read_text().split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if "main" in fields.get("Components", "").split() and fields.get("URIs") and fields.get("Suites"):
                signed = fields.get("Signed-By", "").strip() or known
                yield fields["URIs"].split()[0], fields["Suites"].split()[0], signed
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]:
        text = path.read_text() if path.exists() else ""
        for options, mirror, suite in re.findall(
            r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b", text, re.MULTILINE
        ):
            signed = re.search(r"signed-by=(\S+)", options)
            yield mirror, suite, signed[1] if signed else known


@dataclass
class BuildSite:
    """All that a refresh needs, and the base that the first sweep made."""

    engine: Engine
    registry: Registry
    ledger: Ledger
    source: dict[str, Any]
    keyring: str
    first: Run | None = None
    seconds: float = 0.0
    sweeps: int = 0
    repository: str = REPOSITORY

    @property
    def api(self) -> RegistryApi:
        return RegistryApi(self.registry.url, dict)

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{self.repository}"

    def current(self) -> Published:
        found = published(self.api, self.repository, "current")
        assert found is not None
        return found

    def allow(self, **base: Any) -> None:
        """Publish a policy with this recipe."""
        recipe = {"host": "build-1", "sources": [self.source], "keyring": self.keyring, "variant": "essential", **base}
        toil = {
            "mode": "enforce",
            "cool_down_seconds": 0,
            "back_off_seconds": 0,
            "settings": {"bases": {self.name: recipe}},
        }
        self.ledger.policy.publish({"toils": {"refresh_base_image": toil}}, "test", now())

    def inventory(self, reach: dict[str, Any] | None = None) -> None:
        """Publish the inventory: the host, and the registry with its base."""
        host = {"uid": INSTANCE, "name": "build-1", "reach": reach or {"via": "ssm", "instance_id": INSTANCE}}
        registry = {
            "uid": "registry",
            "name": self.registry.host,
            "url": self.registry.url,
            "bases": [self.repository],
        }
        document = {"hosts": [host], "registries": [registry]}
        Inventory.parse(document)
        self.ledger.inventory.publish(document, "test", now())

    def worker(self, observing: bool = False, sent: list[Any] | None = None) -> Worker:
        return worker_of(
            RefreshBaseImage,
            self.ledger,
            observing=observing,
            seconds=200,
            send=lambda toil, bodies: None if sent is None else sent.extend(bodies),
        )

    def sweep(self, observing: bool = False) -> tuple[Run, Run]:
        """One sweep: the runs about the base, and about what stands on none."""
        self.sweeps += 1
        event = {**json.loads(SAMPLE.read_text()), "id": f"5c1e7f90-3a2b-4d68-8e7f-{self.sweeps:012d}"}
        sent: list[Any] = []
        runs = self.worker(observing, sent).handle(event)
        for body in sent:
            runs += self.worker(observing).handle(json.loads(body))
        about = {run.ref.partition("/")[0]: run for run in runs}
        return about["repository"], about["registry"]


@contextmanager
def reached(
    agent: SsmStandIn, s3: str, bucket: str, ledger: Ledger, folder: Path
) -> Iterator[tuple[pytest.MonkeyPatch, Registry]]:
    """A registry and a host behind the agent whose state lies below `folder`; the environment is the function's."""
    with (
        agent.given(PAYDOWN_BASES=str(folder / "bases")),
        pytest.MonkeyPatch.context() as patch,
        Registry(folder / "registry", "http://127.0.0.1:9/", "x") as registry,
    ):
        for name, value in (
            ("AWS_ENDPOINT_URL_SSM", agent.url),
            ("AWS_ENDPOINT_URL_S3", s3),
            ("PAYDOWN_STACK", STACK),
            ("PAYDOWN_OUTPUT_BUCKET", bucket),
        ):
            patch.setenv(name, value)
        patch.setattr(app, "LOOK_AGAIN", timedelta(seconds=1))
        patch.setattr(app, "open_ledger", lambda: ledger)
        aws.forget()
        publish_documents(aws.client("ssm"), STACK)
        try:
            yield patch, registry
        finally:
            aws.forget()


@contextmanager
def build_site(
    engine: Engine, agent: SsmStandIn, s3: str, bucket: str, ledger: Ledger, folder: Path
) -> Iterator[BuildSite]:
    """A site whose state lies below `folder`; the environment is that of the function."""
    source, keyring = machine_source()
    with reached(agent, s3, bucket, ledger, folder) as (patch, registry):
        asked = BuildHost.packages
        # The mirror is asked once for all tests: its lists are long.
        remembered = functools.cache(lambda recipe: asked(builder(), recipe))
        patch.setattr(BuildHost, "packages", lambda _, recipe: remembered(recipe))
        site = BuildSite(engine, registry, ledger, source, keyring)
        site.inventory()
        try:
            yield site
        finally:
            engine.clear()
