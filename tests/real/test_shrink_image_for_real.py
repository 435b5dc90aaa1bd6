"""Programs that are compiled on the spot, static and dynamic, in real images: read, tried on a real engine, offered."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.shrink_image.elf import read_elf
from local.registry import Registry
from paydown.ledger import Outcome
from paydown.plan import Done, Moot
from tests.real.builder_image import image_of
from tests.real.docker_engine import Engine
from tests.real.shrinking import HELLO, STATIC, Shrinking, compiled, config, images, shrinking, tree
from tests.servers import need_program

__all__ = ["compiled", "images", "shrinking"]
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
NAMES_REST = "/usr/share/zoneinfo/Europe/Berlin -1\n/etc/localtime -1\n0 0 /srv\n"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LOADER, LIBC = Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6")
SERVICE = """
#include <stdio.h>
#include <unistd.h>
int main(void) { puts("listening"); fflush(stdout); pause(); return 0; }
"""
CLOCK = """
#include <stdio.h>
#include <time.h>
int main(void) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); printf("%ld\\n", now.tv_nsec); return 0; }
"""


def test_a_static_program_is_offered_alone(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.push(STATIC + "STOPSIGNAL 9\nEXPOSE 80\n", hello=compiled(HELLO, "-static"))
    run = shrinking.run([], ["you"], ["you", "there"], seconds=1)
    assert run.status is Outcome.VERIFIED, run.reasons
    offered = run.evidence["offered"]
    tag = shrinking.small_tag()
    assert offered == f"{shrinking.registry.host}/{shrinking.name}:{tag}", run.evidence
    assert shrinking.tags() == ["latest", tag]
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


def test_a_dynamic_program_is_explained(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    program = compiled(HELLO)
    dockerfile = f"FROM scratch\nCOPY ballast /b\nCOPY hello /hello\nCOPY loader {LOADER}\nCOPY libc {LIBC}\n"
    shrinking.push(dockerfile + 'CMD ["/hello"]\n', hello=program, loader=LOADER.read_bytes(), libc=LIBC.read_bytes())
    run = shrinking.run(["you"])
    assert run.status is Outcome.VERIFIED
    assert set(shrinking.steps(run)) == {"publish_proposal"}
    assert shrinking.tags() == ["latest"]
    said, action = shrinking.said(run), shrinking.steps(run)["publish_proposal"].action
    assert f"It is loaded by {LOADER}, with 2 libraries" in said
    assert f"  libc.so.6 => {LIBC}\n" in said
    assert "a dynamic program" in said
    assert "its program is not static" in said
    assert action.dockerfile.count("FROM ") == 2


@pytest.fixture(scope="module")
def compiler(docker_engine: Engine, images: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that a proposal builds in, with the compiler of this machine."""
    need_program("gcc", "gcc libc6-dev")
    said = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    name = f"gcc:{said.strip()}"
    image_of(docker_engine, tmp_path_factory.mktemp("compiler"), name, ("gcc", "libc6-dev"))
    return name


@pytest.mark.parametrize("along", [False, True], ids=["alone", "with-certificates"])
def test_the_proposed_dockerfile_of_a_dynamic_program_is_built_and_does_the_same(
    shrinking: Shrinking, compiled: Callable[..., bytes], compiler: str, along: bool
) -> None:
    source = NAMES if along else HELLO
    files = {"hello": compiled(source), "loader": LOADER.read_bytes(), "libc": LIBC.read_bytes(), "ca": b"-----BEGIN\n"}
    dockerfile = f"FROM scratch\nCOPY ballast /b\nCOPY hello /hello\nCOPY loader {LOADER}\nCOPY libc {LIBC}\n"
    dockerfile += f'COPY ca {CERTIFICATES}\nENV HOME=/srv\nENTRYPOINT ["/hello"]\n'
    shrinking.push(dockerfile, **files)
    run = shrinking.run()
    proposed = shrinking.steps(run)["publish_proposal"].action.dockerfile
    assert proposed.startswith(f"FROM {compiler} AS build\n")
    assert ("AS original" in proposed) is along
    made = shrinking.engine.build("by-hand", proposed, **{"hello.c": source.encode()})  # as it is, without an edit

    def behaves(image: str, *words: str) -> tuple[int, str, str]:
        command = ["docker", "--host", shrinking.engine.host, "run", "--rm", "--network", "none", image, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    for words in ([], ["you"], ["you", "there"]):
        assert behaves(made, *words) == behaves(shrinking.builds.image, *words)
    assert behaves(made, "you")[1] == (f"{CERTIFICATES} 0\n" + NAMES_REST if along else "hello you\n")
    found = tree(shrinking.engine, made)
    kept = {"hello", CERTIFICATES.lstrip("/")} if along else {"hello"}
    assert {path for path, entry in found.items() if entry[0] == b"0"} == kept
    assert read_elf(found["hello"][4]).static
    assert config(shrinking.engine, made) == config(shrinking.engine, shrinking.builds.image)


def test_a_service_is_offered_for_what_it_wrote_so_far(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(SERVICE, "-static"))
    run = shrinking.run([], seconds=1)
    assert run.evidence["offered"], run.evidence
    said = "With its own command both still ran after 1 s, and had written the same 10 bytes."
    assert run.evidence["trial"].endswith(said)


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


def test_a_tag_that_moves_gets_an_offer_for_each_of_its_images(
    shrinking: Shrinking, compiled: Callable[..., bytes]
) -> None:
    tags = ["latest"]
    for source in (HELLO, NAMES):
        shrinking.put(compiled(source, "-static"))
        assert shrinking.run([]).evidence["offered"].endswith(shrinking.small_tag())
        tags.append(shrinking.small_tag())
    assert shrinking.tags() == sorted(tags)


def test_a_tag_of_other_content_is_never_replaced(shrinking: Shrinking, compiled: Callable[..., bytes]) -> None:
    shrinking.put(compiled(HELLO, "-static"))
    other = shrinking.api.manifest(shrinking.name, "latest")
    shrinking.api.put_manifest(shrinking.name, "latest-scratch", other)
    run = shrinking.run([], tag="{tag}-scratch")
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
    tag = shrinking.small_tag()
    shrinking.api.put_manifest(shrinking.name, "wanted", shrinking.api.manifest(shrinking.name, tag))
    assert toil.undo(action, target) == Moot("another tag may lead to it")
    shrinking.put(compiled(HELLO, "-static"), Labels={"a": "b"})
    shrinking.api.put_manifest(shrinking.name, "wanted", shrinking.api.manifest(shrinking.name, "latest"))
    assert isinstance(toil.undo(action, target), Done)
    assert shrinking.tags() == ["latest", "wanted"]
    assert toil.undo(action, target) == Moot("the tag does not lead to what was offered any more")
