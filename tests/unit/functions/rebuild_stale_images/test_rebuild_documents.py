"""The documents that build and push on a host."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from functions.rebuild_stale_images.building import LABEL
from functions.rebuild_stale_images.hosts import DOCUMENTS
from local.ssm_agent.documents import Document, SsmError
from local.ssm_agent.publish import document_name
from paydown.clients.docker_hosts import rebuilds
from paydown.clients.docker_hosts.rebuilds import Recipe
from paydown.clients.docker_hosts.ssm import COMMAND_SECONDS
from tests.unit.command_documents import assert_is_shell, document, lines

PATHS = sorted(DOCUMENTS.glob("*.json"))
BY_NAME = {path.stem: path for path in PATHS}
MARK = "0" * 40
SOURCE = "https://git.example/team/app.git#main"
GIVEN = {"Mark": [MARK], **Recipe(SOURCE).parameters}


def test_the_documents_have_the_names_that_the_client_asks_for() -> None:
    asked = [value for name, value in vars(rebuilds).items() if name.endswith("_DOCUMENT")]
    assert sorted(document_name("s", path) for path in PATHS) == sorted(f"s-{name}" for name in asked)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_document_is_valid_shell_and_ends_in_time(path: Path) -> None:
    parsed = Document.parse(path.stem, path.read_text())
    seconds = parsed.seconds({"Seconds": "3600"})
    assert (seconds > COMMAND_SECONDS) == (path.stem != "read_rebuild")
    assert_is_shell(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_parameter_is_bounded_and_stands_between_quotes(path: Path) -> None:
    script = "\n".join(lines(path))
    parameters = document(path)["parameters"]
    assert set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(document(path)["mainSteps"]))) == set(parameters)
    assert "${" not in script
    for name, schema in parameters.items():
        assert "allowedPattern" in schema
        for found in re.finditer(rf"(.*)\{{\{{ {name} \}}\}}", script):
            assert found[1].count("'") % 2 == 1, found[0]


def test_what_only_looks_asks_nothing_of_the_engine() -> None:
    asking = [line for line in lines(BY_NAME["read_rebuild"]) if "docker" in line]
    assert len(asking) == 1
    assert asking[0].startswith("command -v docker ")


def test_a_build_uses_no_cache_carries_its_mark_and_has_no_name_of_a_registry() -> None:
    [build] = [line for line in lines(BY_NAME["rebuild_image"]) if line.startswith("docker build ")]
    for option in ("--no-cache", "--pull", f'--label "{LABEL}=$mark"', '--tag "paydown-rebuild:$mark"'):
        assert option in build
    assert build.count("--tag") == 1
    assert not any("docker push" in line for line in lines(BY_NAME["rebuild_image"]))


@pytest.mark.parametrize(
    "source",
    [
        SOURCE,
        "http://127.0.0.1:8080/a.git#v1.2+3",
        "https://git.example/~team/app.git#feature/x:docker/app",
        "https://git.example/a.git#main:.docker/a_b-c",
    ],
)
def test_sources_are_taken(source: str) -> None:
    checked = Document.parse("d", BY_NAME["rebuild_image"].read_text())
    assert checked.check({**GIVEN, "Source": [source]})["Source"] == source


@pytest.mark.parametrize(
    ("name", "parameter", "evil"),
    [
        ("rebuild_image", "Mark", "../../etc"),
        ("rebuild_image", "Mark", "0" * 39),
        ("rebuild_image", "Source", "https://git.example/a.git"),
        ("rebuild_image", "Source", "https://git.example/a.git#-x"),
        ("rebuild_image", "Source", "https://git.example/a.git#main'; reboot; '"),
        ("rebuild_image", "Source", "https://git.example/a.git#main:../x"),
        ("rebuild_image", "Source", "https://git.example/a.git#main:a/../../x"),
        ("rebuild_image", "Source", "https://user:word@git.example/a.git#main"),
        ("rebuild_image", "Source", "https://git.example/a.git#main\n"),
        ("rebuild_image", "Source", "https://git.example/a.git#main:a#b"),
        ("rebuild_image", "Source", "ext::sh -c id .git#main"),
        ("rebuild_image", "Source", "--output=/etc .git#main"),
        ("rebuild_image", "Source", "."),
        ("rebuild_image", "Dockerfile", "-"),
        ("rebuild_image", "Dockerfile", "/etc/passwd"),
        ("rebuild_image", "Dockerfile", "../Dockerfile"),
        ("rebuild_image", "Dockerfile", "a/../../b"),
        ("rebuild_image", "Dockerfile", "$(id)"),
        ("rebuild_image", "Seconds", "0"),
        ("rebuild_image", "Seconds", "1 || reboot"),
        ("rebuild_image", "Free", "-1"),
        ("push_rebuild", "Name", "images.example/app"),
        ("push_rebuild", "Name", "images.example/app:latest; reboot"),
        ("push_rebuild", "Name", "--all-tags/app:latest"),
        ("push_rebuild", "Name", "images.example/App:latest"),
        ("read_rebuild", "Mark", "$(id)"),
    ],
)
def test_what_has_another_form_is_refused(name: str, parameter: str, evil: str) -> None:
    checked = Document.parse(name, BY_NAME[name].read_text())
    good = {"rebuild_image": GIVEN, "push_rebuild": {"Mark": [MARK], "Name": ["i.example/a:1"]}, "read_rebuild": {}}
    with pytest.raises(SsmError):
        checked.check({**good[name], parameter: [evil]})
    if good[name]:
        checked.check(good[name])


def test_what_documents_have_in_common_is_the_same() -> None:
    heads = [lines(path)[: lines(path).index("mark='{{ Mark }}'")] for path in PATHS]
    for head in heads:
        assert [line for line in head if line != "umask 077"] == [line for line in heads[0] if line != "umask 077"]
    building, pushing = (lines(BY_NAME[name]) for name in ("rebuild_image", "push_rebuild"))
    until = next(at for at, line in enumerate(building) if line.startswith("docker version"))
    assert building[: until + 1] == pushing[: until + 1]
