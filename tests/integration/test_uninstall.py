"""What `make uninstall` does, on the emulator: everything at rest, the stack gone, the ledger there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.main import main
from local.deploy import Stack
from local.emulator import REGION
from local.uninstall import arguments
from paydown.events import Sweep
from paydown.ledger import Ledger, Outcome, Reason, Status, Table
from tests.stacks import running_stack


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack of the test's own, which the command reaches as the local application describes it."""
    with running_stack(tmp_path / "stack", mode="Observe") as stack:
        (tmp_path / ".paydown").mkdir()
        description = {"endpoint_url": stack.emulator.url, "stack": stack.name, "region": REGION}
        (tmp_path / ".paydown/local.json").write_text(json.dumps(description))
        monkeypatch.chdir(tmp_path)
        yield stack


def test_the_stack_that_is_drained_is_the_one_that_is_deleted() -> None:
    assert arguments("production") == ["--stack", "paydown"]
    assert arguments("staging") == ["--stack", "paydown-staging"]
    assert arguments("local") == ["--stack", "paydown", "--region", "eu-central-1"]
    with pytest.raises(SystemExit, match="there are: local, staging, production"):
        arguments("nowhere")


def test_an_uninstall_leaves_nothing_but_the_ledger(running: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(Table(running.outputs["LedgerTable"], running.emulator.client("dynamodb")))
    now = datetime.now(UTC)
    event = Sweep(key="uninstall", at=now, rule="daily")
    made = ledger.runs.create("recover_node", "uid-1", "node/main/a", event, now, now + timedelta(hours=1), timedelta())
    run = ledger.runs.admit(made.run, now, 0, now + timedelta(hours=1), [], due=now + timedelta(hours=1))
    run = ledger.runs.move(run, Status.WAITING, now, now + timedelta(hours=1), [Reason("not_yet", "a test")])
    assert ledger.runs.holder("uid-1", now) is not None
    output = running.outputs["CommandOutput"]
    running.emulator.client("s3").put_object(Bucket=output, Key="docker-hosts/a", Body=b"x")

    assert main(["--local", "--json", "drain", "--yes", "--seconds", "60", "--by", "ann"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert (answer["at_rest"], answer["alive"], answer["leases"]) == (True, [], [])
    ended = ledger.runs.get(run.id)
    assert ended is not None
    assert (ended.status, [reason.code for reason in ended.reasons]) == (Outcome.REJECTED, ["uninstalled"])
    assert ledger.runs.holder("uid-1", datetime.now(UTC)) is None
    rules = running.emulator.client("events").list_rules()["Rules"]
    states = {rule["Name"]: rule["State"] for rule in rules}
    assert states[running.resources["RecoverNodeRule"].rsplit("/", 1)[-1]] == "DISABLED"
    assert states[running.resources["ReportOutcomeRule"].rsplit("/", 1)[-1]] == "ENABLED"

    cloudformation = running.emulator.client("cloudformation")
    cloudformation.delete_stack(StackName=running.name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        stacks = cloudformation.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
        if [one for one in stacks if one["StackName"] == running.name]:
            break
        time.sleep(0.2)
    else:
        raise AssertionError("the stack was not deleted")
    kept = ledger.runs.get(run.id)
    assert kept is not None
    assert kept.status is Outcome.REJECTED
    assert running.emulator.client("lambda").list_functions()["Functions"] == []
    assert output not in [one["Name"] for one in running.emulator.client("s3").list_buckets()["Buckets"]]
