"""Unit tests open no sockets: `mock_aws` stands for AWS, fakes for the rest."""

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket

from tests.unit.ledgers import Clock, ledger_in_moto


@pytest.fixture(autouse=True)
def _no_sockets() -> Iterator[None]:
    disable_socket(allow_unix_socket=False)
    yield
    enable_socket()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger():
    with ledger_in_moto() as made:
        yield made
