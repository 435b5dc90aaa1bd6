"""The template and the code say the same."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from typing import Any

import pytest

from local.deploy import mode_parameters
from local.documents import documents, with_contents
from local.packages import PROJECT, load_template
from paydown.events import RemediationChanged
from paydown.ledger.run import Outcome
from paydown.toil import Toil

TEMPLATE = load_template()
RESOURCES = TEMPLATE["Resources"]
FOLDERS = {
    logical_id: resource["Properties"]["Handler"].split(".")[1]
    for logical_id, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
TOIL_TYPES = [name.removesuffix("Mode") for name in mode_parameters(TEMPLATE)]


def contract(logical_id: str) -> type[Toil[Any]] | None:
    """The toil type's class, if it is one of the contract."""
    module = importlib.import_module(f"functions.{FOLDERS[logical_id]}.app")
    found = [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Toil) and one.__module__ == module.__name__
    ]
    return found[0] if found else None


def test_every_folder_of_functions_is_deployed() -> None:
    folders = {path.parent.name for path in PROJECT.glob("functions/*/app.py")}
    assert set(FOLDERS.values()) == folders


def test_logical_ids_say_their_folder() -> None:
    for logical_id, folder in FOLDERS.items():
        assert re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", logical_id).lower() == folder


@pytest.mark.parametrize("name", TOIL_TYPES)
def test_toil_types_are_off_until_switched_on(name: str) -> None:
    parameter = TEMPLATE["Parameters"][f"{name}Mode"]
    assert parameter == {"Type": "String", "AllowedValues": ["Off", "Observe", "Enforce"], "Default": "Off"}


@pytest.mark.parametrize("name", TOIL_TYPES)
def test_the_rule_asks_for_what_the_toil_type_listens_to(name: str) -> None:
    rule = RESOURCES[f"{name}Rule"]["Properties"]
    toil = contract(name)
    if toil is None:  # it consumes what the ledger's publisher tells
        detail_types, sources, scheduled = [{"prefix": RemediationChanged.detail_type_for("")}], {"paydown"}, False
    else:
        foreign = {pair for event in toil.listens_to for pair in event.foreign_detail_types}
        scheduled = ("aws.events", "Scheduled Event") in foreign
        foreign.discard(("aws.events", "Scheduled Event"))  # a schedule's own events reach its rule's targets anyway
        detail_types = [event.detail_type() for event in toil.listens_to] + [kind for _, kind in foreign]
        sources = {"paydown", *(source for source, _ in foreign)}
    assert sorted(rule["EventPattern"]["detail-type"], key=str) == sorted(detail_types, key=str)
    assert set(rule["EventPattern"]["source"]) == sources
    assert ("ScheduleExpression" in rule) == scheduled


@pytest.mark.parametrize("name", TOIL_TYPES)
def test_the_queue_has_the_name_that_commands_are_sent_to(name: str) -> None:
    queue = RESOURCES[f"{name}Queue"]["Properties"]["QueueName"]
    assert queue == {"Fn::Sub": f"${{AWS::StackName}}-toil-{FOLDERS[name]}"}
    prefix = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["PAYDOWN_QUEUE_PREFIX"]
    assert prefix == {"Ref": "AWS::StackName"}


def test_the_ssm_documents_are_those_beside_the_toil_types() -> None:
    deployed = {name: entry for name, entry in RESOURCES.items() if entry["Type"] == "AWS::SSM::Document"}
    contents = {name: entry["Properties"]["Content"] for name, entry in deployed.items()}
    assert contents == documents(), "run `make format`"
    for logical_id, entry in deployed.items():
        assert entry["Properties"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{logical_id.removesuffix('Document')}"}


def test_copying_the_documents_twice_changes_nothing() -> None:
    text = (PROJECT / "template.yaml").read_text()
    assert with_contents(with_contents(text)) == with_contents(text)


def test_the_dashboard_shows_every_outcome() -> None:
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    shown = {word for widget in widgets for word in re.findall(r"\w+", json.dumps(widget["properties"]["metrics"]))}
    assert {outcome.value for outcome in Outcome} <= shown


def test_the_service_name_stays_out_of_the_environment() -> None:
    """Powertools would make it a second dimension of every metric, and the alarm and the dashboard would see none."""
    for logical_id in FOLDERS:
        variables = RESOURCES[logical_id]["Properties"].get("Environment", {}).get("Variables", {})
        assert "POWERTOOLS_SERVICE_NAME" not in variables
