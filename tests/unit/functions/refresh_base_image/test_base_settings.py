"""What the policy may say of bases: nothing that a shell could take for its own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from functions.refresh_base_image.settings import DebianBase, Settings, Source
from local.ssm_agent.documents import Document
from local.ssm_agent.publish import FUNCTIONS

SOURCE = {"mirror": "https://mirror.example/debian", "suite": "bookworm"}
EVIL = ["'; reboot; '", "$(reboot)", "`id`", "a b", "a\nb", '"', "a'b", "-o x", "{{ Key }}", ""]
BUILD = Document.parse("b", (FUNCTIONS / "refresh_base_image/documents/build_base_image.json").read_text())


def base(**changes: Any) -> DebianBase:
    return DebianBase.model_validate({"host": "build-1", "sources": [SOURCE], **changes})


def test_a_recipe_becomes_parameters_that_the_document_takes() -> None:
    made = base(
        include=["ca-certificates", "libstdc++6"],
        sources=[SOURCE, {"mirror": "http://mirror.example:8080/~x/sec", "suite": "bookworm-security"}],
    )
    sent = {"Key": ["0" * 32], "Run": ["1f0c"], **made.recipe.parameters}
    values = BUILD.check(sent)
    assert values["Include"] == "ca-certificates,libstdc++6"
    assert values["Sources"] == [
        "deb https://mirror.example/debian bookworm main",
        "deb http://mirror.example:8080/~x/sec bookworm-security main",
    ]
    assert "ca-certificates,libstdc++6" in BUILD.script(values)


def test_nothing_more_is_an_empty_word() -> None:
    assert BUILD.check({"Key": ["0" * 32], "Run": ["1f0c"], **base().recipe.parameters})["Include"] == ""


@pytest.mark.parametrize("evil", EVIL)
def test_what_means_something_to_a_shell_is_refused(evil: str) -> None:
    for changes in (
        {"include": [evil]},
        {"keyring": evil},
        {"keyring": f"/{evil}.gpg"},
        {"variant": evil},
        {"packages": [evil]},
        {"sources": [{**SOURCE, "mirror": f"https://{evil}"}]},
        {"sources": [{**SOURCE, "mirror": f"https://a/{evil}" if evil else ""}]},
        {"sources": [{**SOURCE, "suite": evil}]},
        {"sources": [{**SOURCE, "components": [evil]}]},
    ):
        if evil == "" and changes.get("keyring") == "/.gpg":
            continue
        with pytest.raises(ValidationError):
            base(**changes)


@pytest.mark.parametrize("trust", ["[trusted=yes] https://a", "https://a [trusted=yes]", "file:///srv", "copy:/srv"])
def test_a_mirror_cannot_say_that_it_is_to_be_trusted(trust: str) -> None:
    with pytest.raises(ValidationError):
        base(sources=[{**SOURCE, "mirror": trust}])


def test_the_first_source_is_the_suite_itself() -> None:
    with pytest.raises(ValidationError, match="the suite itself"):
        base(sources=[{**SOURCE, "suite": "bookworm/updates"}])


def test_what_may_be_in_it_is_no_part_of_the_recipe() -> None:
    other = base(privileged=[], packages=["lib*"], files=["/etc/x"], host="b", keyring="/etc/apt/keyrings/a.asc")
    assert other.digest == base().digest
    assert len({base().digest, base(variant="apt").digest, base(include=["bash"]).digest}) == 3


def test_an_unknown_setting_or_repository_is_refused() -> None:
    with pytest.raises(ValidationError):
        base(unsigned=True)
    with pytest.raises(ValidationError):
        Settings.model_validate({"bases": {"no repository": base().model_dump()}})


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=20), st.text(max_size=30))
def test_whatever_the_settings_take_the_document_takes(mirror: str, suite: str, component: str, package: str) -> None:
    try:
        made = base(
            sources=[{"mirror": f"https://a{mirror}", "suite": suite, "components": [component]}], include=[package]
        )
    except ValidationError:
        return
    values = BUILD.check({"Key": ["0" * 32], "Run": ["1f0c"], **made.recipe.parameters})
    assert re.fullmatch(r"[A-Za-z0-9.:/_~+, \[\]\"-]+", json.dumps(list(values.values())[2:]).replace("{}", ""))


def test_a_line_says_its_components() -> None:
    assert (
        Source(mirror="https://a", suite="s", components=("main", "universe")).line == "deb https://a s main universe"
    )
