"""Versions, the alias that everything calls, and what moves it: CodeDeploy, and back when an alarm goes off."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from local.deploy import Stack, deploy, mode_parameters
from local.emulator import PROGRAM, Emulator
from local.packages import load_template
from local.translation import translate
from tests.cloudformation import Resolved, statements
from tests.servers import need

TEMPLATE = load_template()
TOIL_TYPES = [name.removesuffix("Mode") for name in mode_parameters(TEMPLATE)]
FUNCTIONS = [name for name, entry in TEMPLATE["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]
ENFORCE = {f"{name}Mode": "Enforce" for name in TOIL_TYPES}


@pytest.fixture(scope="module")
def rolled_out() -> dict[str, Any]:
    return translate(parameters={"Rollouts": "true"})


@pytest.fixture(scope="module")
def deployed(rolled_out: dict[str, Any]) -> Resolved:
    return Resolved(rolled_out, ENFORCE)


def versions(translated: dict[str, Any]) -> dict[str, str]:
    """The logical id of each function's version."""
    return {
        entry["Properties"]["FunctionName"]["Ref"]: name
        for name, entry in translated["Resources"].items()
        if entry["Type"] == "AWS::Lambda::Version"
    }


def parameters_in(node: Any, template: dict[str, Any]) -> Iterator[str]:
    """The parameters that decide what a part of the template comes to, be it through a condition."""
    if isinstance(node, list):
        for item in node:
            yield from parameters_in(item, template)
    if not isinstance(node, dict):
        return
    for name, argument in node.items():
        if name == "Ref" and argument in template["Parameters"]:
            yield argument
        elif name == "Fn::If":
            yield from parameters_in(template["Conditions"][argument[0]], template)
        elif name == "Condition" and argument in template["Conditions"]:
            yield from parameters_in(template["Conditions"][argument], template)
        elif name == "Fn::Sub":
            text = argument[0] if isinstance(argument, list) else argument
            yield from set(re.findall(r"\$\{(\w+)\}", text)) & set(template["Parameters"])
        yield from parameters_in(argument, template)


def test_whatever_calls_a_function_calls_its_alias(deployed: Resolved) -> None:
    aliases = {f"${{{name}Aliaslive}}" for name in FUNCTIONS}
    callers = [entry["FunctionName"] for entry in deployed.of_type("AWS::Lambda::EventSourceMapping").values()]
    callers += [entry["FunctionName"] for entry in deployed.of_type("AWS::Lambda::Permission").values()]
    targets = [target for rule in deployed.of_type("AWS::Events::Rule").values() for target in rule["Targets"]]
    callers += [target["Arn"] for target in targets if not target["Arn"].endswith("Queue.Arn}")]
    assert set(callers) == aliases
    (api,) = deployed.of_type("AWS::ApiGateway::RestApi").values()
    integrations = re.findall(r"functions/\$\{([^}]+)\}/invocations", str(api))
    assert integrations
    assert all(name.endswith("Aliaslive") for name in integrations)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_change_of_a_parameter_publishes_a_version(rolled_out: dict[str, Any], function: str) -> None:
    """SAM hashes references, not values: unless the version says the values, Enforce would go on after Observe."""
    resources = rolled_out["Resources"]
    properties = resources[function]["Properties"]
    said = set(parameters_in(resources[versions(rolled_out)[function]]["Properties"]["Description"], rolled_out))
    assert set(parameters_in(properties, rolled_out)) <= said, "see its neighbours' VersionDescription"
    assert "Scale" not in said, "Lambda refuses to publish a version in which nothing changed"


def test_a_change_of_a_layer_publishes_a_version_of_the_functions_that_use_it(rolled_out: dict[str, Any]) -> None:
    for layer in ("SharedLayer", "KubernetesLayer"):
        changed = copy.deepcopy(TEMPLATE)
        changed["Resources"][layer]["Properties"]["Description"] = "another"
        before, after = versions(rolled_out), versions(translate(changed, {"Rollouts": "true"}))
        users = {
            name
            for name in FUNCTIONS
            if layer == "SharedLayer" or {"Ref": layer} in TEMPLATE["Resources"][name]["Properties"].get("Layers", [])
        }
        assert {name for name in before if before[name] != after[name]} == users


