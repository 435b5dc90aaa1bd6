"""Items on the wire, and errors of DynamoDB as ours."""

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from paydown.errors import PermanentError, RetryableError
from paydown.ledger.table import ConditionFailed, decode, encode

VALUES = ["", "text", 0, -7, 10**30, True, False, None, [], ["a", 1, [True]], {}, {"a": {"b": [None]}}, b"\x00"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_written_as_boto3_writes_them_and_come_back(value):
    assert encode(value) == TypeSerializer().serialize(value)
    assert decode(encode(value)) == value
    again = TypeDeserializer().deserialize(encode(value))
    assert (again.value if isinstance(value, bytes) else again) == value


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(TypeError, match="float"):
        encode(1.5)


def test_a_transaction_happens_as_a_whole_or_not_at_all(ledger):
    table = ledger.table
    table.transact([table.put({"pk": "a", "sk": "1", "n": 1})])
    with pytest.raises(ConditionFailed) as failed:
        table.transact(
            [
                table.put({"pk": "b", "sk": "1"}),
                table.put({"pk": "a", "sk": "1", "n": 2}, "attribute_not_exists(pk)"),
                table.check("c", "1", "attribute_exists(pk)"),
            ]
        )
    assert failed.value.indexes == (1, 2)
    assert table.get("b", "1") is None
    assert table.get("a", "1") == {"pk": "a", "sk": "1", "n": 1}


def test_a_query_reads_page_by_page(ledger):
    table = ledger.table
    for number in range(30):
        table.transact([table.put({"pk": "p", "sk": f"{number:02}", "text": "x" * 100_000})])
    assert [item["sk"] for item in table.query("p")] == [f"{number:02}" for number in range(30)]
    assert [item["sk"] for item in table.query("p", "2", newest_first=True, limit=3)] == ["29", "28", "27"]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, RetryableError),
        ("InternalServerError", 500, RetryableError),
        ("AccessDeniedException", 400, PermanentError),
        ("ResourceNotFoundException", 400, PermanentError),
    ],
)
def test_errors_come_out_as_ours(ledger, monkeypatch, code, status, kind):
    from botocore.exceptions import ClientError

    def refuse(**_):
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetItem")

    monkeypatch.setattr(ledger.table._client, "get_item", refuse)
    with pytest.raises(kind, match="the ledger"):
        ledger.table.get("a", "b")


def test_a_conflict_with_another_transaction_is_waited_out(ledger, monkeypatch):
    from botocore.exceptions import ClientError

    transact = ledger.table._client.transact_write_items
    conflicts = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    tries = []

    def busy(**request):
        tries.append(request)
        if len(tries) < 4:
            raise ClientError(
                {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": conflicts},
                "TransactWriteItems",
            )
        return transact(**request)

    monkeypatch.setattr(ledger.table._client, "transact_write_items", busy)
    ledger.table.transact([ledger.table.put({"pk": "a", "sk": "1"})])
    assert len(tries) == 4
    assert ledger.table.get("a", "1") is not None
