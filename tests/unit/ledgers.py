"""A ledger in memory, and a clock that only the test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from paydown.ledger import Ledger, Table


class Clock:
    """Called, it tells the time."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def tick(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


@contextlib.contextmanager
def ledger_in_moto() -> Iterator[Ledger]:
    """A ledger whose table has the keys and indexes of the template's."""
    import boto3
    from moto import mock_aws

    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": kind}
                for name, kind in [
                    ("pk", "S"),
                    ("sk", "S"),
                    ("due_shard", "S"),
                    ("due", "N"),
                    ("history", "S"),
                    ("created", "S"),
                ]
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": name,
                    "KeySchema": [
                        {"AttributeName": partition, "KeyType": "HASH"},
                        {"AttributeName": sort, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
                for name, partition, sort in [("due", "due_shard", "due"), ("history", "history", "created")]
            ],
        )
        yield Ledger(Table("ledger", client))
