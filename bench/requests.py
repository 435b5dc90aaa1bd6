"""What one step of a run asks of DynamoDB: the requests of the real code, and the capacity that each item costs.

The code runs against a table in memory (moto), whose client is listened to. Capacity follows DynamoDB's rules: a write
costs one unit for each begun KB of the larger item, before or after, twice that in a transaction; a consistent read one
for each begun 4 KB; and each item that an index holds is written there too, twice when its key in the index changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from paydown.ledger import Table

INDEXES = {"due": ("due_shard", "due"), "history": ("history", "created")}


@dataclass
class Request:
    """One request: its operation, its units by partition (`write:` or `read:` and a key), and the items it locks."""

    operation: str
    units: dict[str, float] = field(default_factory=dict)
    locks: frozenset[tuple[str, str]] = frozenset()
    failed: bool = False

    def add(self, partition: str, units: float) -> None:
        """Count units on a partition."""
        self.units[partition] = self.units.get(partition, 0) + units


def size(item: Mapping[str, Any]) -> int:
    """The bytes of an item in wire format, as DynamoDB counts them."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return len(content.lstrip("-")) // 2 + 2
        case "L":
            return 3 + sum(1 + _size(one) for one in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in content.items())
    return 1


@contextmanager
def listening(ledger: Table) -> Iterator[list[Request]]:
    """The requests that are made to the ledger's table meanwhile, in their order."""
    client, table = ledger._client, ledger.name  # noqa: SLF001 -- the code under measurement makes its own requests
    seen: list[Request] = []
    pending: list[tuple[Request, dict[tuple[str, str], dict[str, Any]], Mapping[str, Any]]] = []
    quiet = [False]

    def look(key: tuple[str, str]) -> dict[str, Any]:
        quiet[0] = True
        try:
            wire = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
            found: dict[str, Any] = client.get_item(TableName=table, Key=wire, ConsistentRead=True).get("Item", {})
        finally:
            quiet[0] = False
        return found

    def before(params: Mapping[str, Any], model: Any, **_: object) -> None:
        if not quiet[0]:
            request = Request(model.name)
            pending.append((request, {key: look(key) for key in _written(model.name, params)}, params))
            request.locks = frozenset(pending[-1][1])

    def after(parsed: Mapping[str, Any], model: Any, **_: object) -> None:
        if quiet[0]:
            return
        request, old, params = pending.pop()
        request.failed = "Error" in parsed
        if request.locks:
            for key, item in old.items():
                _count_write(request, key, item, look(key), twice=model.name == "TransactWriteItems")
        else:
            _count_read(request, params, parsed)
        seen.append(request)

    events = client.meta.events
    handlers: list[tuple[str, Callable[..., None]]] = [
        ("before-parameter-build.dynamodb", before),
        ("after-call.dynamodb", after),
    ]
    for name, handler in handlers:
        events.register(name, handler)
    try:
        yield seen
    finally:
        for name, handler in handlers:
            events.unregister(name, handler)


def _written(operation: str, params: Mapping[str, Any]) -> list[tuple[str, str]]:
    if operation == "TransactWriteItems":
        parts = [part for write in params["TransactItems"] for part in write.values()]
    elif operation in ("UpdateItem", "PutItem", "DeleteItem"):
        parts = [params]
    else:
        return []
    keys = [part.get("Item") or part["Key"] for part in parts]
    return [(key["pk"]["S"], key["sk"]["S"]) for key in keys]


def _count_write(
    request: Request, key: tuple[str, str], old: Mapping[str, Any], new: Mapping[str, Any], *, twice: bool
) -> None:
    largest = max(size(old), size(new), 1)
    request.add(f"write:{key[0]}", math.ceil(largest / 1024) * (2 if twice else 1))
    if request.failed:
        return
    for index, (partition, sort) in INDEXES.items():
        before, after = ((item.get(partition), item.get(sort)) for item in (old, new))
        held = [one for one in (before, after) if None not in one]
        if old == new or not held:
            continue
        # A changed key is a deletion and a put; a changed item under the same key one write.
        for partition_key, _ in held if before != after else held[-1:]:
            request.add(f"write:{index}:{partition_key['S']}", 1)


def _count_read(request: Request, params: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
    """What is not there costs one unit too."""
    if request.operation == "Query":
        total = sum(size(item) for item in parsed.get("Items", []))
        partition = next(value["S"] for value in params["ExpressionAttributeValues"].values() if "#" in value["S"])
        request.add(f"read:{partition}", max(1, math.ceil(total / 4096)))
        return
    found = [*([parsed["Item"]] if "Item" in parsed else [])]
    found += [item for items in parsed.get("Responses", {}).values() for item in items]
    sizes = {(item["pk"]["S"], item["sk"]["S"]): size(item) for item in found}
    asked = [params["Key"]] if "Key" in params else next(iter(params["RequestItems"].values()))["Keys"]
    for key in asked:
        bytes_read = sizes.get((key["pk"]["S"], key["sk"]["S"]), 0)
        request.add(f"read:{key['pk']['S']}", max(1, math.ceil(bytes_read / 4096)))
