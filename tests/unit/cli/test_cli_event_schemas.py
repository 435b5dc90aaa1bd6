"""The published schema of our events: current, agreeing with what is published, and with the samples."""

import json
from pathlib import Path

import jsonschema
import pytest

from cli.schemas import schema_of
from paydown.events import EVENTS, RemediationChanged
from paydown.ledger import Outcome, Status
from paydown.ledger.outbox import transition
from paydown.ledger.table import plain

PROJECT = Path(__file__).resolve().parents[3]
PUBLISHED = json.loads((PROJECT / "docs/schemas/events.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED, format_checker=jsonschema.FormatChecker())


def envelope(change):
    detail_type = RemediationChanged.detail_type_for(change.status)
    return {"source": "paydown", "detail-type": detail_type, "detail": change.model_dump(mode="json")}


def test_the_published_schema_is_current(command):
    VALIDATOR.check_schema(PUBLISHED)
    made = schema_of("events")
    assert made == PUBLISHED == json.loads(command("schema", "events").out), (
        "paydown schema events > docs/schemas/events.json"
    )


def test_every_detail_type_is_there():
    kinds = {kind["properties"]["detail-type"]["const"] for kind in PUBLISHED["oneOf"]}
    assert kinds == set(EVENTS) | {f"Remediation {one.value}" for one in (*Status, *Outcome)}


SAMPLES = [
    path for path in sorted(PROJECT.glob("events/*/*.json")) if json.loads(path.read_text()).get("source") == "paydown"
]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_are_valid(path):
    VALIDATOR.validate(json.loads(path.read_text()))


def test_the_sample_of_the_stream_makes_a_valid_event():
    (record,) = json.loads((PROJECT / "events/publish_transitions/run_verified.json").read_text())["Records"]
    VALIDATOR.validate(envelope(transition(plain(record["dynamodb"]["NewImage"]))))


def test_what_a_run_publishes_is_valid(plant, world):
    plant.publish(mode="approve")
    held = plant.look()
    plant.ledger.runs.end(plant.ledger.runs.get(held.id), Outcome.REJECTED, plant.clock())
    changes = [transition(item) for item in plant.ledger.runs.log(held.id)]
    assert [change.status for change in changes] == ["Planned", "Held", "Rejected"]
    for change in changes:
        VALIDATOR.validate(envelope(change))


@pytest.mark.parametrize(
    "changes",
    [
        {"detail-type": "Remediation Exploded"},
        {"detail-type": "Remediation Held"},
        {"source": "aws.events"},
        {"detail": {}},
    ],
)
def test_what_is_none_of_ours_is_refused(changes):
    sample = json.loads((PROJECT / "events/report_outcome/remediation_verified.json").read_text())
    assert VALIDATOR.is_valid(sample)
    assert not VALIDATOR.is_valid({**sample, **changes})
