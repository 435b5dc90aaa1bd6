"""Deployed stacks, made once for the whole session: a test puts its own events, and looks only for its own runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from local.deploy import Stack
from local.emulator import REGION
from tests.stacks import running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every toil type enforces; whatever the functions' roles say, everything is allowed."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def enforcing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every toil type enforces, and so does the emulator: a permission that a role lacks is an error."""
    with running_stack(tmp_path_factory.mktemp("enforcing"), authorise=True) as running:
        yield running


@pytest.fixture(scope="session")
def observing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every toil type observes, with its roles enforced."""
    with running_stack(tmp_path_factory.mktemp("observing"), mode="Observe", authorise=True) as running:
        yield running


@pytest.fixture
def paydown_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[[Stack], Callable[..., Any]]:
    """For a stack, what runs a command on it with `--local --json`, and returns its exit code and its answer."""

    def run(*argv: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["--local", "--json", *argv])
        return code, json.loads(capsys.readouterr().out)

    def on(stack: Stack) -> Callable[..., tuple[int, Any]]:
        (tmp_path / ".paydown").mkdir()
        description = {"endpoint_url": stack.emulator.url, "stack": stack.name, "region": REGION}
        (tmp_path / ".paydown/local.json").write_text(json.dumps(description))
        monkeypatch.chdir(tmp_path)
        return run

    return on


@pytest.fixture
def paydown(stack: Stack, paydown_on: Callable[[Stack], Callable[..., Any]]) -> Callable[..., Any]:
    """The command, on the stack where everything is allowed."""
    return paydown_on(stack)
