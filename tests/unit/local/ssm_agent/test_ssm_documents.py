"""Documents and parameters are refused as SSM refuses them, and scripts are made as the agent makes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.ssm_agent.documents import Document, SsmError

IDS = {"type": "StringList", "allowedPattern": "^sha256:[0-9a-f]{4}$", "minItems": 1, "maxItems": 2}


def text(*script: str, parameters: dict[str, Any] | None = None, **inputs: Any) -> str:
    step = {"action": "aws:runShellScript", "name": "go", "inputs": {"runCommand": list(script), **inputs}}
    content: dict[str, Any] = {"schemaVersion": "2.2", "mainSteps": [step]}
    if parameters:
        content["parameters"] = parameters
    return json.dumps(content)


def document(*script: str, **parameters: dict[str, Any]) -> Document:
    return Document.parse("d", text(*script, parameters=parameters))


def code(caught: pytest.ExceptionInfo[SsmError]) -> str:
    return caught.value.code


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "InvalidDocumentContent"),
        ("[]", "InvalidDocumentSchemaVersion"),
        ('{"schemaVersion": "1.2"}', "InvalidDocumentSchemaVersion"),
        ('{"schemaVersion": "2.2"}', "InvalidDocumentContent"),
        ('{"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runPowerShellScript"}]}', "InvalidDocumentContent"),
        (text("echo {{ Unknown }}"), "InvalidDocumentContent"),
        (text("x", parameters={"A": {"type": "Integer"}}), "InvalidDocumentContent"),
    ],
)
def test_a_document_that_is_refused(content: str, expected: str) -> None:
    with pytest.raises(SsmError) as caught:
        Document.parse("d", content)
    assert code(caught) == expected


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Ids": []},
        {"Ids": ["sha256:0000"] * 3},
        {"Ids": ["sha256:000g"]},
        {"Ids": ["sha256:0000\n"]},
        {"Ids": ["sha256:0000", "sha256:0000; reboot"]},
        {"Ids": ["sha256:0000"], "Others": ["x"]},
    ],
)
def test_parameters_that_are_refused(sent: dict[str, list[str]]) -> None:
    with pytest.raises(SsmError) as caught:
        document("x", Ids=IDS).check(sent)
    assert code(caught) == "InvalidParameters"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "String"}, ["a", "b"]),
        ({"type": "String", "allowedValues": ["a"]}, ["b"]),
        ({"type": "String", "minChars": 2}, ["b"]),
        ({"type": "String", "maxChars": 1}, ["bc"]),
    ],
)
def test_strings_that_are_refused(schema: dict[str, Any], value: list[str]) -> None:
    with pytest.raises(SsmError) as caught:
        document("x", Name=schema).check({"Name": value})
    assert code(caught) == "InvalidParameters"


def test_defaults() -> None:
    made = document("x", A={"type": "String", "default": "a"}, B={"type": "StringList", "default": ["b"]})
    assert made.check({}) == {"A": "a", "B": ["b"]}


def test_values_get_into_the_script_as_plain_text() -> None:
    made = document("echo {{ Name }} {{Name}}", "ids='{{ Ids }}'", "{{ Ids }}", Name={"type": "String"}, Ids=IDS)
    values = made.check({"Name": ["$(id)"], "Ids": ["sha256:0000", "sha256:0001"]})
    assert made.script(values).splitlines() == [
        "echo $(id) $(id)",
        """ids='["sha256:0000","sha256:0001"]'""",
        "sha256:0000",
        "sha256:0001",
    ]


def test_the_time_limit_can_be_a_parameter() -> None:
    content = text("x", parameters={"Limit": {"type": "String"}}, timeoutSeconds="{{ Limit }}")
    made = Document.parse("d", content)
    assert made.seconds(made.check({"Limit": ["7"]})) == 7.0
    assert document("x").seconds({}) == 3600.0
