"""The ledger's one DynamoDB table: consistent reads, and writes that happen all together or not at all.

Every conditional write is a transaction, even a single one: its client token makes the client library's own retries
harmless, where a plain conditional write that is repeated after a lost answer fails on its own success.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paydown.errors import PaydownError, PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Write = dict[str, Any]

TRANSACTION_LIMIT = 100
"""Writes in one transaction (DynamoDB's limit)."""
_TRANSIENT = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
_TRANSACTION_ERRORS = {"TransactionCanceledException", "TransactionInProgressException"}
_TRIES = 10


class ConditionFailed(PaydownError):
    """A transaction did not happen, because the conditions of the writes at `indexes` did not hold."""

    def __init__(self, indexes: Sequence[int]) -> None:
        self.indexes = tuple(indexes)
        super().__init__(f"the conditions of writes {self.indexes} did not hold")


class Table:
    """Items are dictionaries of str, int, bool, lists and maps, with the keys `pk` and `sk`."""

    def __init__(self, name: str, client: DynamoDBClient) -> None:
        self.name = name
        self._client = client

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, read strongly consistently, or None."""
        with _Translated():
            answer = self._client.get_item(
                TableName=self.name, Key=self._item({"pk": pk, "sk": sk}), ConsistentRead=True
            )
        return plain(answer["Item"]) if "Item" in answer else None

    def get_all(self, keys: Sequence[tuple[str, str]]) -> list[Item]:
        """Those of up to 100 items that exist, read strongly consistently, in no order. An unread key is an error."""
        request: Any = {
            self.name: {"Keys": [self._item({"pk": pk, "sk": sk}) for pk, sk in keys], "ConsistentRead": True}
        }
        with _Translated():
            answer = self._client.batch_get_item(RequestItems=request)
        if answer.get("UnprocessedKeys"):
            raise RetryableError("the ledger did not answer for all keys", delay=5)
        return [plain(item) for item in answer["Responses"].get(self.name, [])]

    def query(
        self, pk: str, prefix: str = "", *, since: str = "", newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Item]:
        """The items of a partition, read consistently, page by page.

        Those whose sort key starts with `prefix`, or those from `since` on.
        """
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = "pk = :pk AND begins_with(sk, :prefix)", {":pk": pk, ":prefix": prefix}
        elif since:
            condition, values = "pk = :pk AND sk >= :since", {":pk": pk, ":since": since}
        yield from self._pages(
            limit,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=self._item(values),
            ConsistentRead=True,
            ScanIndexForward=not newest_first,
        )

    def query_index(
        self,
        index: str,
        condition: str,
        values: Mapping[str, Any],
        *,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[Item]:
        """The items of an index that meet a key condition; an index is only eventually consistent."""
        names = {
            "#pk": {"due": "due_shard", "history": "history"}[index],
            "#sk": {"due": "due", "history": "created"}[index],
        }
        yield from self._pages(
            limit,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=self._item(values),
            ExpressionAttributeNames={key: value for key, value in names.items() if key in condition},
            ScanIndexForward=not newest_first,
        )

    def _pages(self, limit: int | None, **request: Any) -> Iterator[Item]:
        left = limit
        while True:
            if left is not None:
                request["Limit"] = left
            with _Translated():
                answer = self._client.query(TableName=self.name, **request)
            for item in answer["Items"]:
                yield plain(item)
            if left is not None:
                left -= len(answer["Items"])
            if "LastEvaluatedKey" not in answer or left == 0:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def add(self, pk: str, sk: str, name: str, amount: int, *, expires: int) -> None:
        """Add to a number of an item, which may be missing. Done twice if an answer is lost: for statistics."""
        with _Translated():
            self._client.update_item(
                TableName=self.name,
                Key=self._item({"pk": pk, "sk": sk}),
                UpdateExpression="ADD #name :amount SET #expires = :expires",
                ExpressionAttributeNames={"#name": name, "#expires": "expires"},
                ExpressionAttributeValues=self._item({":amount": amount, ":expires": expires}),
            )

    def put(self, item: Item, condition: str | None = None, **values: Any) -> Write:
        """A write for `transact`: put the item if the condition holds."""
        return self._write("Put", {"Item": self._item(item)}, condition, values)

    def update(self, pk: str, sk: str, change: str, condition: str | None = None, **values: Any) -> Write:
        """A write for `transact`: an update expression. Values are named by keyword (`due=5` is `:due`).

        Attribute names are written `#name`, so that no reserved word is in the way.
        """
        return self._write(
            "Update", {"Key": self._item({"pk": pk, "sk": sk}), "UpdateExpression": change}, condition, values
        )

    def delete(self, pk: str, sk: str, condition: str | None = None, **values: Any) -> Write:
        """A write for `transact`: delete the item if the condition holds."""
        return self._write("Delete", {"Key": self._item({"pk": pk, "sk": sk})}, condition, values)

    def check(self, pk: str, sk: str, condition: str, **values: Any) -> Write:
        """A write for `transact` that changes nothing, and fails the transaction unless the condition holds."""
        return self._write("ConditionCheck", {"Key": self._item({"pk": pk, "sk": sk})}, condition, values)

    def transact(self, writes: Sequence[Write]) -> None:
        """Do all the writes, or none. Raises ConditionFailed; waits out conflicts with other transactions."""
        from botocore.exceptions import ClientError

        for attempt in range(_TRIES):
            try:
                with _Translated():
                    self._client.transact_write_items(TransactItems=writes)  # type: ignore[arg-type]  # built above
            except ClientError as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                if failed := [index for index, code in enumerate(codes) if code == "ConditionalCheckFailed"]:
                    raise ConditionFailed(failed) from None
                if codes and not _TRANSIENT & set(codes):
                    raise PermanentError(f"the ledger refuses a write: {', '.join(sorted(set(codes)))}") from error
            else:
                return
            time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 -- jitter, not a secret
        raise RetryableError("the ledger is contended", delay=10)

    def _write(self, kind: str, write: Write, condition: str | None, values: Mapping[str, Any]) -> Write:
        write["TableName"] = self.name
        if condition:
            write["ConditionExpression"] = condition
        expressions = f"{condition or ''} {write.get('UpdateExpression', '')}"
        names = {word: word[1:] for word in _names_in(expressions)}
        if names:
            write["ExpressionAttributeNames"] = names
        if values:
            write["ExpressionAttributeValues"] = {f":{name}": encode(value) for name, value in values.items()}
        return {kind: write}

    def _item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: encode(value) for name, value in item.items() if value is not None}


def _names_in(expression: str) -> list[str]:
    return re.findall(r"#\w+", expression)


def encode(value: Any) -> dict[str, Any]:
    """A value as DynamoDB's wire format tells its type.

    boto3's own serializer does the same for more types, but comes with a package whose import takes a sixth of a cold
    start.
    """
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case None:
            return {"NULL": True}
        case list() | tuple():
            return {"L": [encode(one) for one in value]}
        case dict():
            return {"M": {name: encode(one) for name, one in value.items()}}
    raise TypeError(f"the ledger stores no {type(value).__name__}")


def decode(value: Mapping[str, Any]) -> Any:
    """The value that `encode` made, or another writer's equal one."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return int(content)
        case "NULL":
            return None
        case "L":
            return [decode(one) for one in content]
        case "M":
            return plain(content)
    return content


def plain(item: Mapping[str, Any]) -> Item:
    """An item as plain data."""
    return {name: decode(value) for name, value in item.items()}


class _Translated:
    """Errors of the client come out as ours; a transaction that was cancelled passes, since it tells why."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from botocore.exceptions import BotoCoreError, ClientError

        from paydown.clients.aws import error_code, translate

        if isinstance(error, (BotoCoreError, ClientError)) and error_code(error) not in _TRANSACTION_ERRORS:
            raise translate("the ledger", error) from error
