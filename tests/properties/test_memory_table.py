"""The table in memory decides as moto's DynamoDB does, and refuses what DynamoDB refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paydown.errors import PaydownError
from paydown.ledger import ConditionFailed, Ledger, Table
from paydown.ledger.table import Write
from tests.properties.memory_table import MemoryDynamo, memory_ledger
from tests.unit.ledgers import ledger_in_moto

KEYS = [("A", "1"), ("A", "2"), ("B", "1"), ("B", "12")]
keys = st.sampled_from(KEYS)
numbers = st.integers(0, 3)
values = st.one_of(numbers, st.sampled_from(["x", "y"]), st.lists(numbers, max_size=2), st.just({"r": [1]}))
names = st.sampled_from(["count", "list", "map", "run"])
conditions: st.SearchStrategy[tuple[str | None, dict[str, Any]]] = st.one_of(
    st.just((None, {})),
    st.sampled_from(["attribute_not_exists(pk)", "attribute_exists(pk)"]).map(lambda text: (text, {})),
    st.tuples(names, values).map(lambda pair: (f"#{pair[0]} = :seen", {"seen": pair[1]})),
    st.tuples(names, numbers).map(lambda pair: (f"attribute_not_exists(pk) OR #{pair[0]} < :seen", {"seen": pair[1]})),
    st.just(("attribute_exists(#map.#r) AND #count >= :least", {"least": 1})),
    st.just(("NOT (#count <> :least) AND begins_with(#run, :x)", {"least": 1, "x": "x"})),
)
changes: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(names, values).map(lambda pair: (f"SET #{pair[0]} = :new", {"new": pair[1]})),
    st.just(("SET #count = if_not_exists(#count, :zero) + :one", {"zero": 0, "one": 1})),
    st.just(("SET #count = #count + :one REMOVE #map.#r", {"one": 1})),
    st.just(("SET #list = list_append(if_not_exists(#list, :none), :more)", {"none": [], "more": [7]})),
    st.just(("SET #map.#r = :new, #count = if_not_exists(#count, :new)", {"new": 5})),
    st.just(("SET #map = if_not_exists(#map, :nobody) REMOVE #run, #list", {"nobody": {}})),
    st.just(("ADD #count :one, #other :two", {"one": 1, "two": 2})),
    st.just(("ADD #count :one SET #run = #count", {"one": 1})),
)
items = st.dictionaries(names, values, max_size=4)
Making = Callable[[Table], Write]


@st.composite
def writes(draw: st.DrawFn) -> Making:
    (pk, sk), (condition, given_) = draw(keys), draw(conditions)
    match draw(st.sampled_from(["put", "put", "update", "update", "delete", "check"])):
        case "put":
            item = {"pk": pk, "sk": sk, **draw(items)}
            return lambda table: table.put(item, condition, **given_)
        case "update":
            change, more = draw(changes)
            return lambda table: table.update(pk, sk, change, condition, **given_, **more)
        case "delete":
            return lambda table: table.delete(pk, sk, condition, **given_)
    condition, given_ = (condition, given_) if condition else ("attribute_exists(pk)", {})
    return lambda table: table.check(pk, sk, condition, **given_)


def outcome(table: Table, transaction: list[Making]) -> PaydownError | None:
    try:
        table.transact([make(table) for make in transaction])
    except PaydownError as error:
        return error
    return None


def same(one: PaydownError | None, other: PaydownError | None) -> bool:
    """Both happened, both failed at the same conditions, or both did not happen and one says that it is invalid.

    Of a transaction with a failed condition and an invalid update, moto tells one and DynamoDB both.
    """
    if isinstance(one, ConditionFailed) and isinstance(other, ConditionFailed):
        return one.indexes == other.indexes
    return (one is None) == (other is None)


def contents(ledger: Ledger) -> dict[Any, Any]:
    found = {(item["pk"], item["sk"]): item for pk in "AB" for item in ledger.table.query(pk)}
    assert found == {(item["pk"], item["sk"]): item for item in ledger.table.get_all(KEYS)}
    return found


@pytest.fixture(scope="module")
def moto() -> Iterator[Ledger]:
    with ledger_in_moto() as made:
        yield made


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(writes(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_the_same_transactions_have_the_same_effect_as_in_moto(moto: Ledger, transactions: list[list[Making]]) -> None:
    moto.table.transact([moto.table.delete(*key) for key in KEYS])
    memory = memory_ledger(MemoryDynamo())
    for transaction in transactions:
        assert same(outcome(memory.table, transaction), outcome(moto.table, transaction))
        assert contents(memory) == contents(moto)


def test_an_index_and_a_partition_are_read_in_order_and_page_by_page() -> None:
    memory = memory_ledger(MemoryDynamo(page=2))
    table = memory.table
    for number in (30, 4, 200, 1, 5):
        row = {"pk": f"RUN#{number}", "sk": "RUN", "due_shard": "DUE#0", "due": number, "id": str(number)}
        table.transact([table.put(row), table.put({"pk": "P", "sk": f"S#{number:03}"})])
    table.transact([table.update("RUN#5", "RUN", "REMOVE #due, #due_shard")])
    due = table.query_index("due", "#pk = :shard AND #sk <= :now", {":shard": "DUE#0", ":now": 100})
    assert [item["due"] for item in due] == [1, 4, 30]
    assert [item["sk"] for item in table.query("P", newest_first=True, limit=3)] == ["S#200", "S#030", "S#005"]
    assert [item["sk"] for item in table.query("P", "S#0")] == ["S#001", "S#004", "S#005", "S#030"]
    assert [item["sk"] for item in table.query("P", since="S#005")] == ["S#005", "S#030", "S#200"]


def test_what_dynamodb_refuses_is_refused() -> None:
    """Where moto is milder than DynamoDB: unused placeholders, and a path into a map that is not there."""
    table = memory_ledger(MemoryDynamo()).table
    with pytest.raises(PaydownError, match="ValidationException"):
        table.transact([table.put({"pk": "A", "sk": "1"}, "attribute_not_exists(pk)", unused=1)])
    with pytest.raises(PaydownError, match="ValidationException"):
        table.transact([table.delete("A", "1"), table.check("A", "1", "attribute_exists(pk)")])
    with pytest.raises(PaydownError, match="ValidationError"):
        table.transact([table.update("A", "1", "SET #a.#b = :one", one=1)])
    with pytest.raises(ClientError, match="100 writes"):
        MemoryDynamo().transact_write_items(TransactItems=[])
