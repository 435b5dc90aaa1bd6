"""The command, run in this process against a ledger in memory that has real runs in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cli.connection import Connection
from cli.main import main
from tests.unit.toil.conftest import plant, world

__all__ = ["plant", "world"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def stacks(monkeypatch) -> dict[str, dict[str, Any]]:
    """What CloudFormation tells of each stack, by name: a fake, since moto needs packages for it that we have not."""
    described: dict[str, dict[str, Any]] = {}

    class CloudFormation:
        def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 -- the client's name
            if StackName not in described:
                error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
                raise ClientError({"Error": error}, "DescribeStacks")
            return {"Stacks": [described[StackName]]}

        def get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:  # noqa: N803 -- the client's names
            assert TemplateStage == "Processed"
            self.describe_stacks(StackName)
            return {"TemplateBody": described[StackName].get("Template", {"Resources": {}})}

        def get_paginator(self, operation: str) -> Any:
            assert operation == "list_stack_resources"
            return SimpleNamespace(paginate=lambda StackName: [{"StackResourceSummaries": self._parts(StackName)}])  # noqa: N803 -- the client's name

        def _parts(self, name: str) -> list[dict[str, Any]]:
            self.describe_stacks(name)
            return described[name].get("Parts", [])

    make = Connection._make
    monkeypatch.setattr(
        Connection, "_make", lambda self, name: CloudFormation() if name == "cloudformation" else make(self, name)
    )
    return described


@pytest.fixture
def command(clock, stacks, capsys, monkeypatch) -> Callable[..., Answer]:
    """Runs a command that needs no ledger; returns its exit code and what it printed."""
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", "ledger")
    monkeypatch.delenv("PAYDOWN_STACK", raising=False)

    def run(*argv: str) -> Answer:
        capsys.readouterr()
        code = main(argv, now=clock)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture
def paydown(ledger, command) -> Callable[..., Answer]:
    """Runs a command on the ledger in memory."""
    return command


@pytest.fixture
def written(tmp_path) -> Callable[[Any], str]:
    """Writes text, or data as JSON, to a file; returns its path."""

    def write(content: Any, name: str = "document.json") -> str:
        path: Path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def house(paydown, stacks, monkeypatch) -> str:
    """A stack of that name with its queues, whose ledger is the one in memory."""
    monkeypatch.delenv("PAYDOWN_LEDGER_TABLE")
    sqs = boto3.client("sqs")
    for name in ("house-dead", "house-rule-dead", "house-toil-switch_off_lamps"):
        sqs.create_queue(QueueName=name)
    outputs = {
        "LedgerTable": "ledger",
        "DeadLetters": "arn:aws:sqs:eu-central-1:123456789012:house-dead",
        "RuleDeadLetters": "arn:aws:sqs:eu-central-1:123456789012:house-rule-dead",
    }
    parameters = {"SwitchOffLampsMode": "Enforce", "RecoverNodeMode": "Off", "MemorySize": "512"}
    stacks["house"] = {
        "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }
    return "house"
