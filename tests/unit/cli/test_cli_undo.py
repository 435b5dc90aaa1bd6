"""`paydown undo RUN`."""

import json

import boto3

from paydown.ledger import Status
from tests.unit.toil.lamps import pushed

CALLER = "arn:aws:sts::123456789012:user/moto"


def queued(house):
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{house}-toil-switch_off_lamps")["QueueUrl"]
    return [json.loads(message["Body"]) for message in sqs.receive_message(QueueUrl=url).get("Messages", [])]


def test_an_undo_begins_a_run_that_says_who_and_why_and_wakes_it(plant, paydown, house):
    ended = plant.look()
    answer = paydown("undo", ended.id[:12], "--why", "too dark", "--stack", house, "--json")
    assert answer.code == 0
    assert (answer.data["undoes"], answer.data["by"], answer.data["why"]) == (ended.id, CALLER, "too dark")
    begun = plant.ledger.runs.get(answer.data["run"]["id"])
    assert (begun.event_type, begun.event["run_id"], begun.event["by"]) == ("UndoRequested", ended.id, CALLER)
    assert begun.target == ended.target
    assert queued(house) == [{"paydown": 1, "command": "wake", "run_id": begun.id}]


def test_asking_twice_begins_one_run(plant, paydown, house):
    ended = plant.look()
    first, second = (paydown("undo", ended.id, "--by", "ann", "--stack", house, "--json").data for _ in range(2))
    assert first["run"]["id"] == second["run"]["id"]
    assert first["by"] == "ann"


def test_a_living_run_cannot_be_undone(plant, paydown, house):
    plant.publish(mode="approve")
    held = plant.look()
    assert held.status is Status.HELD
    answer = paydown("undo", held.id, "--stack", house)
    assert (answer.code, "it can be undone when it has ended" in answer.err) == (5, True)
    assert queued(house) == []


def test_a_toil_type_that_is_switched_off_is_told_of(plant, paydown, house):
    boto3.client("sqs").delete_queue(
        QueueUrl=boto3.client("sqs").get_queue_url(QueueName=f"{house}-toil-switch_off_lamps")["QueueUrl"]
    )
    answer = paydown("undo", plant.look().id, "--stack", house)
    assert (answer.code, "is switch_off_lamps a toil type that is switched on?" in answer.err) == (0, True)


def test_an_unknown_run(plant, paydown, house):
    plant.look(pushed())
    assert paydown("undo", "ffffffffffff", "--stack", house).code == 4
