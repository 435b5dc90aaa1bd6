"""The way of an event, from a real sender to the verified outcome: all of it deployed, no double in between.

The emulator enforces the roles of the functions, so that a permission which one of them lacks fails its test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local import alertmanager as local_alertmanager
from local import registry as local_registry
from local.alertmanager import Alertmanager
from local.app.application import Application
from local.demo.tickets import Person
from local.emulator import PROGRAM, PROJECT
from local.registry import Registry
from local.webhooks import proof
from paydown.ledger import Outcome, Run
from tests.real.docker_engine import Engine
from tests.servers import need
from tests.stacks import wait_for

pytestmark = pytest.mark.slow

LABELS = {"paydown.test": "whole-way"}
MIN_AGE = 4
REPOSITORY = "team/app"


@pytest.fixture(scope="module")
def application(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", docker_engine.host)
        with Application(tmp_path_factory.mktemp("application"), LABELS, authorise=True) as running:
            running.look_around().start()
            assert running.left_out == []
            policy = running.ledger.policy.text(1)
            policy["toils"]["clean_dangling_images"]["settings"]["min_age"] = MIN_AGE
            running.ledger.policy.publish(policy, "test", datetime.now(UTC))
            inventory = running.ledger.inventory.text(1)
            inventory["hosts"][0]["builds"] = [f"127.0.0.1:*/{REPOSITORY}"]
            running.ledger.inventory.publish(inventory, "test", datetime.now(UTC))
            yield running


@pytest.fixture(scope="module")
def registry(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need(local_registry.program(), "no registry is installed (apt-get install docker-registry)")
    stack = application.stack
    with Registry(
        tmp_path_factory.mktemp("registry"), stack.webhook_url("registry"), stack.webhook_secret("registry")
    ) as running:
        yield running


@pytest.fixture
def alertmanager(application: Application, tmp_path: Path) -> Iterator[Alertmanager]:
    need(local_alertmanager.program(), "no Alertmanager is installed (apt-get install prometheus-alertmanager)")
    stack = application.stack
    with Alertmanager(tmp_path, stack.webhook_url("alertmanager"), stack.webhook_secret("alertmanager")) as running:
        yield running


def runs(application: Application, toil: str, since: datetime, ref: str = "") -> list[Run]:
    found = application.ledger.history.recent(datetime.now(UTC), limit=200, days=2)
    return [run for run in found if run.toil == toil and run.created >= since and ref in ("", run.ref)]


def ended(application: Application, toil: str, since: datetime, ref: str = "", seconds: float = 120) -> Run:
    """The first run that took care of an event since then and found something to do, once it has ended."""

    def look() -> Run | None:
        for run in sorted(runs(application, toil, since, ref), key=lambda run: run.created):
            current = application.ledger.runs.get(_host(application, run))
            if current and current.ended and current.status is not Outcome.SKIPPED:
                return current
        return None

    return wait_for(look, f"a run of {toil} to end", seconds)


def _host(application: Application, run: Run) -> str:
    """The id of the run that an event joined: on a busy machine an earlier one may wait still; else the run's own."""
    current = application.ledger.runs.get(run.id)
    said = next((reason.text for reason in current.reasons if reason.code == "joined"), "") if current else ""
    return next(iter(re.findall(r"\b[0-9a-f]{32}\b", said)), run.id)


def build(engine: Engine, tag: str) -> str:
    label = " ".join(f"{name}={value}" for name, value in LABELS.items())
    engine.build(tag, f"FROM scratch\nLABEL {label}\nCOPY content /\n", content=os.urandom(5000))
    return engine.docker("image", "inspect", "--format", "{{.Id}}", tag)


def post(application: Application, sender: str, document: Any) -> tuple[int, Any]:
    body = json.dumps(document).encode()
    headers = proof(sender, body, application.stack.webhook_secret(sender))
    request = urllib.request.Request(application.stack.webhook_url(sender), body, headers)  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def alert(node: str, fingerprint: str, started: datetime | None = None) -> dict[str, Any]:
    started = started or datetime.now(UTC)
    labels = {"alertname": "KubeNodeNotReady", "cluster": "demo", "node": node}
    fired = {"status": "firing", "labels": labels, "startsAt": started.isoformat(), "fingerprint": fingerprint}
    return {"version": "4", "status": "firing", "alerts": [fired]}


