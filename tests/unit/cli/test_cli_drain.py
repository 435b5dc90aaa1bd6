"""`paydown drain`: what an uninstall does before the stack goes."""

from __future__ import annotations

import json
from datetime import timedelta

import boto3
import pytest

from cli import drain, toils
from cli import half_done as half_done_steps
from cli.connection import Connection
from paydown.errors import PermanentError, RetryableError
from paydown.ledger import Outcome, Status
from paydown.plan import Hazard
from tests.unit.toil.lamps import SwitchOffLamps, pushed

RULE = "house-SwitchOffLampsRule-1"


class CloudFormation:
    """What it tells of the stack `house`."""

    def __init__(self, described):
        self.described = described

    def describe_stacks(self, StackName):  # noqa: N803 -- the client's name
        return {"Stacks": [self.described[StackName]]}

    def get_paginator(self, _):
        return self

    def paginate(self, StackName):  # noqa: N803 -- likewise
        names = {"SwitchOffLampsRule": RULE, "SwitchOffLampsQueue": "q", "WakeEveryMinute": "w"}
        yield {
            "StackResourceSummaries": [
                {"LogicalResourceId": name, "PhysicalResourceId": id}
                for name, id in {**names, "ReportOutcomeRule": "r", "ReportOutcomeQueue": "o"}.items()
            ]
        }


@pytest.fixture
def site(plant, world, clock, house, stacks, monkeypatch):
    """The stack, whose functions work while the command waits."""
    monkeypatch.setattr(toils, "toil_type", lambda name: SwitchOffLamps)
    monkeypatch.setattr(half_done_steps, "toil_type", lambda name: SwitchOffLamps)
    make = Connection._make
    monkeypatch.setattr(
        Connection, "_make", lambda self, name: CloudFormation(stacks) if name == "cloudformation" else make(self, name)
    )
    boto3.client("events").put_rule(Name=RULE, EventPattern="{}")
    boto3.client("s3").create_bucket(Bucket="output", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    boto3.client("s3").put_object(Bucket="output", Key="docker-hosts/1", Body=b"x")
    stacks["house"]["Outputs"].append({"OutputKey": "CommandOutput", "OutputValue": "output"})
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="house-toil-switch_off_lamps")["QueueUrl"]

    def work(seconds):
        clock.tick(seconds * 10)
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            plant.worker().handle(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        for row in list(plant.ledger.runs.due(clock())):
            plant.worker().handle({"paydown": 1, "command": "wake", "run_id": row["id"]})

    monkeypatch.setattr(drain, "sleep", work)
    return plant


def half_done(site, world, clock):
    """A run that has switched the desk's lamp off and waits for the other one."""
    world.burning = {"desk", "late-1"}
    world.hazards = {"desk": Hazard.REVERSIBLE}
    world.busy_until["late-1"] = clock() + timedelta(hours=2)
    run = site.look()
    assert (run.status, world.burning) == (Status.WAITING, {"late-1"})
    return run


def state_of_rule():
    return boto3.client("events").describe_rule(Name=RULE)["State"]


def test_an_idle_stack_is_at_rest_at_once(site, paydown):
    answer = paydown("drain", "--yes", "--stack", "house", "--json")
    assert (answer.code, answer.data["at_rest"], answer.data["alive"]) == (0, True, [])
    assert [stop.scope for stop in site.ledger.switches.all()] == ["*"]
    assert state_of_rule() == "DISABLED"
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="output")
    assert answer.data["table"] == "ledger"


def test_what_is_half_done_is_taken_back_and_the_lease_given_back(site, world, clock, paydown):
    run = half_done(site, world, clock)
    answer = paydown("drain", "--yes", "--stack", "house", "--by", "ann")
    assert answer.code == 0, answer
    assert "switch_off lamp/desk" in answer.out
    assert world.burning == {"desk", "late-1"}, "lit again"
    ended = site.ledger.runs.get(run.id)
    assert (ended.status, site.codes(ended)) == (Outcome.REJECTED, ["uninstalled"])
    assert ended.evidence["left"] == ["switch_off lamp/desk"]
    assert site.ledger.runs.holder(run.target, clock()) is None
    assert list(site.ledger.runs.alive()) == []
    assert [stop.scope for stop in site.ledger.switches.all()] == ["*"], "nothing begins while the stack goes"


