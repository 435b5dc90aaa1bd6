"""Deployed stacks, made once for the whole session: a test puts its own events, and looks only for its own runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.deploy import Stack
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