def test_a_push_that_overwrites_a_tag_ends_with_the_image_gone(
    application: Application, registry: Registry, engine: Engine
) -> None:
    """A moves to B and back to A: what dangles each time goes; what is tagged, used or young stays."""
    tag = f"{registry.host}/{REPOSITORY}:latest"
    other = build(engine, f"{registry.host}/{REPOSITORY}:stable")
    used = build(engine, "used")
    engine.docker("create", used, "/never-started")
    build(engine, "used")  # `used` dangles now, but a container has it
    first = build(engine, tag)
    engine.docker("push", "--quiet", tag)
    since = datetime.now(UTC)
    second = build(engine, tag)
    assert engine.dangling() == {used, first}
    engine.docker("push", "--quiet", tag)
    run = ended(application, "clean_dangling_images", since)
    assert run.status is Outcome.VERIFIED, run
    assert run.evidence["images"] == 1
    assert run.evidence["bytes"] >= 5000
    assert engine.images() >= {other, used, second}
    assert first not in engine.images()

    since = datetime.now(UTC)
    third = build(engine, tag)
    engine.docker("push", "--quiet", tag)
    run = ended(application, "clean_dangling_images", since)
    assert run.status is Outcome.VERIFIED, run
    assert second not in engine.images()
    assert engine.images() >= {other, used, third}


def test_an_alert_ends_with_the_node_drained(application: Application, alertmanager: Alertmanager) -> None:
    cluster = application.stand_in
    assert cluster is not None
    since = datetime.now(UTC)
    cluster.switch_kubelet("worker-1", running=False)
    try:
        alertmanager.send([{"alertname": "KubeNodeNotReady", "cluster": "demo", "node": "worker-1"}])
        wait_for(
            lambda: cluster.get("/api/v1/nodes/worker-1")["spec"].get("unschedulable"), "the node to be cordoned", 60
        )
        wait_for(lambda: not movable(cluster, "worker-1"), "the node to be drained", 90)
    finally:
        cluster.switch_kubelet("worker-1", running=True)
    run = ended(application, "recover_node", since, "node/demo/worker-1")
    assert run.status is Outcome.VERIFIED, run
    assert run.evidence["evicted"] > 0
    assert not cluster.get("/api/v1/nodes/worker-1")["spec"].get("unschedulable")


def movable(cluster: Any, node: str) -> list[str]:
    """The pods on a node that a drain would move and that nobody deletes yet."""
    pods = cluster.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")["items"]
    kinds = [
        (pod["metadata"]["name"], [owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])])
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    ]
    return [name for name, owners in kinds if not {"DaemonSet", "Node"} & set(owners)]


def test_a_ticket_ends_resolved_with_its_comment(application: Application, engine: Engine) -> None:
    build(engine, "ticketed")
    dangling = engine.docker("image", "inspect", "--format", "{{.Id}}", "ticketed")
    build(engine, "ticketed")
    person = Person(application.tracker)
    since = datetime.now(UTC)
    time.sleep(MIN_AGE)
    ticket = person.write("Disk full on build-1", "It is always the same, please help.")
    run = ended(application, "clean_dangling_images", since, "host/build-1")
    assert run.status is Outcome.VERIFIED, run
    assert dangling not in engine.images()
    read = wait_for(
        lambda: found if (found := person.read(ticket))["status"] == "resolved" else None, "the ticket to be resolved"
    )
    *before, last = read["comments"]
    assert run.id in last
    assert all("joined run" in comment for comment in before)


def test_a_ticket_that_no_rule_matches_is_left_alone(application: Application) -> None:
    person = Person(application.tracker)
    since = datetime.now(UTC)
    ticket = person.write("The coffee machine is broken", "As the title says.")
    run = wait_for(
        lambda: next(iter(runs(application, "triage_ticket", since, f"ticket/helpdesk/{ticket}")), None), "the triage"
    )
    assert wait_for(lambda: _ended(application, run), "its end").status is Outcome.SKIPPED
    assert person.read(ticket)["comments"] == []
    assert person.read(ticket)["status"] != "resolved"


