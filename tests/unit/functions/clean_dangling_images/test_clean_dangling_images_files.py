"""The documents and sample events that belong to the toil type."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from functions.clean_dangling_images.app import BATCH, CleanDanglingImages
from local.ssm_agent.documents import Document
from local.ssm_agent.publish import DOCUMENTS, document_name
from paydown.clients.docker_hosts import ssm
from paydown.clients.docker_hosts.report import END
from paydown.inventory import Host, Inventory, Ssm
from paydown.sources.aws import from_envelope

PROJECT = Path(__file__).resolve().parents[4]
EVENTS = sorted((PROJECT / "events/clean_dangling_images").glob("*.json"))
PATHS = sorted(DOCUMENTS.glob("*.json"))
BUILD_1 = Host(
    uid="i-1",
    name="build-1",
    reach=Ssm(via="ssm", instance_id="i-0123456789abcdef0"),
    builds=("127.0.0.1:5000/demo/app",),
)


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(path: Path) -> list[str]:
    found: list[str] = document(path)["mainSteps"][0]["inputs"]["runCommand"]
    return found


def test_the_documents_have_the_names_that_the_client_asks_for() -> None:
    assert [document_name("s", path) for path in PATHS] == [f"s-{ssm.LIST_DOCUMENT}", f"s-{ssm.REMOVE_DOCUMENT}"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_document_is_valid_shell_and_ends_within_our_wait(path: Path) -> None:
    Document.parse(path.stem, path.read_text())
    assert float(document(path)["mainSteps"][0]["inputs"]["timeoutSeconds"]) <= ssm.COMMAND_SECONDS
    assert lines(path)[-1] == f"echo {END}"
    shell = shutil.which("dash") or "sh"
    checked = subprocess.run([shell, "-n"], input="\n".join(lines(path)), text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_double_braces_are_for_declared_parameters_only(path: Path) -> None:
    # SSM takes any other for a parameter that is not declared, and CloudFormation's Sub takes ${ for its own.
    script = "\n".join(lines(path))
    used = re.findall(r"\{\{(.*?)\}\}", script)
    assert {name.strip() for name in used} == set(document(path).get("parameters", {}))
    assert "${" not in script


def test_the_listing_takes_nothing_and_removes_nothing() -> None:
    content = document(PATHS[0])
    assert "parameters" not in content
    script = "\n".join(line for line in lines(PATHS[0]) if not line.startswith(("#", "command -v")))
    commands = set(re.findall(r"docker ((?:image|container) \w+|\w+)", script))
    reading = {"version", "info", "image ls", "image inspect", "container ls", "container inspect"}
    assert commands == reading


def test_the_removal_takes_image_ids_only_and_never_forces() -> None:
    (parameter,) = document(PATHS[1])["parameters"].values()
    assert parameter["allowedPattern"] == "^sha256:[0-9a-f]{64}$"
    assert parameter["maxItems"] == BATCH
    assert "force" not in "\n".join(lines(PATHS[1]))


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_each_sample_event_leads_to_the_host(path: Path) -> None:
    event = from_envelope(json.loads(path.read_text()))
    assert isinstance(event, CleanDanglingImages.listens_to)
    assert list(CleanDanglingImages.targets(event, Inventory(hosts=(BUILD_1,)))) == [BUILD_1]


def test_there_is_a_sample_for_each_event() -> None:
    found = {type(from_envelope(json.loads(path.read_text()))) for path in EVENTS}
    assert found == set(CleanDanglingImages.listens_to)
