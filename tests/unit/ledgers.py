"""A ledger in memory, and a clock that only the test moves."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import unittest.mock
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.ledger import Ledger, Table

REGION = "eu-central-1"


class Clock:
    """Called, it tells the time."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def tick(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


def make_table(client: Any, name: str = "ledger") -> Ledger:
    """A ledger in a new table that has the keys and indexes of the template's."""
    keys = [("pk", "S"), ("sk", "S"), ("due_shard", "S"), ("due", "N"), ("history", "S"), ("created", "S")]
    indexes = [("due", "due_shard", "due"), ("history", "history", "created")]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, partition, sort in indexes
        ],
    )
    return Ledger(Table(name, client))


@contextlib.contextmanager
def ledger_in_moto() -> Iterator[Ledger]:
    """A ledger in memory. Threads take turns in it: moto's backends are not made for several at once."""
    from moto import mock_aws
    from moto.core.botocore_stubber import BotocoreStubber

    turn = threading.RLock()
    process = BotocoreStubber.process_request

    def in_turn(self: Any, request: Any) -> Any:
        with turn:
            return process(self, request)

    region = unittest.mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION})
    with mock_aws(), region, unittest.mock.patch.object(BotocoreStubber, "process_request", in_turn):
        yield make_table(_session().client("dynamodb"))


@functools.cache
def _session() -> Any:
    """One for all tests: it reads botocore's large descriptions of services once."""
    import boto3

    return boto3.Session()
