from __future__ import annotations

from pathlib import Path

import pytest

from paydown import sources


def test_each_file_beside_the_shared_ones_is_a_sender():
    files = {path.stem for path in Path(sources.__file__).parent.glob("*.py")}
    assert files - {"__init__", "aws", "aws_own", "ecr", "webhook"} == set(sources.SENDERS)


@pytest.mark.parametrize("name", sources.SENDERS)
def test_each_sender_verifies_and_reads(name):
    sender = sources.sender(name)
    assert callable(sender.verify)
    assert callable(sender.read)


@pytest.mark.parametrize(
    "name", ["", "aws", "aws_own", "ecr", "webhook", "../registry", "registry/", "Registry", "__init__"]
)
def test_nothing_else_is_a_sender(name):
    assert sources.sender(name) is None
