"""Programs that are compiled on the spot, static and dynamic, in real images: read, tried on a real engine, offered."""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from functions.shrink_image import app
from functions.shrink_image.app import ShrinkImage
from functions.shrink_image.elf import read_elf
from local import registry as local_registry
from local.processes import free_port
from local.registry import Registry
from paydown.clients.docker_hosts.trials import LABEL
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of
from paydown.events import ImagePushed
from paydown.inventory import Tag, Unix
from paydown.ledger import Ledger, Outcome, Run
from paydown.plan import Done, Moot
from paydown.policy import Policy
from paydown.toil import Scene
from paydown.toil.worker import Worker
from tests.real.docker_engine import Engine, archive
from tests.real.image_builds import Builds
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
LISTS = """
#include <stdio.h>
int main(void) {
    FILE *file = fopen("/srv/greeting", "r");
    char line[80] = "no greeting";
    if (file) fgets(line, sizeof line, file);
    puts(line);
    return 0;
}
"""
NAMES = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
const char *files[] = {"/etc/ssl/certs/ca-certificates.crt", "/usr/share/zoneinfo/Europe/Berlin", "/etc/localtime"};
int main(void) {
    for (int n = 0; n < 3; n++) printf("%s %d\\n", files[n], access(files[n], R_OK));
    printf("%d %d %s\\n", getuid(), getgid(), getenv("HOME"));
    return 0;
}
"""
CLOCK = """
#include <stdio.h>
#include <time.h>
int main(void) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); printf("%ld\\n", now.tv_nsec); return 0; }
"""


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
    with Registry(tmp_path_factory.mktemp("images"), f"http://127.0.0.1:{free_port()}/", "unused") as registry:
        yield registry
    docker_engine.clear()


class Shrinking:
    """Pushes of one repository, and the runs that they begin."""

    def __init__(self, engine: Engine, registry: Registry, ledger: Ledger, name: str) -> None:
        self.builds = Builds(engine, registry, name)
        self.ledger, self.registry, self.engine, self.name = ledger, registry, engine, name
        self.api = RegistryApi(registry.url, dict)
        self.pushes = 0
        host = {"uid": "h1", "name": "build-1", "reach": Unix(via="unix", path=str(engine.socket)).model_dump()}
        declared = {"uid": "r1", "name": registry.host, "url": registry.url}
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

        def report(run_id: str, error: Exception) -> None:
            raise AssertionError(run_id) from error

        worker = Worker(
            toil=ShrinkImage,
            ledger=self.ledger,
            observing=False,
            send=lambda toil, bodies: None,
            report=report,
            now=lambda: datetime.now(UTC),
            deadline=now + timedelta(seconds=58),
        )
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


STATIC = 'FROM scratch\nCOPY ballast /srv/ballast\nCOPY hello /usr/bin/hello\nENTRYPOINT ["hello"]\n'


def test_a_static_program_is_offered_alone(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.push(STATIC + "STOPSIGNAL 9\nEXPOSE 80\n", hello=compiled(HELLO, "-static"))
    run = shrinking.run([], ["you"], ["you", "there"], seconds=1)
    assert run.status is Outcome.VERIFIED, run.reasons
    offered = run.evidence["offered"]
    assert offered == f"{shrinking.registry.host}/{shrinking.name}:latest-scratch", run.evidence
    assert shrinking.tags() == ["latest", "latest-scratch"]
    engine = shrinking.engine
    done = engine.docker("run", "--rm", "--network", "none", offered, "there")
    assert done == "hello there"
    small_tree = tree(engine, offered)
    assert [path for path, entry in small_tree.items() if entry[0] == b"0"] == ["usr/bin/hello"]
    engine.docker("pull", "--quiet", offered)
    assert config(engine, offered) == config(engine, shrinking.builds.image)
    assert run.evidence["saves_bytes"] > 2_400_000
    again = shrinking.run(["you"])
    assert (again.status, again.reasons[0].text) == (Outcome.SKIPPED, "the smaller image is offered already")


def test_the_proposed_dockerfile_of_a_static_program_makes_the_same(
    shrinking: Shrinking, compiled: Callable[..., bytes]
) -> None:
    shrinking.push(STATIC + 'ENV A="b c"\nCMD ["all"]\n', hello=compiled(HELLO, "-static"))
    run = shrinking.run([])
    dockerfile = shrinking.steps(run)["publish_proposal"].action.dockerfile
    by_hand = shrinking.engine.build("by-hand", dockerfile)
    made, offered = tree(shrinking.engine, by_hand), tree(shrinking.engine, run.evidence["offered"])
    assert made["usr/bin/hello"] == offered["usr/bin/hello"]
    assert {path for path in made if made[path][0] == b"0"} == {path for path in offered if offered[path][0] == b"0"}
    assert config(shrinking.engine, by_hand) == config(shrinking.engine, run.evidence["offered"])


def test_a_dynamic_program_is_explained(shrinking: Shrinking, compiled: Callable[..., bytes], tmp_path: Path) -> None:
    program = compiled(HELLO)
    interpreter, library = "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"
    dockerfile = f"FROM scratch\nCOPY ballast /b\nCOPY hello /hello\nCOPY loader {interpreter}\nCOPY libc {library}\n"
    dockerfile += 'CMD ["/hello"]\n'
    shrinking.push(dockerfile, hello=program, loader=Path(interpreter).read_bytes(), libc=Path(library).read_bytes())
    run = shrinking.run(["you"])
    assert run.status is Outcome.VERIFIED
    assert set(shrinking.steps(run)) == {"publish_proposal"}
    assert shrinking.tags() == ["latest"]
    said, action = shrinking.said(run), shrinking.steps(run)["publish_proposal"].action
    assert f"It is loaded by {interpreter}, with 2 libraries" in said
    assert f"  libc.so.6 => {library}\n" in said
    assert "a dynamic program" in said
    assert "its program is not static" in said
    assert action.dockerfile.count("FROM ") == 2
    # What it proposes to run makes a static program of the same source.
    [command] = [line for line in action.dockerfile.splitlines() if "-static" in line]
    (tmp_path / "hello.c").write_text(HELLO)
    made = tmp_path / "app"
    shell = command.removeprefix(" && ").replace("/out/app", str(made))
    subprocess.run(shell, shell=True, check=True, cwd=tmp_path)  # noqa: S602 -- what our own code proposes
    assert read_elf(made.read_bytes()).static


def test_a_library_that_is_not_there_is_named(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(HELLO))
    said = shrinking.said(shrinking.run())
    assert "(which is not in the image)" in said
    assert "libc.so.6 => not found in the image" in said


def test_what_behaves_differently_is_not_offered(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(LISTS, "-static"), {"srv/greeting": b"good morning\n"})
    run = shrinking.run([])
    assert run.status is Outcome.VERIFIED
    assert run.evidence["offered"] == ""
    assert "line 1 of standard output: “good morning”, then “no greeting”" in run.evidence["trial"]
    assert shrinking.tags() == ["latest"]
    assert "  /srv/greeting" in shrinking.said(run)
    run = shrinking.run([], keep=["/srv/greeting"])
    assert run.evidence["offered"], run.evidence
    assert "srv/greeting" in tree(shrinking.engine, run.evidence["offered"])


def test_certificates_zones_and_the_user_go_along(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    passwd = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nother:x:7:7::/:/x\n"
    files = {
        "etc/passwd": passwd,
        "etc/group": b"root:x:0:\napp:x:1001:\nlogs:x:4:syslog,app\n",
        "etc/ssl/certs/ca-certificates.crt": b"-----BEGIN CERTIFICATE-----\n",
        "usr/share/zoneinfo/Europe/Berlin": b"TZif2",
        "usr/share/zoneinfo/right/Europe/Berlin": b"TZif2",
        "home/app/file": b"",
    }
    shrinking.put(compiled(NAMES, "-static"), files, User="app")
    run = shrinking.run([])
    assert run.evidence["offered"], run.evidence
    found = tree(shrinking.engine, run.evidence["offered"])
    assert {path for path, entry in found.items() if entry[0] == b"0"} == {
        "etc/group",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/hello",
        "usr/share/zoneinfo/Europe/Berlin",
    }
    assert found["home/app"][0] == b"5"
    said = shrinking.engine.docker("run", "--rm", "--network", "none", run.evidence["offered"])
    assert said.splitlines() == [
        "/etc/ssl/certs/ca-certificates.crt 0",
        "/usr/share/zoneinfo/Europe/Berlin 0",
        "/etc/localtime -1",
        "1000 1001 /home/app",
    ]


def test_a_program_that_differs_from_itself_is_not_offered(
    shrinking: Shrinking, compiled: Callable[..., bytes]
) -> None:
    shrinking.put(compiled(CLOCK, "-static"))
    run = shrinking.run([], seconds=1)
    assert run.status is Outcome.VERIFIED
    assert (run.evidence["offered"], shrinking.tags()) == ("", ["latest"])
    assert "the original itself differs from run to run" in run.evidence["trial"]


def test_a_tag_of_other_content_is_never_replaced(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(HELLO, "-static"))
    other = shrinking.api.manifest(shrinking.name, "latest")
    shrinking.api.put_manifest(shrinking.name, "latest-scratch", other)
    run = shrinking.run([])
    assert set(shrinking.steps(run)) == {"publish_proposal"}
    assert "an image is never replaced" in shrinking.said(run)
    assert shrinking.api.digest(shrinking.name, "latest-scratch") == other.digest
    run = shrinking.run([], tag="{tag}-small-{digest}")
    assert run.evidence["offered"].endswith(f"latest-small-{other.digest[7:19]}")


def test_an_offer_can_be_taken_back(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(HELLO, "-static"))
    run = shrinking.run([])
    action = shrinking.steps(run)["offer_image"].action
    toil, target = shrinking.toil(run)
    shrinking.api.put_manifest(shrinking.name, "wanted", shrinking.api.manifest(shrinking.name, "latest-scratch"))
    assert toil.undo(action, target) == Moot("another tag may lead to it")
    shrinking.put(compiled(HELLO, "-static"), Labels={"a": "b"})
    shrinking.api.put_manifest(shrinking.name, "wanted", shrinking.api.manifest(shrinking.name, "latest"))
    assert isinstance(toil.undo(action, target), Done)
    assert shrinking.tags() == ["latest", "wanted"]
    assert toil.undo(action, target) == Moot("the tag does not lead to what was offered any more")


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
