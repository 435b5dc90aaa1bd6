"""The ledger's stream as events: each transition once in order, nothing else."""

import json

import pytest

from functions.publish_transitions import app
from paydown.errors import RetryableError
from paydown.events import RemediationChanged
from paydown.ledger.table import encode
from tests.unit.toil.lamps import pushed


@pytest.fixture
def published(monkeypatch):
    events = []
    monkeypatch.setattr(app.bus, "put", events.extend)
    return events


def records(items, kind="INSERT"):
    return {
        "Records": [
            {
                "eventName": kind,
                "dynamodb": {
                    "SequenceNumber": str(number),
                    "NewImage": {name: encode(value) for name, value in item.items()},
                },
            }
            for number, item in enumerate(items)
        ]
    }


def everything(plant):
    """All the items that a run leaves in the ledger, in the order of their keys."""
    return list(plant.ledger.table.query(f"RUN#{plant.look().id}"))


def test_each_transition_of_a_run_becomes_an_event(plant, published):
    assert app.handler(records(everything(plant))) == {"batchItemFailures": []}
    assert [kind for kind, _ in published] == [
        "Remediation Planned",
        "Remediation Applying",
        "Remediation Verifying",
        "Remediation Verified",
    ]
    last = RemediationChanged.model_validate_json(published[-1][1])
    assert (last.toil, last.target, last.cause) == ("switch_off_lamps", "host/room-1", pushed().key)
    assert last.evidence == {"dark": 2}
    assert last.actions == 2
    keys = [json.loads(detail)["key"] for _, detail in published]
    assert len(set(keys)) == 4


def test_changes_and_removals_of_items_say_nothing(plant, published):
    items = everything(plant)
    assert app.handler(records(items, "MODIFY")) == {"batchItemFailures": []}
    assert app.handler(records(items, "REMOVE")) == {"batchItemFailures": []}
    assert published == []


def test_from_the_first_failure_on_everything_comes_back(plant, published, monkeypatch):
    items = [item for item in everything(plant) if item["sk"].startswith("LOG#")]
    put = app.bus.put

    def failing(pairs):
        if len(published) == 2:
            raise RetryableError("the bus is away")
        put(pairs)

    monkeypatch.setattr(app.bus, "put", failing)
    assert app.handler(records(items)) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert len(published) == 2


def test_outcomes_are_counted_by_toil_type_alone(plant, published, capsys):
    app.handler(records(everything(plant)))
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [metric.get("Verified") for metric in metrics] == [[1.0]]
    assert metrics[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["toil"]]
    assert metrics[0]["toil"] == "switch_off_lamps"


def test_evidence_that_the_bus_would_not_take_stays_in_the_ledger(plant, published):
    (entry,) = [item for item in everything(plant) if item["sk"] == "LOG#000004"]
    entry["evidence"] = json.dumps({"list": ["x" * 1000] * 100})
    app.handler(records([entry]))
    event = RemediationChanged.model_validate_json(published[0][1])
    assert event.evidence == {"too_large": len(entry["evidence"])}
