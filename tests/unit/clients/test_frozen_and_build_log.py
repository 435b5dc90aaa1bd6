"""What counts as an upgrade in a history, and what of a build's log people see."""

from __future__ import annotations

import pytest

from paydown.clients.docker_hosts.builds import LINE_LENGTH, LINES, Log
from paydown.clients.frozen import upgrades


@pytest.mark.parametrize(
    "said",
    [
        "/bin/sh -c apt-get update && apt-get -y upgrade",
        "RUN /bin/sh -c apt-get update; DEBIAN_FRONTEND=noninteractive apt-get dist-upgrade -y # buildkit",
        "|1 A=b /bin/sh -c dnf -y update",
        "apk upgrade --no-cache",
        "/bin/bash -o pipefail -c apt full-upgrade | tee /log",
    ],
)
def test_an_upgrade_of_all_packages(said: str) -> None:
    assert upgrades(said)


@pytest.mark.parametrize(
    "said",
    [
        "/bin/sh -c #(nop) LABEL a=apt-get upgrade",
        "/bin/sh -c apt-get update && apt-get install -y upgrade-tool",
        "/bin/sh -c echo apt-get upgrade",
        "COPY apt-get upgrade /",
        "apk update",
        "",
    ],
)
def test_no_upgrade(said: str) -> None:
    assert not upgrades(said)


def test_a_log_keeps_its_last_lines_short() -> None:
    log = Log()
    log.add("\n".join(f"{number} {'x' * 500}" for number in range(100)))
    shown = str(log).split(" | ")
    assert len(shown) == LINES
    assert shown[-1].startswith("99 ")
    assert {len(line) for line in shown} == {LINE_LENGTH}


@pytest.mark.parametrize(
    "line",
    [
        "git clone https://bot:hunter2hunter2@git.example/x",
        "Authorization: Bearer hunter2hunter2",
        "NPM_TOKEN=hunter2hunter2 npm ci",
        '{"password": "hunter2hunter2"}',
        "it says hunter2hunter2 somewhere",
    ],
)
def test_a_log_shows_no_secret(line: str) -> None:
    log = Log(["hunter2hunter2"] if "somewhere" in line else [])
    log.add(f"\x1b[31m{line}\u202e")
    assert "hunter2" not in str(log)
    assert "***" in str(log)
    assert str(log).isprintable()
