"""`paydown status`."""

import re
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from cli.connection import Connection
from cli.status import OVERDUE
from cli.toils import deployed_modes
from paydown.errors import InvalidDocument
from paydown.plan import Hazard
from paydown.policy import Policy
from tests.unit.toil.lamps import pushed

PROJECT = Path(__file__).resolve().parents[3]


def test_the_state_of_a_stack(paydown, plant, world, house):
    plant.look(pushed("push-1"))
    world.burning |= {"gas"}
    world.hazards["gas"] = Hazard.DESTRUCTIVE
    plant.look(pushed("push-2"), "host/room-2")
    state = paydown("status", "--stack", house, "--json").data
    assert (state["stack"], state["table"]) == ("house", "ledger")
    assert (state["policy"]["version"], state["policy"]["by"]) == (1, "test")
    assert state["inventory"]["version"] == 1
    assert state["alive"] == {"total": 1, "by_status": {"Held": 1}, "complete": True}
    assert (state["stops"], state["overdue"], state["attention"]) == ([], [], [])
    assert state["dead_letters"] == {"messages": 0, "rule_deliveries": 0}
    assert state["toils"] == [
        {
            "toil": "recover_node",
            "deployed": "Off",
            "mode": None,
            "ceiling": None,
            "overrides": 0,
            "stopped": False,
            "alive": {},
            "overdue": 0,
            "saved": {},
        },
        {
            "toil": "switch_off_lamps",
            "deployed": "Enforce",
            "mode": "enforce",
            "ceiling": "disruptive",
            "overrides": 0,
            "stopped": False,
            "alive": {"Held": 1},
            "overdue": 0,
            "saved": {"runs": 1, "minutes": 5, "lamps": 2},
        },
    ]


def test_in_plain_text(paydown, plant, house):
    plant.look()
    out = paydown("status", "--stack", house).out
    assert re.search(r"^stack +house \(ledger ledger\)$", out, re.MULTILINE)
    assert re.search(r"^policy +version 1, by test at 2026-11-22T03:00:00\+00:00$", out, re.MULTILINE)
    assert re.search(r"^dead letters +messages 0, rule deliveries 0$", out, re.MULTILINE)
    assert re.search(r"^switch_off_lamps +Enforce +enforce +disruptive +- +- +1 +5$", out, re.MULTILINE)
    assert out.endswith("\nnothing needs attention\n")


@pytest.mark.parametrize("late", [False, True])
def test_a_run_that_nobody_looked_at_is_overdue(late, paydown, plant, world, clock):
    world.dark_at = clock() + timedelta(seconds=60)
    run = plant.look()
    clock.tick(60 + OVERDUE.total_seconds() + (1 if late else -1))
    answer = paydown("status", "--check", "--json")
    assert answer.code == (7 if late else 0)
    assert [one["id"] for one in answer.data["overdue"]] == ([run.id] if late else [])
    assert answer.data["attention"] == (["1 run(s) are overdue"] if late else [])
    assert (run.id[:12] in paydown("status").out) is late


def test_stopped_is_worth_attention(paydown, plant):
    paydown("stop", "--why", "smoke", "--by", "ann")
    answer = paydown("status", "--check")
    assert answer.code == 7
    assert re.search(r"^switch_off_lamps +\? +STOPPED", answer.out, re.MULTILINE)
    assert re.search(r"^\* +ann +2026-11-22T03:00:00\+00:00 +smoke$", answer.out, re.MULTILINE)
    assert answer.out.endswith("everything is stopped\n")
    assert paydown("status").code == 0


def test_dead_letters_are_worth_attention(paydown, plant, house):
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="house-dead")["QueueUrl"], MessageBody="{}")
    answer = paydown("status", "--stack", house, "--check", "--json")
    assert (answer.code, answer.data["attention"]) == (7, ["1 dead letter(s): messages"])


def test_an_empty_ledger(paydown, ledger):
    answer = paydown("status", "--check", "--json")
    assert answer.code == 7
    assert (answer.data["policy"], answer.data["inventory"], answer.data["toils"]) == (None, None, [])
    assert "none published" in paydown("status").out


def test_a_policy_of_another_release_is_worth_attention(paydown, plant, monkeypatch):
    def refuse(document):
        raise InvalidDocument("policy", [("toils", "is unknown")])

    monkeypatch.setattr(Policy, "parse", refuse)
    answer = paydown("status", "--check", "--json")
    assert (answer.code, answer.data["policy"]["faults"]) == (7, [["toils", "is unknown"]])
    assert answer.data["attention"] == ["the policy in force is invalid for this version of Paydown"]


def test_who_may_read_only_the_ledger_sees_the_ledger(paydown, plant, monkeypatch):
    def refuse(self):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeStacks")

    monkeypatch.setattr(Connection, "_described", property(refuse))
    answer = paydown("status", "--json")
    assert answer.code == 0
    assert answer.data["dead_letters"] is None
    assert answer.err == "only the ledger could be read: AWS refuses DescribeStacks: AccessDenied: not you\n"
    assert answer.data["toils"][0]["deployed"] is None


def test_the_modes_of_a_deployment():
    parameters = {"CleanDanglingImagesMode": "Observe", "RecoverNodeMode": "Off", "Mode": "x", "ScaleMode": "small"}
    assert deployed_modes(parameters) == {"clean_dangling_images": "Observe", "recover_node": "Off"}


def test_overdue_means_what_the_alarm_of_the_stack_means():
    alarm = (PROJECT / "template.yaml").read_text().split("\n  OverdueAlarm:\n")[1]
    assert re.search(r"Threshold: (\d+)", alarm)[1] == str(round(OVERDUE.total_seconds()))
