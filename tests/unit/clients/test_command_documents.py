"""Documents that no SSM runs are checked as it would, by their names and patterns alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paydown.clients.command_documents import CommandDocument, InvalidParameter, file_name, read_document
from paydown.errors import PermanentError

FOLDERS = sorted(Path(__file__).resolve().parents[3].glob("functions/*/documents"))
WORD = {"type": "String", "allowedPattern": "^[a-z]{1,9}$"}


def document(*lines: str, **parameters: Any) -> CommandDocument:
    step = {"action": "aws:runShellScript", "name": "go", "inputs": {"runCommand": [*lines], "timeoutSeconds": "28"}}
    return CommandDocument("d", {"parameters": parameters, "mainSteps": [step]})


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({}, "Word is required"),
        ({"Word": []}, "takes one value"),
        ({"Word": ["a", "b"]}, "takes one value"),
        ({"Word": ["a\n"]}, "not matching"),
        ({"Word": ["a'; reboot; '"]}, "not matching"),
        ({"Word": ["a"], "More": ["x"]}, "More is not supported"),
    ],
)
def test_parameters_that_are_refused_are_a_permanent_fault(sent: dict[str, list[str]], why: str) -> None:
    with pytest.raises(InvalidParameter, match=why) as caught:
        document("echo '{{ Word }}'", Word=WORD).check(sent)
    assert isinstance(caught.value, PermanentError)


def test_a_value_is_put_in_once_whatever_it_says() -> None:
    made = document("echo '{{ One }}' '{{ Two }}'", One={"type": "String"}, Two={"type": "String"})
    assert made.script({"One": "{{ Two }}", "Two": "2"}) == "echo '{{ Two }}' '2'\n"
    assert made.seconds({}) == 28.0


@given(st.text(max_size=12))
def test_nothing_that_the_pattern_does_not_allow_gets_into_a_script(value: str) -> None:
    made = document("echo '{{ Word }}'", Word=WORD)
    try:
        script = made.script(made.check({"Word": [value]}))
    except InvalidParameter:
        return
    assert script == f"echo '{value}'\n"
    assert value.isascii()
    assert value.isalpha()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ListBasePackages", "list_base_packages.json"),
        ("ReadBaseImage", "read_base_image.json"),
        ("TryIt", "try_it.json"),
    ],
)
def test_a_document_is_found_by_its_name(name: str, file: str, tmp_path: Path) -> None:
    assert file_name(name) == file
    (tmp_path / file).write_text(json.dumps(document("true").content))
    assert read_document(tmp_path, name).script({}) == "true\n"


def test_every_document_of_ours_can_be_read() -> None:
    paths = [path for folder in FOLDERS for path in folder.glob("*.json")]
    assert len(paths) > 5
    for path in paths:
        name = "".join(word.capitalize() for word in path.stem.split("_"))
        found = read_document(path.parent, name)
        assert found.step
        defaults = {parameter: str(schema.get("default", "")) for parameter, schema in found.parameters.items()}
        assert found.seconds(defaults) > 0
