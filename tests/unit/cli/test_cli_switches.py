"""`paydown stop` and `paydown resume`."""

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
