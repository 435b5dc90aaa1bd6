"""The `paydown` command against a deployed stack, reached as the local application describes it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import wait_for

POLICY = {"toils": {"clean_dangling_images": {"mode": "observe"}, "recover_node": {"mode": "observe"}}}
SWEEP = {
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "id": "to-be-replaced",
    "time": "2026-11-22T02:00:00Z",
    "resources": ["arn:aws:events:eu-central-1:000000000000:rule/daily"],
    "detail": {},
}


@pytest.fixture
def published(paydown: Callable[..., Any], tmp_path: Path) -> None:
    """A policy, and an inventory with nothing in it: every event ends as Skipped."""
    for kind, document in (("policy", POLICY), ("inventory", {"hosts": []})):
        (tmp_path / f"{kind}.json").write_text(json.dumps(document))
        code, answer = paydown(kind, "publish", f"{kind}.json")
        assert (code, answer["kind"]) == (0, kind)


def ended(paydown: Callable[..., Any], key: str) -> list[dict[str, Any]]:
    """The ended runs of an event."""
    _, answer = paydown("runs", "--status", "ended", "--since", "1h")
    return [run for run in answer["runs"] if run["event"]["key"] == key]


def test_an_event_on_the_bus_becomes_a_run_that_can_be_explained(published, paydown, tmp_path):
    detail = {
        "key": f"cli-{uuid.uuid4()}",
        "at": "2026-11-22T03:00:00Z",
        "registry": "images.example.org",
        "repository": "nobody/builds-this",
        "digest": "sha256:" + "0" * 64,
    }
    envelope = {"source": "paydown", "detail-type": "ImagePushed", "detail": detail}
    (tmp_path / "event.json").write_text(json.dumps(envelope))
    assert paydown("send", "event.json")[0] == 0

    def cleaned():
        return [run for run in ended(paydown, detail["key"]) if run["toil"] == "clean_dangling_images"]

    (run,) = wait_for(cleaned, "the run of the event", 180)
    assert run["status"] == "Skipped"
    code, story = paydown("explain", run["id"][:12])
    assert code == 0
    assert story["event"]["detail"]["repository"] == "nobody/builds-this"
    assert [reason["code"] for reason in story["reasons"]] == ["no_target"]
    assert [entry["status"] for entry in story["transitions"]] == ["Skipped"]


def test_an_event_of_aws_reaches_one_toil_type_through_its_queue(published, paydown, tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps({**SWEEP, "id": str(uuid.uuid4())}))
    assert paydown("send", "sweep.json")[0] == 2
    code, sent = paydown("send", "sweep.json", "--toil", "clean_dangling_images")
    assert (code, sent["sent_to"]) == (0, "queue")
    (run,) = wait_for(lambda: ended(paydown, sent["key"]), "the run of the sweep", 180)
    assert run["toil"] == "clean_dangling_images"
    assert paydown("send", "sweep.json", "--toil", "no_such_toil")[0] == 4


def test_status_stop_and_resume(published, paydown):
    code, state = paydown("status")
    toils = {toil["toil"]: toil for toil in state["toils"]}
    assert code == 0
    assert (toils["recover_node"]["deployed"], toils["recover_node"]["mode"]) == ("Enforce", "observe")
    assert set(state["dead_letters"]) == {"messages", "rule_deliveries"}
    assert None not in state["dead_letters"].values()
    code, stopped = paydown("stop", "recover_node", "--why", "a test of the command")
    try:
        assert (code, stopped["by"].startswith("arn:aws:")) == (0, True)
        assert paydown("status", "--check")[0] == 7
    finally:
        code, resumed = paydown("resume", "recover_node")
    assert (code, resumed["was_stopped"]) == (0, True)
    assert "recover_node" not in {one["scope"] for one in resumed["stops"]}


def test_documents_come_back_as_they_were_published(published, paydown):
    code, shown = paydown("policy", "show")
    assert (code, shown["document"]) == (0, POLICY)
    again = paydown("policy", "publish", "policy.json", "--expect", str(shown["version"]))
    assert (again[0], again[1]["published"]) == (0, False)
    assert paydown("policy", "publish", "policy.json", "--expect", str(shown["version"] + 1))[0] == 5


def test_a_stack_that_is_not_there(paydown):
    assert paydown("runs", "--stack", "elsewhere")[0] == 4
