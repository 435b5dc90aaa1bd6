"""A table in memory behind the methods of boto3's DynamoDB client that the ledger calls.

It decides as DynamoDB does: all the writes of a transaction or none, conditions against the state before it, no two
writes to one item, unused placeholders refused, the same errors. `test_memory_table.py` compares it with moto. It is
some hundred times faster, and its `reached` lets an adversary in before and after each call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from paydown.ledger import Ledger, Table
from tests.properties.expressions import InvalidExpression, Item, Names, changed, holds

INDEXES = {"due": ("due_shard", "due"), "history": ("history", "created")}
_WRITES = 100

Key = tuple[str, str]
Reached = Callable[[str, str, Any], None]
"""Called before and after each call: (operation, `before` or `after`, its request)."""


class MemoryDynamo:
    """One table. `committed` is called with the keys of each transaction that happened, at the moment it did."""

    def __init__(self, name: str = "ledger", page: int = 1000) -> None:
        self.name = name
        self.page = page
        self.items: dict[str, dict[str, Item]] = defaultdict(dict)
        self.indexed: dict[str, dict[str, dict[Key, Item]]] = {name: defaultdict(dict) for name in INDEXES}
        self.reached: Reached = lambda operation, phase, request: None
        self.committed: Callable[[Sequence[Key]], None] = lambda keys: None

    # -- reading ------------------------------------------------------------------------------------------------------

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> dict[str, Any]:  # noqa: N803 -- boto3's
        self.reached("get", "before", [_key(Key)])
        found = self._get(_key(Key))
        self.reached("get", "after", [_key(Key)])
        return {} if found is None else {"Item": found}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803 -- boto3's
        keys = [_key(key) for key in RequestItems[self.name]["Keys"]]
        if len(keys) > 100 or len(set(keys)) < len(keys):
            raise _refused("ValidationException", "BatchGetItem", "too many keys, or one twice")
        self.reached("get_all", "before", keys)
        found = [item for key in keys if (item := self._get(key)) is not None]
        self.reached("get_all", "after", keys)
        return {"Responses": {self.name: found}, "UnprocessedKeys": {}}

    def query(
        self,
        *,
        TableName: str,  # noqa: N803 -- boto3's
        KeyConditionExpression: str,  # noqa: N803 -- boto3's
        ExpressionAttributeValues: Mapping[str, Any],  # noqa: N803 -- boto3's
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803 -- boto3's
        IndexName: str | None = None,  # noqa: N803 -- boto3's
        ConsistentRead: bool = False,  # noqa: N803 -- boto3's
        ScanIndexForward: bool = True,  # noqa: N803 -- boto3's
        Limit: int | None = None,  # noqa: N803 -- boto3's
        ExclusiveStartKey: Item | None = None,  # noqa: N803 -- boto3's
    ) -> dict[str, Any]:
        self.reached("query", "before", ExpressionAttributeValues)
        names = Names(ExpressionAttributeNames or {}, ExpressionAttributeValues)
        partition_of, sort = INDEXES[IndexName] if IndexName else ("pk", "sk")
        if IndexName and ConsistentRead:
            raise _refused("ValidationException", "Query", "no consistent reads of an index")
        candidates = self._partition(IndexName, partition_of, names, KeyConditionExpression)
        try:
            found = [item for item in candidates if holds(KeyConditionExpression, names, item)]
        except InvalidExpression as error:
            raise _refused("ValidationException", "Query", str(error)) from None
        found.sort(key=lambda item: _order(item, sort), reverse=not ScanIndexForward)
        if ExclusiveStartKey is not None:
            after = _key(ExclusiveStartKey)
            found = found[[_key(item) for item in found].index(after) + 1 :]
        most = min(self.page, Limit or self.page)
        answer: dict[str, Any] = {"Items": found[:most]}
        if len(found) > most:
            answer["LastEvaluatedKey"] = {"pk": found[most - 1]["pk"], "sk": found[most - 1]["sk"]}
        self.reached("query", "after", ExpressionAttributeValues)
        return answer

    def _get(self, key: Key) -> Item | None:
        return self.items[key[0]].get(key[1]) if key[0] in self.items else None

    def _partition(self, index: str | None, attribute: str, names: Names, condition: str) -> Iterator[Item]:
        word, _, rest = condition.partition("=")
        word, value = word.strip(), names.values[rest.split(maxsplit=1)[0]]["S"]
        if names.names.get(word, word) != attribute:
            raise _refused("ValidationException", "Query", f"{attribute} must be given")
        if index is None:
            yield from self.items.get(value, {}).values()
        else:
            yield from self.indexed[index].get(value, {}).values()

    # -- writing ------------------------------------------------------------------------------------------------------

    def update_item(
        self,
        *,
        TableName: str,  # noqa: N803 -- boto3's
        Key: Item,  # noqa: N803 -- boto3's
        UpdateExpression: str,  # noqa: N803 -- boto3's
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803 -- boto3's
        ExpressionAttributeValues: Mapping[str, Any] | None = None,  # noqa: N803 -- boto3's
    ) -> dict[str, Any]:
        self.reached("update", "before", Key)
        names = Names(ExpressionAttributeNames or {}, ExpressionAttributeValues or {})
        try:
            after = changed(UpdateExpression, names, self._get(_key(Key)), Key)
        except InvalidExpression as error:
            raise _refused("ValidationException", "UpdateItem", str(error)) from None
        self._store(_key(Key), after)
        self.committed([_key(Key)])
        self.reached("update", "after", Key)
        return {}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803 -- boto3's
        self.reached("transact", "before", TransactItems)
        writes = [(kind, write) for one in TransactItems for kind, write in one.items()]
        keys = [_key(write["Item"] if kind == "Put" else write["Key"]) for kind, write in writes]
        if not 0 < len(writes) <= _WRITES:
            raise _refused("ValidationException", "TransactWriteItems", "between 1 and 100 writes")
        if len(set(keys)) < len(keys):
            raise _refused("ValidationException", "TransactWriteItems", "multiple operations on one item")
        results = [self._result(kind, write, key) for (kind, write), key in zip(writes, keys, strict=True)]
        codes = [code for code, _ in results]
        if any(code != "None" for code in codes):
            raise _refused("TransactionCanceledException", "TransactWriteItems", "cancelled", codes)
        for (kind, _), key, (_, after) in zip(writes, keys, results, strict=True):
            if kind != "ConditionCheck":
                self._store(key, after)
        self.committed([key for (kind, _), key in zip(writes, keys, strict=True) if kind != "ConditionCheck"])
        self.reached("transact", "after", TransactItems)
        return {}

    def _result(self, kind: str, write: Mapping[str, Any], key: Key) -> tuple[str, Item | None]:
        """What a write of a transaction would come to: a code of failure or `None`, and the item after it."""
        before = self._get(key)
        names = Names(write.get("ExpressionAttributeNames", {}), write.get("ExpressionAttributeValues", {}))
        condition = write.get("ConditionExpression")
        try:
            met = condition is None or holds(condition, names, before)
            updates = kind == "Update" and met
            after = changed(write["UpdateExpression"], names, before, write["Key"]) if updates else None
        except InvalidExpression:
            return "ValidationError", None
        if not met:
            return "ConditionalCheckFailed", None
        if names.unused():
            raise _refused("ValidationException", "TransactWriteItems", f"unused: {sorted(names.unused())}")
        return "None", write["Item"] if kind == "Put" else after

    def _store(self, key: Key, item: Item | None) -> None:
        before = self._get(key)
        for index, (attribute, sort) in INDEXES.items():
            if before is not None and attribute in before:
                self.indexed[index][before[attribute]["S"]].pop(key, None)
            if item is not None and attribute in item and sort in item:
                self.indexed[index][item[attribute]["S"]][key] = item
        if item is not None:
            self.items[key[0]][key[1]] = item
        elif before is not None:
            del self.items[key[0]][key[1]]


def memory_ledger(client: MemoryDynamo) -> Ledger:
    """A ledger over this client: all of its own code, the table's too, is the real one."""
    return Ledger(Table(client.name, client))  # type: ignore[arg-type]  # it has the methods that are called


def throttled(operation: str) -> ClientError:
    """What a table answers that is asked for too much."""
    return _refused("ThrottlingException", operation, "Rate exceeded")


def _refused(code: str, operation: str, text: str, reasons: Sequence[str] = ()) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    if reasons:
        answer["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(answer, operation)


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _order(item: Item, sort: str) -> Any:
    ((kind, content),) = item[sort].items()
    return (int(content) if kind == "N" else content.encode(), _key(item))
