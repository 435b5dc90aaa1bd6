"""Pushes of compiled programs, and the runs of `shrink_image` that they begin, on a real engine and registry."""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from functions.shrink_image import app
from functions.shrink_image.app import ShrinkImage
from local import registry as local_registry
from local.registry import Registry
from paydown.clients.docker_hosts.trials import LABEL
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of
from paydown.events import ImagePushed
from paydown.inventory import Tag, Unix
from paydown.ledger import Ledger, Run
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine, archive
from tests.real.image_builds import Builds
from tests.real.workers import worker_of
from tests.servers import need, need_program
from tests.unit.ledgers import ledger_in_moto

SAMPLE = json.loads((Path(__file__).parents[2] / "events/shrink_image/image_pushed.json").read_text())
BALLAST = random.Random(4).randbytes(2_500_000)
"""What the image has beside its program."""
HELLO = """
#include <stdio.h>
int main(int count, char **words) {
    printf("hello %s\\n", count > 1 ? words[1] : "nobody");
    fprintf(stderr, "done\\n");
    return count > 2 ? 3 : 0;
}
"""
STATIC = 'FROM scratch\nCOPY ballast /srv/ballast\nCOPY hello /usr/bin/hello\nENTRYPOINT ["hello"]\n'


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Programs of C, compiled once each."""
    need_program("gcc", "gcc libc6-dev")
    folder = tmp_path_factory.mktemp("programs")
    known: dict[tuple[str, ...], bytes] = {}

    def program(source: str, *flags: str) -> bytes:
        key = (source, *flags)
        if key not in known:
            text, made = folder / f"{len(known)}.c", folder / f"{len(known)}"
            text.write_text(source)
            subprocess.run(["gcc", "-O1", *flags, "-o", str(made), str(text)], check=True)
            known[key] = made.read_bytes()
        return known[key]

    return program


@pytest.fixture(scope="module")
def images(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry beside the engine."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    docker_engine.clear()
    with Registry(tmp_path_factory.mktemp("images"), "http://127.0.0.1:9/", "unused") as registry:
        yield registry
    docker_engine.clear()


class Shrinking:
    """Pushes of one repository, and the runs that they begin."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        ledger: Ledger,
        name: str,
        api: RegistryApi | None = None,
        system: str = "distribution",
    ) -> None:
        self.builds = Builds(engine, registry, name)
        self.ledger, self.registry, self.engine, self.name = ledger, registry, engine, name
        self.api = api or RegistryApi(registry.url, dict)
        self.pushes = 0
        host = {"uid": "h1", "name": "build-1", "reach": Unix(via="unix", path=str(engine.socket)).model_dump()}
        declared = {"uid": "r1", "name": registry.host, "url": registry.url, "system": system}
        inventory = {"hosts": [{**host, "builds": [f"{registry.host}/*"]}], "registries": [declared]}
        ledger.inventory.publish(inventory, "test", datetime.now(UTC))

    def push(self, dockerfile: str, **files: bytes) -> None:
        """Build it on the engine, and push it from there."""
        self.builds.files = {"ballast": BALLAST, **files}
        self.builds.build(dockerfile)

    def put(self, program: bytes, files: Mapping[str, bytes] | None = None, **config: Any) -> None:
        """Push an image of `/usr/bin/hello` with other files, which the engine does not have yet."""
        layer = archive({"srv/ballast": BALLAST, "usr/bin/hello": program, **(files or {})})
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["hello"], **config},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
        }
        raw = json.dumps(document).encode()
        listed = []
        for content, kind in ((raw, "config.v1+json"), (layer, "layer.v1.tar")):
            self.api.upload_blob(self.name, digest_of(content), [content])
            media_type = f"application/vnd.oci.image.{kind}"
            listed.append({"mediaType": media_type, "digest": digest_of(content), "size": len(content)})
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": listed[0], "layers": listed[1:]}
        self.api.put_manifest(self.name, "latest", Manifest.made(manifest, OCI_MANIFEST))

    def run(self, *commands: Sequence[str], seconds: int = 2, **settings: Any) -> Run:
        """What becomes of a push."""
        trial = {"image": f"{self.registry.host}/{self.name}", "commands": commands, "seconds": seconds}
        trial |= {"keep": settings.pop("keep", [])}
        policy = {"mode": "enforce", "cool_down_seconds": 0, "settings": {"trials": [trial], **settings}}
        now = datetime.now(UTC)
        self.ledger.policy.publish({"toils": {"shrink_image": policy}}, "test", now)
        self.pushes += 1
        place = {"registry": self.registry.host, "repository": self.name, "tag": "latest"}
        detail = {**SAMPLE["detail"], **place, "key": f"registry:{self.name}{self.pushes}"}

        worker = worker_of(ShrinkImage, self.ledger, seconds=200)
        [run] = worker.handle({**SAMPLE, "detail": detail})
        return run

    def steps(self, run: Run) -> Mapping[str, Any]:
        """What was planned, by verb."""
        return {step.action.verb(): step for step in self.ledger.journal.read(run, run.plan_number, VERBS)}

    def toil(self, run: Run) -> tuple[ShrinkImage, Tag]:
        """The toil type and its target, as the run had them."""
        inventory = self.ledger.inventory.current().document
        scene = Scene(
            run_id=run.id,
            event=ImagePushed.from_detail(dict(run.event)),
            inventory=inventory,
            policy=Policy(),
            settings=app.Settings(),
            observing=False,
            now=lambda: datetime.now(UTC),
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
        target = inventory.find(run.ref)
        assert isinstance(target, Tag)
        return ShrinkImage(scene), target

    def said(self, run: Run) -> str:
        return str(self.steps(run)["publish_proposal"].action.text)

    def small_tag(self) -> str:
        """Under which the image that `latest` is now is offered."""
        return f"latest-scratch-{str(self.api.digest(self.name, 'latest'))[7:19]}"

    def tags(self) -> list[str]:
        return self.api.tags(self.name)


VERBS = {one.verb(): one for one in ShrinkImage.does}


@pytest.fixture
def shrinking(
    docker_engine: Engine, images: Registry, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shrinking]:
    with ledger_in_moto() as ledger:
        monkeypatch.setattr(app, "open_ledger", lambda: ledger)
        name = request.node.originalname.removeprefix("test_").replace("_", "-")[:60].strip("-")
        yield Shrinking(docker_engine, images, ledger, name)
        left = docker_engine.docker("container", "ls", "--all", "--quiet", "--filter", f"label={LABEL}")
        assert left == "", "a container was left"


def tree(engine: Engine, image: str) -> dict[str, tuple[Any, ...]]:
    """The files of an image, without what the engine puts into each container."""
    given = ("dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys", ".dockerenv")
    with closing(docker.APIClient(base_url=engine.host, version="auto")) as client:
        if ":" in image and "sha256" not in image:
            client.pull(image)
        container = client.create_container(image, ["/nothing"])["Id"]
        content = b"".join(client.export(container))
        client.remove_container(container)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for one in tar:
            held = tar.extractfile(one) if one.isreg() else None
            found[one.name.rstrip("/")] = (one.type, one.mode, one.uid, one.gid, held.read() if held else b"")
    return {path: entry for path, entry in found.items() if not path.startswith(given)}


def config(engine: Engine, image: str) -> Mapping[str, Any]:
    """What containers of an image are started with; but the label that says where it comes from."""
    found = json.loads(engine.docker("image", "inspect", image))[0]["Config"]
    labels = {name: text for name, text in (found["Labels"] or {}).items() if not name.startswith("paydown.")}
    kept = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "StopSignal", "User", "Volumes", "WorkingDir")
    return {"Labels": labels, **{name: found.get(name) or None for name in kept}}
