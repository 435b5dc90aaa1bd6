"""What a program may do on a host where it is tried, asked of a program that tries it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from paydown.clients.docker_builds import Cannot, Ran, TrialHost, open_trials
from paydown.clients.docker_hosts.trials import LABEL, OUTPUT_MOST
from paydown.errors import PermanentError
from paydown.inventory import Host, Unix
from tests.real.docker_engine import Engine
from tests.servers import need_program

MARK = "a test"
TRIES = r"""
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "shut-in")) {
        char line[200];
        struct ifaddrs *found = 0;
        FILE *status = fopen("/proc/self/status", "r");
        printf("mkdir %d\n", mkdir("/made", 0777) ? errno : 0);
        while (status && fgets(line, sizeof line, status))
            if (!strncmp(line, "CapEff", 6) || !strncmp(line, "NoNewPrivs", 10)) fputs(line, stdout);
        getifaddrs(&found);
        for (; found; found = found->ifa_next) printf("interface %s\n", found->ifa_name);
    }
    if (!strcmp(what, "forks")) {
        int made = 0;
        for (; made < 1000; made++) {
            int child = fork();
            if (child < 0) break;
            if (!child) { pause(); _exit(0); }
        }
        printf("%d\n", made);
        fflush(stdout);
    }
    if (!strcmp(what, "eats")) for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(what, "lines")) for (int n = 0; n < 66000; n++) fputs("\n", stdout);
    if (!strcmp(what, "sleeps")) for (;;) pause();
    if (!strcmp(what, "fails")) { fputs("no\n", stderr); return 7; }
    return 0;
}
"""


@pytest.fixture(scope="module")
def image(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    need_program("gcc", "gcc libc6-dev")
    folder = tmp_path_factory.mktemp("tries")
    source, made = folder / "tries.c", folder / "tries"
    source.write_text(TRIES)
    subprocess.run(["gcc", "-static", "-O1", "-o", str(made), str(source)], check=True)
    dockerfile = 'FROM scratch\nCOPY tries /tries\nENTRYPOINT ["/tries"]\nHEALTHCHECK CMD ["/tries"]\n'
    return docker_engine.build("tries", dockerfile, tries=made.read_bytes())


@pytest.fixture
def host(docker_engine: Engine) -> Iterator[TrialHost]:
    reach = Unix(via="unix", path=str(docker_engine.socket))
    yield open_trials(Host(uid="h", name="build-1", reach=reach))
    assert left(docker_engine) == [], "a container was left"


def left(engine: Engine) -> list[str]:
    """The containers of trials that are there."""
    return engine.docker("container", "ls", "--all", "--quiet", "--filter", f"label={LABEL}").split()


def test_it_is_shut_in(host: TrialHost, image: str) -> None:
    ran = host.run(image, ["shut-in"], seconds=30, mark=MARK)
    assert isinstance(ran, Ran)
    assert set(ran.out.decode().splitlines()) == {
        "mkdir 30",  # EROFS
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "interface lo",
    }


def test_processes_and_memory_are_limited(host: TrialHost, image: str) -> None:
    ran = host.run(image, ["forks"], seconds=30, mark=MARK)
    assert isinstance(ran, Ran)
    assert int(ran.out) < 64
    assert host.run(image, ["eats"], seconds=30, mark=MARK) == Ran(137)


def test_exit_codes_and_both_streams_come_back(host: TrialHost, image: str) -> None:
    assert host.run(image, ["fails"], seconds=30, mark=MARK) == Ran(7, b"", b"no\n")


def test_time_is_limited(host: TrialHost, image: str) -> None:
    assert host.run(image, ["sleeps"], seconds=1, mark=MARK) == Ran(None)


def test_the_beginning_of_much_output_is_there(host: TrialHost, image: str) -> None:
    ran = host.run(image, ["lines"], seconds=30, mark=MARK)
    assert isinstance(ran, Ran)
    assert (ran.cut, ran.out) == (True, b"\n" * OUTPUT_MOST)


def test_what_cannot_start_says_why(host: TrialHost, docker_engine: Engine) -> None:
    nothing = docker_engine.build("nothing", 'FROM scratch\nCOPY a /a\nENTRYPOINT ["/b"]\n', a=b"")
    found = host.run(nothing, None, seconds=1, mark=MARK)
    assert isinstance(found, Cannot)
    assert "no such file" in found.why


def test_what_a_dead_worker_left_is_removed(host: TrialHost, docker_engine: Engine, image: str) -> None:
    for mark in (MARK, "another"):
        docker_engine.docker("create", "--network", "none", "--label", f"{LABEL}={mark}", image)
    host.sweep(MARK)
    assert len(left(docker_engine)) == 1
    host.sweep("another")


def test_over_tls(client_secret: dict[str, str], docker_engine: Engine, image: str) -> None:
    from tests.real.docker_engine import TLS_SECRET

    reach = {"via": "tcp", "address": f"127.0.0.1:{docker_engine.port}", "secret": TLS_SECRET}
    over = open_trials(Host.model_validate({"uid": "h", "name": "build-1", "reach": reach}))
    assert over.run(image, ["fails"], seconds=30, mark=MARK) == Ran(7, b"", b"no\n")
    assert over.architecture() == "amd64"


def test_over_ssm_nothing_is_tried() -> None:
    reach = {"via": "ssm", "instance_id": "i-0123456789abcdef0"}
    with pytest.raises(PermanentError, match="no document of Paydown runs images there"):
        open_trials(Host.model_validate({"uid": "h", "name": "build-1", "reach": reach}))


def test_an_image_that_came_for_a_trial_goes_again(host: TrialHost, docker_engine: Engine, tmp_path: Path) -> None:
    id = docker_engine.build("saved", "FROM scratch\nCOPY a /a\n", a=b"x")
    saved = tmp_path / "saved.tar"
    docker_engine.docker("save", "--output", str(saved), id)
    with host.loaded(id, [saved.read_bytes()]):
        pass
    assert id in docker_engine.images(), "it was there before"
    docker_engine.docker("rmi", "saved")
    with host.loaded(id, [saved.read_bytes()]) as name:
        assert name == id in docker_engine.images()
    assert id not in docker_engine.images()
    with pytest.raises(PermanentError), host.loaded(f"sha256:{'0' * 64}", [saved.read_bytes()]):
        pass