def test_codedeploy_moves_every_alias_and_moves_it_back_on_an_alarm(
    deployed: Resolved, rolled_out: dict[str, Any]
) -> None:
    groups = deployed.of_type("AWS::CodeDeploy::DeploymentGroup")
    assert set(groups) == {f"{name}DeploymentGroup" for name in FUNCTIONS}
    alarms = deployed.of_type("AWS::CloudWatch::Alarm")
    for group in groups.values():
        assert group["AutoRollbackConfiguration"]["Enabled"] is True
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        watched = [alarm["Name"].strip("${}") for alarm in group["AlarmConfiguration"]["Alarms"]]
        assert watched == ["FunctionErrorsAlarm", "WebhookErrorsAlarm"]
        # An alarm that stays on until a person does something would keep the repair from being rolled out.
        assert all(alarms[name]["TreatMissingData"] == "notBreaching" for name in watched)
        assert all(alarms[name]["Statistic"] == "Sum" for name in watched)
    for name in FUNCTIONS:
        update = rolled_out["Resources"][f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": f"{name}DeploymentGroup"}


def test_an_alarm_counts_what_the_log_says_of_errors(deployed: Resolved) -> None:
    (found,) = deployed.of_type("AWS::Logs::MetricFilter").values()
    (metric,) = found["MetricTransformations"]
    alarm = deployed.resources["FunctionErrorsAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert "?ERROR" in found["FilterPattern"]


def test_a_toil_type_that_is_off_has_nothing_to_roll_out(rolled_out: dict[str, Any]) -> None:
    left = set(Resolved(rolled_out, {}).resources)
    assert not {name for name in left for toil in TOIL_TYPES if name.startswith(toil)}


def test_codedeploy_may_only_move_aliases_of_this_stack(deployed: Resolved) -> None:
    may = {statement["Action"]: statement["Resource"] for statement in statements(deployed, "RolloutRole")}
    assert set(may) == {
        "cloudwatch:DescribeAlarms",
        "lambda:GetAlias",
        "lambda:GetProvisionedConcurrencyConfig",
        "lambda:UpdateAlias",
    }
    assert all(resource.endswith(":function:${AWS::StackName}-*") for resource in may["lambda:UpdateAlias"])
    assert "CodeDeployServiceRole" not in deployed.resources  # SAM's own, with a policy of AWS's


def test_without_rollouts_there_is_no_codedeploy_but_there_are_aliases() -> None:
    plain = Resolved(translate(), ENFORCE)
    assert not [name for name, entry in plain.resources.items() if "CodeDeploy" in entry["Type"]]
    assert set(plain.of_type("AWS::Lambda::Alias")) == {f"{name}Aliaslive" for name in FUNCTIONS}


@pytest.fixture
def emulator(tmp_path: Any) -> Iterator[Emulator]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(tmp_path) as running:
        yield running


def test_a_changed_mode_is_in_force_where_the_queue_calls(emulator: Emulator) -> None:
    def live(stack: Stack) -> tuple[str, str]:
        lambdas = emulator.client("lambda")
        (mapping,) = lambdas.list_event_source_mappings(FunctionName=stack.resources["RecoverNode"])[
            "EventSourceMappings"
        ]
        assert mapping["FunctionArn"].endswith(":live")
        found = lambdas.get_function_configuration(FunctionName=stack.resources["RecoverNode"], Qualifier="live")
        return found["Version"], found["Environment"]["Variables"]["PAYDOWN_MODE"]

    seen = [live(deploy(emulator, mode=mode)) for mode in ("Observe", "Enforce", "Enforce", "Observe")]
    assert [mode for _, mode in seen] == ["Observe", "Enforce", "Enforce", "Observe"]
    numbers = [int(number) for number, _ in seen]
    assert numbers[0] < numbers[1] == numbers[2] < numbers[3]
