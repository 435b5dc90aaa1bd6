"""`paydown stop` and `paydown resume`."""

import json
from datetime import timedelta

import boto3

from cli.connection import Connection
from paydown.ledger import Outcome, Status
from tests.unit.toil.lamps import pushed

CALLER = "arn:aws:sts::123456789012:user/moto"


def test_a_stopped_toil_type_begins_nothing_until_it_is_resumed(paydown, plant, world, clock):
    answer = paydown("stop", "switch_off_lamps", "--why", "smoke")
    assert answer.out.startswith("stopped: switch_off_lamps.")
    run = plant.look()
    assert (run.status, world.switched) == (Status.DEFERRED, [])
    assert f"by {CALLER}" in run.reasons[0].text
    assert paydown("resume", "switch_off_lamps").out == "resumed: switch_off_lamps\n"
    clock.tick(61)
    assert plant.wake(run).status is Outcome.VERIFIED


def test_without_a_name_everything_is_stopped(paydown, plant):
    answer = paydown("stop", "--why", "smoke", "--by", "ann", "--json")
    stop = {"scope": "*", "by": "ann", "at": "2026-11-22T03:00:00+00:00", "why": "smoke"}
    assert answer.data == {"stopped": "*", "by": "ann", "why": "smoke", "stops": [stop]}
    assert plant.look().status is Status.DEFERRED


def test_resume_takes_one_switch_back_and_tells_of_the_others(paydown, plant):
    paydown("stop", "--why", "smoke", "--by", "ann")
    paydown("stop", "switch_off_lamps", "--why", "more smoke", "--by", "bob")
    answer = paydown("resume")
    assert answer.out.splitlines() == [
        "resumed: everything",
        "still stopped: switch_off_lamps, by bob since 2026-11-22T03:00:00+00:00: more smoke",
    ]
    again = paydown("resume", "--json").data
    assert (again["was_stopped"], [one["scope"] for one in again["stops"]]) == (False, ["switch_off_lamps"])


def test_a_mistyped_name_stops_nothing_and_says_what_was_meant(paydown, plant):
    answer = paydown("stop", "switch_of_lamps", "--why", "smoke")
    assert (answer.code, "did you mean switch_off_lamps?" in answer.err) == (4, True)
    assert plant.ledger.switches.all() == []


def test_a_function_that_is_no_toil_type_cannot_be_stopped(paydown, plant):
    assert paydown("stop", "ingress", "--why", "smoke").code == 4
    assert plant.ledger.switches.all() == []


def test_an_installed_toil_type_can_be_stopped_without_any_policy(paydown, ledger):
    assert paydown("stop", "recover_node", "--why", "smoke").code == 0
    assert [one.scope for one in ledger.switches.all()] == ["recover_node"]


def test_a_switch_of_a_toil_type_that_is_gone_can_be_taken_back(paydown, ledger, clock):
    ledger.switches.stop("gone_since", "ann", "smoke", clock())
    assert paydown("resume", "gone_since").out == "resumed: gone_since\n"
    assert ledger.switches.all() == []


def test_who_says_so_is_the_user_when_aws_does_not_tell(paydown, plant, monkeypatch):
    stubbed = boto3.client("sts", endpoint_url="https://sts.eu-central-1.amazonaws.com")

    def refuse(**_):
        raise stubbed.exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, "GetCallerIdentity")

    monkeypatch.setattr(stubbed, "get_caller_identity", refuse)
    real = Connection.client
    monkeypatch.setattr(Connection, "client", lambda self, name: stubbed if name == "sts" else real(self, name))
    monkeypatch.setenv("LOGNAME", "ann")
    assert paydown("stop", "--why", "smoke", "--json").data["by"] == "ann"


def test_a_switch_stops_an_event_that_comes_later(paydown, plant, world):
    paydown("stop", "switch_off_lamps", "--why", "smoke")
    plant.look(pushed("push-9"))
    assert world.switched == []


def test_resuming_is_on_the_record_and_stops_nothing(paydown, plant, clock):
    switches = plant.ledger.switches
    assert switches.resumed_at("switch_off_lamps") is None
    paydown("stop", "switch_off_lamps", "--why", "smoke")
    clock.tick(60)
    answer = paydown("resume", "switch_off_lamps", "--why", "it was toast", "--by", "ann", "--json").data
    assert (answer["by"], answer["why"], answer["stops"]) == ("ann", "it was toast", [])
    assert switches.resumed_at("switch_off_lamps") == clock()
    row = plant.ledger.table.get("SWITCH", "RESUMED#switch_off_lamps")
    assert (row["by"], row["why"]) == ("ann", "it was toast")
    assert (switches.stops("switch_off_lamps"), switches.all()) == ([], [])


def test_a_suspended_toil_type_is_resumed_though_its_switch_is_not_on(paydown, plant, clock):
    answer = paydown("resume", "switch_off_lamps")
    assert answer.out == "resumed: switch_off_lamps; its switch was not on\n"
    assert plant.ledger.switches.resumed_at("switch_off_lamps") == clock()


def test_resuming_everything_ends_no_suspension_of_one_toil_type(paydown, plant):
    paydown("stop", "--why", "smoke")
    paydown("resume")
    assert plant.ledger.switches.resumed_at("switch_off_lamps") is None


def test_switches_are_read_together_with_other_items(paydown, plant, clock):
    switches, table = plant.ledger.switches, plant.ledger.table
    paydown("stop", "--why", "smoke", "--by", "ann")
    paydown("resume", "switch_off_lamps")
    other = ("DOC#policy", "CURRENT")
    items = table.get_all([*switches.keys("switch_off_lamps"), other])
    assert [stop.scope for stop in switches.from_items(items)] == ["*"]
    assert switches.resumed_in(items) == clock()


def test_runs_that_wait_are_put_off_at_once(paydown, plant, world, clock, house):
    world.busy_until["hall"] = clock() + timedelta(seconds=300)
    run = plant.look()
    assert (run.status, world.switched) == (Status.WAITING, ["desk"])
    assert plant.wake(run).status is Status.WAITING, "it is not due"
    assert paydown("stop", "--why", "smoke", "--stack", house).code == 0
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{house}-toil-switch_off_lamps")["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    plant.worker().handle(json.loads(message["Body"]))
    run = plant.ledger.runs.get(run.id)
    assert (run.status, plant.codes(run)) == (Status.DEFERRED, ["stopped"])
    assert plant.ledger.runs.holder(run.target, clock()) is None


def test_runs_of_another_toil_type_wait_on(paydown, plant, world, clock, house):
    world.busy_until["hall"] = clock() + timedelta(seconds=300)
    plant.look()
    plant.ledger.policy.publish({"toils": {"other": {}}}, "test", clock())
    assert paydown("stop", "other", "--why", "smoke", "--stack", house).code == 0
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{house}-toil-switch_off_lamps")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_without_its_queue_a_waiting_run_is_told_of(paydown, plant, world, clock):
    world.busy_until["hall"] = clock() + timedelta(seconds=300)
    plant.look()
    answer = paydown("stop", "--why", "smoke")
    assert (answer.code, "runs of switch_off_lamps that wait are put off when they are due" in answer.err) == (0, True)
