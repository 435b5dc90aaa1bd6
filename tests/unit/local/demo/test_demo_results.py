"""What the demo writes and prints."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.demo import toil_types
from local.demo.results import Result, table, write
from paydown.events import NodeNotReady
from paydown.ledger import Outcome, Reason, Run

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
EVENT = NodeNotReady(key="k", at=NOW, cluster="demo", node="worker-1")


def ended(outcome: Outcome, *reasons: Reason, **evidence: object) -> Run:
    run = Run.begin("recover_node", "uid", "node/demo/worker-1", EVENT, NOW)
    return replace(run, status=outcome, updated=NOW + timedelta(seconds=2.34), reasons=reasons, evidence=evidence)


def test_a_result_is_right_only_without_flaws() -> None:
    run = ended(Outcome.VERIFIED, evicted=3)
    good = Result.of(run, "alert", ("Verified",), {"ready": 4})
    assert good.right
    assert (good.seconds, good.evidence) == (2.3, {"evicted": 3, "ready": 4})
    assert not Result.of(run, "alert", ("Verified",), flaws=["cordoned"]).right
    assert not Result.of(run, "alert", ("Skipped",)).right


def test_the_file_is_a_list_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "new" / "demo.json"
    write([Result.of(ended(Outcome.SKIPPED, Reason("nothing_to_do", "it is Ready")), "alert", ("Skipped",))], path)
    [entry] = json.loads(path.read_text())
    assert {name: entry[name] for name in ("toil", "event", "target", "outcome", "seconds", "evidence")} == {
        "toil": "recover_node",
        "event": "alert",
        "target": "node/demo/worker-1",
        "outcome": "Skipped",
        "seconds": 2.3,
        "evidence": {"why": "it is Ready"},
    }


def test_the_table_says_what_is_wrong() -> None:
    run = ended(Outcome.FAILED, Reason("permanent", "no such cluster"))
    text = table([Result.of(run, "alert", ("Verified",), flaws=["worker-1 is still cordoned"])])
    assert "WRONG: expected Verified; worker-1 is still cordoned; no such cluster" in text


def test_the_toil_types_are_those_of_the_template() -> None:
    assert {"clean_dangling_images", "recover_node", "report_outcome", "triage_ticket"} <= set(toil_types())
