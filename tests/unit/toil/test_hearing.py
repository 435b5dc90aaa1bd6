"""AWS's own events leave word that their source was heard of."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from paydown.clients import aws
from paydown.errors import InvalidEvent
from paydown.ledger.sources_seen import Sources, silences
from paydown.toil.hearing import source_of
from tests.envelopes import SCHEDULED
from tests.fixtures import payload
from tests.unit.toil.lamps import SwitchOffLamps, pushed

DELETED = payload("ecr-image-action-delete")
PUSHED = {"source": "paydown", "detail-type": "ImagePushed", "detail": pushed().model_dump(mode="json")}


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """What an event is about does not matter here."""
    monkeypatch.setattr(SwitchOffLamps, "targets", lambda event, inventory: [])


@pytest.fixture
def sources(plant):
    return Sources(plant.ledger.table, plant.ledger.table._client)


class Counted:
    """A client of DynamoDB that counts, or refuses, its writes of one item."""

    def __init__(self, client):
        self._client, self.exceptions, self.puts, self.broken = client, client.exceptions, 0, False

    def put_item(self, **write):
        self.puts += 1
        if self.broken:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, "PutItem")
        return self._client.put_item(**write)


@pytest.fixture
def client(plant, monkeypatch):
    counted, make = Counted(plant.ledger.table._client), aws.client
    monkeypatch.setattr(aws, "client", lambda name: counted if name == "dynamodb" else make(name))
    return counted


def test_a_schedule_is_heard_of_by_its_toil_type_and_ecr_by_whatever_it_says(plant, sources, clock, client):
    plant.worker().handle(SCHEDULED)
    plant.worker().handle(DELETED)
    assert sources.heard("schedule_switch_off_lamps") == sources.heard("ecr") == clock()
    assert sources.heard("cloudwatch") is None


def test_an_event_of_ours_is_heard_of_by_ingress_alone(plant, client):
    plant.worker().handle(PUSHED)
    assert client.puts == 0


def test_what_cannot_be_understood_is_not_heard_of(plant, sources, client):
    with pytest.raises(InvalidEvent):
        plant.worker().handle({**SCHEDULED, "resources": []})
    assert sources.heard("schedule_switch_off_lamps") is None


def test_a_storm_of_events_is_one_write_a_minute(plant, sources, clock, client):
    for _ in range(100):
        plant.worker().handle(DELETED)
    assert client.puts == 1
    clock.tick(61)
    plant.worker().handle(DELETED)
    assert (client.puts, sources.heard("ecr")) == (2, clock())


def test_an_event_is_worked_on_though_it_cannot_be_noted(plant, client, world):
    client.broken = True
    (run,) = plant.worker().handle(SCHEDULED)
    assert run.event_type == "Sweep"
    assert client.puts == 1


def test_a_schedule_that_went_silent_is_noticed(plant, sources, clock, client):
    plant.ledger.policy.publish(
        {"sources": {"schedule_switch_off_lamps": {"expect_every_seconds": 600}}}, "test", clock()
    )
    plant.worker().handle(SCHEDULED)

    def silent():
        (one,) = silences(plant.ledger.policy.current(), sources, clock())
        return one.silent

    clock.tick(600)
    assert not silent()
    clock.tick(61)
    assert silent()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("aws.ecr", "ecr"),
        ("aws.inspector2", "inspector"),
        ("aws.cloudwatch", "cloudwatch"),
        ("aws.events", "schedule_t"),
        ("paydown", None),
        ("x", None),
    ],
)
def test_names(source, name):
    assert source_of({"source": source}, "t") == name
