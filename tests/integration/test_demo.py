"""`make demo` and `make run` for real, with a state folder of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.emulator import PROGRAM, PROJECT
from paydown.ledger import Outcome
from tests.real.docker_engine import Engine, docker_engine
from tests.servers import need

__all__ = ["docker_engine"]

pytestmark = pytest.mark.slow
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture(autouse=True)
def _emulator() -> None:
    need(PROGRAM.exists(), "the emulator is not installed (make run installs it)")


def environment(docker_host: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != "KUBECONFIG"}, "DOCKER_HOST": docker_host}


def left_behind(state: Path) -> list[str]:
    """The processes that have to do with this state folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            traces = [(process / name).read_bytes().replace(b"\0", b" ") for name in ("cmdline", "environ")]
            if any(str(state).encode() in trace for trace in (*traces, bytes((process / "cwd").readlink()))):
                found.append(f"{process.name}: {traces[0].decode()}")
    return found


def demo(state: Path, docker_host: str) -> tuple[list[dict[str, Any]], str]:
    """Run the demo; its results and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo", "--state", str(state)],
        cwd=PROJECT,
        env=environment(docker_host),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout
    assert left_behind(state) == []
    entries = json.loads((state / "demo.json").read_text())
    outcomes = set(map(str, Outcome))
    for entry in entries:
        assert set(entry) >= {"toil", "event", "target", "outcome", "seconds", "evidence"}
        assert entry["outcome"] in outcomes
        assert entry["outcome"] in entry["expected"]
        assert entry["seconds"] >= 0
        assert entry["evidence"]
        assert entry["flaws"] == []
    return entries, done.stdout


def verified(entries: list[dict[str, Any]], toil: str) -> list[dict[str, Any]]:
    return [entry for entry in entries if (entry["toil"], entry["outcome"]) == (toil, "Verified")]


def test_the_demo_with_an_engine_harms_no_image_of_others(tmp_path: Path, docker_engine: Engine) -> None:
    theirs = docker_engine.build(None, "FROM scratch\nCOPY mine /\n", mine=b"a dangling image of somebody else")
    entries, _ = demo(tmp_path, docker_engine.host)
    assert docker_engine.docker("image", "ls", "--all", "--quiet", "--no-trunc").split() == [theirs]
    assert docker_engine.docker("container", "ls", "--all", "--quiet") == ""
    sent = {entry["event"] for entry in entries}
    for toil in ("clean_dangling_images", "recover_node", "triage_ticket"):
        assert {str(path.relative_to(PROJECT)) for path in (PROJECT / "events" / toil).glob("*.json")} <= sent
    cleaned = verified(entries, "clean_dangling_images")
    assert {"Disk full on build-1", "events/ingress/registry_push.json"} <= {
        entry["event"].partition(": ")[2] or entry["event"] for entry in cleaned
    }
    for entry in cleaned:
        assert (entry["evidence"]["images"], entry["evidence"]["bytes"]) == (1, 256 * 1024)
        assert {"in use", "tagged"} <= set(entry["evidence"]["survived"])
    [pushed] = [entry for entry in cleaned if entry["event"] == "events/ingress/registry_push.json"]
    assert "young" in pushed["evidence"]["survived"]


def test_the_demo_without_an_engine_says_what_it_leaves_out(tmp_path: Path) -> None:
    entries, output = demo(tmp_path, NOWHERE)
    assert "left out: clean_dangling_images (no Docker engine answers" in output
    toils = {entry["toil"] for entry in entries}
    assert {"recover_node", "triage_ticket"} <= toils
    assert "clean_dangling_images" not in toils
    by_alert, by_ticket = verified(entries, "recover_node")
    assert by_alert["event"] == "events/ingress/alertmanager_node_not_ready.json"
    assert by_ticket["evidence"]["ticket_status"] == "resolved"
    assert "Done, and verified." in by_ticket["evidence"]["comment"]
    for entry in (by_alert, by_ticket):
        assert entry["evidence"]["evicted"] > 0
        assert entry["evidence"]["schedulable_again"]


@contextmanager
def running(state: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "run", "--state", str(state)],
        cwd=PROJECT,
        env=environment(NOWHERE),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def until(look: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_run_tells_where_it_is_and_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    told = tmp_path / "local.json"
    with running(tmp_path) as process:
        until(lambda: told.exists() or process.poll() is not None)
        assert {"endpoint_url", "stack", "region", "roundup", "kubeconfig", "webhooks"} <= set(
            json.loads(told.read_text())
        )
        assert len(left_behind(tmp_path)) >= 4
        second = subprocess.run(
            [sys.executable, "-m", "local", "run", "--state", str(tmp_path)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert f"make run is running already in this folder (process {process.pid})" in second.stderr
        assert told.exists()
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Everything runs." in output
    assert left_behind(tmp_path) == []
    assert not told.exists()


@pytest.mark.parametrize("seconds", [0.7, 1.5, 3.0])
def test_an_interrupted_start_leaves_no_process_behind(tmp_path: Path, seconds: float) -> None:
    with running(tmp_path) as process:
        until(lambda: (tmp_path / "run.lock").exists() or process.poll() is not None)
        time.sleep(seconds)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert left_behind(tmp_path) == []
