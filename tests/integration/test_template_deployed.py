"""The deployed template, with the roles of its functions enforced."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from local.deploy import Stack, deploy, mode_parameters
from local.packages import load_template
from tests.stacks import logged, wait_for

TEMPLATE = load_template()
TOIL_TYPES = [name.removesuffix("Mode") for name in mode_parameters(TEMPLATE)]
FUNCTIONS = [name for name, entry in TEMPLATE["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]


def test_every_function_starts(enforcing_stack: Stack) -> None:
    functions = enforcing_stack.emulator.client("lambda")
    for name in FUNCTIONS:
        answer = functions.invoke(FunctionName=enforcing_stack.resources[name], Payload=b'{"Records": []}')
        error = json.loads(answer["Payload"].read()) if "FunctionError" in answer else {}
        # Some refuse an event of this shape, and that is right; but their modules were found, and nothing was denied.
        assert "init failed" not in error.get("errorMessage", ""), (name, error)
        assert "not authorized" not in error.get("errorMessage", ""), (name, error)


def test_due_runs_are_looked_for(enforcing_stack: Stack) -> None:
    assert enforcing_stack.invoke("Wake") == {"nudged": 0, "overdue_seconds": 0}


def test_a_webhook_without_proof_is_refused_and_one_of_a_stranger_is_not_known(enforcing_stack: Stack) -> None:
    def status(sender: str) -> int:
        url = enforcing_stack.webhook_url(sender)
        request = urllib.request.Request(url, data=b"{}", method="POST")  # noqa: S310 -- our own loopback address
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- likewise
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status("alertmanager") == 401  # it could read the secret to compare with
    assert status("nobody") == 404


def test_an_event_on_the_bus_reaches_its_toil_type(enforcing_stack: Stack) -> None:
    """One that is no good is refused and comes back: it is no dead letter after its first try."""
    enforcing_stack.put_event("ImagePushed", {"key": "without-the-rest"})
    wait_for(lambda: logged(enforcing_stack, "registry: Field required"), "the toil type to refuse the message", 180)
    sqs = enforcing_stack.emulator.client("sqs")
    url = enforcing_stack.resources["DeadLetters"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)


def test_rules_have_both_their_pattern_and_their_schedule(enforcing_stack: Stack) -> None:
    events = enforcing_stack.emulator.client("events")
    for toil in TOIL_TYPES:
        source = TEMPLATE["Resources"][f"{toil}Rule"]["Properties"]
        rule = events.describe_rule(Name=enforcing_stack.resources[f"{toil}Rule"])
        assert json.loads(rule["EventPattern"]) == source["EventPattern"]
        assert rule.get("ScheduleExpression", "") == source.get("ScheduleExpression", "")


def test_a_toil_type_that_is_switched_off_goes(enforcing_stack: Stack) -> None:
    off = deploy(enforcing_stack.emulator, "paydown-off", mode="Off")
    assert not {name for name in off.resources for toil in TOIL_TYPES if name.startswith(toil)}
    on = deploy(enforcing_stack.emulator, "paydown-off", mode="Observe")
    assert set(TOIL_TYPES) <= set(on.resources)
    again = deploy(enforcing_stack.emulator, "paydown-off", mode="Off")
    assert set(again.resources) == set(off.resources)