def test_the_same_webhook_five_times_at_once_makes_one_run(application: Application) -> None:
    since = datetime.now(UTC)
    body = alert("worker-3", "f5f5f5f5f5f5f5f5")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: post(application, "alertmanager", body), range(5)))
    assert [status for status, _ in answers] == [202] * 5
    assert len({tuple(document["events"]) for _, document in answers}) == 1
    wait_for(lambda: runs(application, "recover_node", since, "node/demo/worker-3"), "the run")
    time.sleep(3)  # the other deliveries' messages are in the queue
    run, *later = sorted(
        runs(application, "recover_node", since, "node/demo/worker-3"), key=lambda run: (run.created, run.attempt)
    )
    cool_down = timedelta(seconds=application.ledger.policy.current().document.toil("recover_node").cool_down_seconds)
    # On a busy machine a delivery may come after the cool-down: it tells that the fault is there still.
    assert all(again.attempt > 1 and again.created - run.created >= cool_down for again in later)
    statuses = [entry["status"] for entry in application.ledger.runs.log(run.id)]
    assert statuses == ["Planned", "Skipped"]  # the node is Ready


def workers(function: str) -> list[int]:
    """The processes in which the emulator runs a function."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(item.startswith(b"AWS_LAMBDA_FUNCTION_NAME=") and function.encode() in item for item in environment):
            found.append(int(folder.name))
    return found


def test_workers_killed_in_the_middle_lose_nothing(application: Application, engine: Engine) -> None:
    """`kill -9`: within three minutes each run ends verified, and nothing was done twice."""
    cluster = application.stand_in
    assert cluster is not None
    for _ in range(110):
        build(engine, "many")
    built, since = time.monotonic(), datetime.now(UTC)
    cluster.switch_kubelet("worker-2", running=False)
    assert post(application, "alertmanager", alert("worker-2", "deadbeefdeadbeef"))[0] == 202
    killed = [_killed_in_its_middle(application, "recover_node", since)]
    cluster.switch_kubelet("worker-2", running=True)
    time.sleep(max(0, built + MIN_AGE - time.monotonic()))
    killed.append(_killed_in_its_middle(application, "clean_dangling_images", _begin_a_clean_up(application)))
    for run, at in killed:
        left = 180 - (datetime.now(UTC) - at).total_seconds()
        ended = wait_for(lambda run=run: _ended(application, run), f"the run of {run.toil} to end", left)
        assert ended.status is Outcome.VERIFIED, ended
        assert ended.fence > 1  # another worker took it up
        steps = list(application.ledger.journal.items(run.id))
        assert {step["state"] for step in steps} <= {"done", "moot"}
        assert len({(step["verb"], step["object"]) for step in steps}) == len(steps)


def _killed_in_its_middle(application: Application, toil: str, since: datetime) -> tuple[Run, datetime]:
    """A run whose worker is killed once it has done something, and when that was."""
    run = _middle(application, toil, since)
    pids = workers(application.stack.resources["".join(part.title() for part in toil.split("_"))])
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert not _ended(application, run), "the worker was faster than the test"
    return run, datetime.now(UTC)


def _begin_a_clean_up(application: Application) -> datetime:
    since = datetime.now(UTC)
    detail = json.loads((PROJECT / "events/clean_dangling_images/disk_pressure.json").read_text())["detail"]
    application.stack.put_event("DiskPressure", {**detail, "key": f"killed:{since}", "at": since.isoformat()})
    return since


def _middle(application: Application, toil: str, since: datetime) -> Run:
    """The run of a toil type, once it has done something."""

    def middle() -> Run | None:
        # Its event may have joined a run that was there before.
        for run in runs(application, toil, since - timedelta(hours=1)):
            steps = application.ledger.journal.items(run.id)
            if (run.updated or since) >= since and "done" in [step["state"] for step in steps]:
                return run
        return None

    return wait_for(middle, f"the run of {toil} to be in its middle", 90)


def _ended(application: Application, run: Run) -> Run | None:
    current = application.ledger.runs.get(run.id)
    return current if current and current.ended else None
