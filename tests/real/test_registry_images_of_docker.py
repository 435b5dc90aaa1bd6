"""Images that a real dockerd built and pushed: what a stopped container of one saves, and pulling what was promoted."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from paydown.inventory import Host, Unix
from paydown.ledger import Ledger, Outcome
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.real.docker_engine import Engine, archive
from tests.real.promotion_scenes import stages
from tests.real.registry_images import Images, images
from tests.real.registry_sweeps import allow, approved, now, swept
from tests.servers import need_program

DOCKERFILE = """FROM scratch
COPY word /etc/word
WORKDIR /srv/data
COPY data /srv/data/
COPY program /program
ENTRYPOINT ["/program"]
"""
SAYS_THE_WORD = """#include <stdio.h>
int main(void) {
    char word[80];
    FILE *file = fopen("/etc/word", "r");
    return !file || !fgets(word, sizeof word, file) || puts(word) < 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A static program that says what /etc/word holds, and ends."""
    need_program("gcc", "gcc libc6-dev")
    folder = tmp_path_factory.mktemp("program")
    (folder / "main.c").write_text(SAYS_THE_WORD)
    subprocess.run(["gcc", "-static", "-O1", "-o", str(folder / "main"), str(folder / "main.c")], check=True)
    return (folder / "main").read_bytes()


def build_and_push(engine: Engine, to: Images, tag: str, program: bytes, word: str, platform: str = "amd64") -> str:
    """Build an image and push it, both by the engine; the digest under which the registry has it."""
    name = f"{to.registry.host}/{to.repository}:{tag}"
    files = {"word": word.encode(), "data": os.urandom(5_000), "program": program}
    context = archive({"Dockerfile": DOCKERFILE.encode(), **files})
    options = ("--quiet", "--platform", f"linux/{platform}", "--tag", name)
    engine.docker("build", *options, "-", stdin=context, environment={"DOCKER_BUILDKIT": "0"})
    engine.docker("push", name)
    digest = to.api.digest(to.repository, tag)
    assert digest is not None
    return digest


def run(engine: Engine, image: str, *options: str) -> str:
    """What a container of an image says."""
    return engine.docker("run", "--network", "none", *options, image)


def files(engine: Engine, image: str, platform: str = "amd64") -> dict[str, tuple[object, ...]]:
    """The file system of an image, as the engine exports it: kind, mode, owner, time and content of each path."""
    made = engine.docker("create", "--network", "none", "--platform", f"linux/{platform}", image)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(engine.api.export(made)))) as tar:
        for one in tar:
            content = tar.extractfile(one) if one.isreg() else None
            # The engine makes its own files below /dev and /etc anew in each container.
            time = one.mtime if one.name in ("etc/word", "program") or one.name.startswith("srv/data/") else 0
            facts = one.type, one.mode, one.uid, one.gid, one.linkname, time
            found[one.name.rstrip("/")] = (*facts, content.read() if content else b"")
    engine.api.remove_container(made)
    assert {"etc/word", "srv/data/data", "program"} <= found.keys()
    return found


def platform_of(engine: Engine, image: str) -> str:
    return str(engine.api.inspect_image(image)["Architecture"])


def ledger_of(pushed: Images, *hosts: Host) -> Ledger:
    made = memory_ledger(MemoryDynamo())
    declared = {
        "registries": [pushed.target.registry.model_dump(mode="json")],
        "hosts": [host.model_dump(mode="json") for host in hosts],
    }
    made.inventory.publish(declared, "test", now())
    return made


def test_a_stopped_container_keeps_the_manifest_that_its_engine_pushed(
    engine: Engine, tmp_path: Path, program: bytes
) -> None:
    with images(tmp_path) as pushed:
        name = f"{pushed.registry.host}/{pushed.repository}:latest"
        kept = build_and_push(engine, pushed, "latest", program, "kept")
        assert run(engine, name, "--name", "ended") == "kept"
        unused = build_and_push(engine, pushed, "latest", program, "unused")
        newest = build_and_push(engine, pushed, "latest", program, "newest")
        assert len({kept, unused, newest}) == 3
        assert len(engine.dangling()) >= 2, "the host still has both images that lost the tag"
        assert engine.api.inspect_container("ended")["State"]["Status"] == "exited"
        pushed.age()
        host = Host(uid="h", name="h", reach=Unix(via="unix", path=str(engine.socket)))
        ledger = ledger_of(pushed, host)
        allow(ledger)
        held = swept(ledger)
        assert (held.status.value, held.actions) == ("Held", 1), held.reasons
        assert pushed.there() == {kept, unused, newest}
        done = approved(ledger, held)
        assert (done.status.value, done.evidence["manifests"]) == ("Verified", 1), done.reasons
        assert pushed.there() == {kept, newest}
        pushed.collect_garbage()
        engine.api.remove_container("ended")
        engine.clear()
        assert run(engine, f"{pushed.registry.host}/{pushed.repository}@{kept}") == "kept"
        # Without the container, and its host asked again, the same image goes: it was the container that saved it.
        engine.clear()
        again = ledger_of(pushed, host)
        allow(again)
        assert approved(again, swept(again)).status.value == "Verified"
        assert pushed.there() == {newest}


@pytest.mark.parametrize("within", [False, True], ids=["another-registry", "another-repository"])
def test_what_was_promoted_is_pulled_by_its_digest_with_the_same_files(
    engine: Engine, tmp_path: Path, program: bytes, within: bool
) -> None:
    with stages(tmp_path) as world:
        world.allow(world.within() if within else {})
        to = world.shop if within else world.prod
        lab = f"{world.lab.registry.host}/{world.lab.repository}"
        children = {
            platform: build_and_push(engine, world.lab, platform, program, platform, platform)
            for platform in ("amd64", "arm64")
        }
        digests = {
            "1.0": build_and_push(engine, world.lab, "1.0", program, "one platform"),
            "2.0": world.lab.index("2.0", *children.values()),
        }
        original = files(engine, f"{lab}:1.0")
        originals = {platform: files(engine, f"{lab}:{platform}", platform) for platform in children}
        for tag, digest in digests.items():
            done = world.handle(world.pushed(tag))
            assert done.status is Outcome.VERIFIED, done.reasons
            assert to.api.digest(to.repository, tag) == digest
        engine.clear()
        there = f"{to.registry.host}/{to.repository}"
        promoted = f"{there}@{digests['1.0']}"
        engine.docker("pull", promoted)
        assert run(engine, promoted) == "one platform"
        assert files(engine, promoted) == original
        index = f"{there}@{digests['2.0']}"
        for platform in children:
            engine.clear()
            engine.docker("pull", "--platform", f"linux/{platform}", index)
            assert platform_of(engine, index) == platform
            assert files(engine, index, platform) == originals[platform]
            if platform == "amd64":
                assert run(engine, index) == "amd64"