def test_what_cannot_be_taken_back_needs_a_person(site, world, clock, paydown):
    run = half_done(site, world, clock)
    world.needed = {"desk"}
    answer = paydown("drain", "--yes", "--stack", "house", "--json")
    assert (answer.code, answer.data["at_rest"]) == (5, False)
    assert answer.data["half_done"] == {run.id: ["switch_off lamp/desk"]}
    assert state_of_rule() == "ENABLED", "the stack stays, and so does what it does"
    assert "--force" in answer.err
    forced = paydown("drain", "--force", "--stack", "house", "--json")
    assert (forced.code, forced.data["half_done"]) == (0, {run.id: ["switch_off lamp/desk"]})


def test_without_a_yes_nothing_is_ended(site, world, clock, paydown):
    run = half_done(site, world, clock)
    answer = paydown("drain", "--stack", "house")
    assert answer.code == 5
    assert site.ledger.runs.get(run.id).ended is False
    assert [stop.scope for stop in site.ledger.switches.all()] == ["*"]
    assert state_of_rule() == "ENABLED"
    assert world.burning == {"late-1"}


def test_a_worker_that_acts_is_waited_for(site, world, clock, paydown):
    """It is in the middle of an action: its run is not taken from under its hands."""
    world.apply_raises = [RetryableError("later", delay=50)]
    run = site.look()
    assert run.status is Status.APPLYING
    assert paydown("drain", "--yes", "--seconds", "1", "--stack", "house").code == 5
    assert site.ledger.runs.get(run.id).ended is False
    assert paydown("drain", "--yes", "--stack", "house").code == 0
    assert site.ledger.runs.get(run.id).status is Outcome.REJECTED


def test_a_message_on_its_way_begins_nothing_while_what_is_left_is_taken_back(site, world, clock, paydown):
    half_done(site, world, clock)
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="house-toil-switch_off_lamps")["QueueUrl"]
    event = pushed("push-2", repository="rooms/one")
    command = {"paydown": 1, "command": "look", "detail_type": "ImagePushed", "target": "host/room-2"}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**command, "detail": event.model_dump(mode="json")}))
    world.switched.clear()
    assert paydown("drain", "--yes", "--stack", "house").code == 0
    assert world.switched == [], "nothing was switched off on the way"
    assert world.burning == {"desk", "late-1"}


def test_a_lease_that_a_dead_run_forgot_is_released(site, ledger, clock, paydown):
    until = int(clock().timestamp() * 1000) + 600_000
    lease = {"pk": "LEASE#room-1", "sk": "LEASE", "run": "f" * 32, "fence": 1, "until": until, "ref": "host/room-1"}
    ledger.table.transact([ledger.table.put(lease)])
    answer = paydown("drain", "--yes", "--stack", "house")
    assert answer.code == 0
    assert "host/room-1" in answer.out
    assert ledger.table.get("LEASE#room-1", "LEASE") is None


@pytest.mark.parametrize("days", [1, 40])
def test_a_run_that_failed_long_ago_and_left_something_is_taken_back(site, world, clock, paydown, days):
    world.burning, world.hazards, world.needed = {"desk", "late-1"}, {"desk": Hazard.REVERSIBLE}, {"desk"}

    def stuck(lamp):
        if lamp == "late-1":
            raise PermanentError("stuck")

    world.while_applying = stuck
    site.look()
    clock.tick(61)
    (row,) = site.ledger.runs.due(clock())
    assert site.wake(site.ledger.runs.get(row["id"])).status is Outcome.UNVERIFIED
    clock.tick(86_400 * days)
    world.needed = set()
    assert paydown("drain", "--yes", "--stack", "house").code == 0
    assert world.burning == {"desk", "late-1"}


def test_a_toil_type_without_a_queue_leaves_it_to_people(site, world, clock, paydown):
    run = half_done(site, world, clock)
    sqs = boto3.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="house-toil-switch_off_lamps")["QueueUrl"])
    answer = paydown("drain", "--yes", "--seconds", "30", "--stack", "house", "--json")
    assert (answer.code, answer.data["half_done"]) == (5, {run.id: ["switch_off lamp/desk"]})
    assert "stays half-done" in answer.err
