"""Senders of a deployed stack with enforced roles: heard, found when they were lost, looked at by the doctor."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local import registry as local_registry
from local.deploy import Stack
from local.processes import free_port
from local.registry import Registry
from local.webhooks import proof
from paydown.ledger import Ledger, Table
from paydown.ledger.sources_seen import Sources
from tests.envelopes import SCHEDULED
from tests.fixtures import payload
from tests.real.test_registry_notifications import push
from tests.servers import need
from tests.stacks import wait_for

WATCHDOG = {"status": "firing", "labels": {"alertname": "Watchdog"}, "startsAt": "2026-11-22T02:00:00Z"}


@pytest.fixture
def ledger(enforcing_stack: Stack) -> Ledger:
    return Ledger(Table(enforcing_stack.outputs["LedgerTable"], enforcing_stack.emulator.client("dynamodb")))


@pytest.fixture
def sources(enforcing_stack: Stack, ledger: Ledger) -> Sources:
    return Sources(ledger.table, enforcing_stack.emulator.client("dynamodb"))


@pytest.fixture
def paydown(enforcing_stack: Stack, paydown_on: Callable[[Stack], Callable[..., Any]]) -> Callable[..., Any]:
    """The command, on the stack whose roles are enforced."""
    return paydown_on(enforcing_stack)


def post(stack: Stack, sender: str, document: Any) -> int:
    body = json.dumps(document).encode()
    request = urllib.request.Request(  # noqa: S310 -- our own loopback address
        stack.webhook_url(sender), body, proof(sender, body, stack.webhook_secret(sender))
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- our own loopback address
        return int(answer.status)


def test_connect_sees_the_first_request(enforcing_stack: Stack, ledger: Ledger, paydown: Any) -> None:
    def awaited() -> object:
        return (ledger.table.get("SOURCE#alertmanager", "HEARD") or {}).get("awaited")

    def send() -> None:
        wait_for(awaited, "the command to wait for it")
        post(enforcing_stack, "alertmanager", {"version": "4", "alerts": [WATCHDOG]})

    trial = threading.Thread(target=send)
    trial.start()
    code, answer = paydown("connect", "alertmanager", "--wait", "60")
    trial.join()
    assert (code, answer["secret"]) == (0, "kept")
    assert answer["url"] == enforcing_stack.webhook_url("alertmanager")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["heard"])).total_seconds() < 120


def test_what_a_webhook_told_is_known(enforcing_stack: Stack, sources: Sources) -> None:
    body = payload("registry-push-tag-latest-first")
    assert post(enforcing_stack, "registry", body) == 202
    (event,) = body["events"]
    subject = f"{event['request']['host']}/{event['target']['repository']}:{event['target']['tag']}"
    assert sources.told("registry", [subject])[subject].value == event["target"]["digest"]
    assert sources.heard("registry") is not None


def test_a_push_that_was_lost_becomes_one_run(enforcing_stack: Stack, ledger: Ledger, tmp_path: Path) -> None:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    ledger.policy.publish({"sources": {"registry": {"expect_every_seconds": 86_400}}}, "test", datetime.now(UTC))
    with Registry(tmp_path / "registry", f"http://127.0.0.1:{free_port()}/", "secret") as registry:
        entry = {"uid": "images", "name": registry.host, "url": registry.url}
        ledger.inventory.publish({"registries": [entry]}, "test", datetime.now(UTC))
        push(registry, "team/app", "latest", "a")
        assert enforcing_stack.invoke("ReconcileSources") == {"found": 0, "trouble": []}
        digest = push(registry, "team/app", "latest", "b")
        assert enforcing_stack.invoke("ReconcileSources") == {"found": 1, "trouble": []}
        assert enforcing_stack.invoke("ReconcileSources") == {"found": 0, "trouble": []}

        def runs() -> list[Any]:
            recent = ledger.history.recent(datetime.now(UTC), limit=200, days=2)
            mine = [run for run in recent if run.toil == "clean_dangling_images"]
            return [run for run in mine if digest in json.dumps(dict(run.event))]

        assert wait_for(runs, "the run of the push", 60)
        assert len(runs()) == 1


def test_the_watch_counts_who_is_silent(enforcing_stack: Stack, ledger: Ledger, sources: Sources) -> None:
    assert sources.heard("github") is None
    ledger.policy.publish({"sources": {"github": {"expect_every_seconds": 86_400}}}, "test", datetime.now(UTC))
    assert enforcing_stack.invoke("WatchSources") == {"silent": []}


def test_the_doctor_finds_every_part_of_the_stack(enforcing_stack: Stack, ledger: Ledger, paydown: Any) -> None:
    entry = {"uid": "gone", "name": "gone", "url": f"http://127.0.0.1:{free_port()}"}
    ledger.inventory.publish({"registries": [entry]}, "test", datetime.now(UTC))
    enforcing_stack.invoke("ReconcileSources")
    code, answer = paydown("doctor")
    found = {(one["about"], one["subject"]): one for one in answer["findings"]}
    assert code == 7
    wrong = found["reach", "registry/gone"]
    assert wrong["state"] == "fault"
    assert "from here: 127.0.0.1" in wrong["text"]
    assert "by the functions at" in wrong["text"]
    assert not {key: one for key, one in found.items() if one["state"] == "unknown" and key[0] != "policy"}
    for name in ("Ingress", "Wake", "ReconcileSources", "WatchSources"):
        assert found["function", name]["state"] == found["role", name]["state"] == "fine"
    assert found["trigger", "RecoverNodeMessages"]["state"] == "fine"
    assert found["secret", f"{enforcing_stack.name}/webhooks/github"]["state"] == "fine"
    granted = [one for (about, _), one in found.items() if about == "permissions"]
    assert len(granted) > 15
    assert {one["state"] for one in granted} == {"fine"}


def test_the_doctor_finds_a_right_that_was_taken_away(enforcing_stack: Stack, paydown: Any) -> None:
    iam, role = enforcing_stack.emulator.client("iam"), enforcing_stack.resources["WatchSourcesRole"]
    document = iam.get_role_policy(RoleName=role, PolicyName="watch_sources")["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName="watch_sources")
    try:
        _, answer = paydown("doctor")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName="watch_sources", PolicyDocument=json.dumps(document))
    found = [one for one in answer["findings"] if one["about"] == "permissions" and one["state"] != "fine"]
    assert [(one["subject"], one["text"]) for one in found] == [
        ("WatchSourcesRole", "its policy watch_sources is gone")
    ]


def test_a_schedule_that_fires_is_heard_of(enforcing_stack: Stack, sources: Sources) -> None:
    """The role of the toil type lets it say so."""
    sqs = enforcing_stack.emulator.client("sqs")
    sqs.send_message(QueueUrl=enforcing_stack.queue_url("clean_registry"), MessageBody=json.dumps(SCHEDULED))
    wait_for(lambda: sources.heard("schedule_clean_registry"), "the schedule to be heard of")
