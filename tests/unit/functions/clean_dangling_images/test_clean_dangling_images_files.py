"""The documents and sample events that belong to the toil type."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.clean_dangling_images.app import BATCH, CleanDanglingImages
from local.ssm_agent.documents import Document, SsmError
from local.ssm_agent.publish import DOCUMENTS, document_name
from paydown.clients.docker_hosts import ssm
from paydown.inventory import Host, Inventory, Ssm
from paydown.sources.aws import from_envelope
from tests.unit.command_documents import assert_is_shell, document, lines

PROJECT = Path(__file__).resolve().parents[4]
EVENTS = sorted((PROJECT / "events/clean_dangling_images").glob("*.json"))
PATHS = sorted(DOCUMENTS.glob("*.json"))
BUILD_1 = Host(
    uid="i-1",
    name="build-1",
    reach=Ssm(via="ssm", instance_id="i-0123456789abcdef0"),
    builds=("127.0.0.1:5000/demo/app",),
)


def test_the_documents_have_the_names_that_the_client_asks_for() -> None:
    asked = (
        ssm.LIST_DOCUMENT,
        ssm.LIST_LEFTOVERS_DOCUMENT,
        ssm.REMOVE_DOCUMENT,
        ssm.REMOVE_LEFTOVERS_DOCUMENT,
    )
    assert [document_name("s", path) for path in PATHS] == [f"s-{name}" for name in asked]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_document_is_valid_shell_and_ends_within_our_wait(path: Path) -> None:
    Document.parse(path.stem, path.read_text())
    assert float(document(path)["mainSteps"][0]["inputs"]["timeoutSeconds"]) <= ssm.COMMAND_SECONDS
    assert_is_shell(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_double_braces_are_for_declared_parameters_only(path: Path) -> None:
    # SSM takes any other for a parameter that is not declared, and CloudFormation's Sub takes ${ for its own.
    script = "\n".join(lines(path))
    used = re.findall(r"\{\{(.*?)\}\}", script)
    assert {name.strip() for name in used} == set(document(path).get("parameters", {}))
    assert "${" not in script


@pytest.mark.parametrize(
    ("name", "more"),
    [("list_dangling_images", set()), ("list_docker_leftovers", {"volume ls", "volume inspect", "system df"})],
)
def test_a_listing_only_reads(name: str, more: set[str]) -> None:
    path = DOCUMENTS / f"{name}.json"
    script = "\n".join(line for line in lines(path) if not line.startswith(("#", "command -v")))
    commands = set(re.findall(r"docker ((?:image|container|volume|system) \w+|\w+)", script)) - {"Server"}
    reading = {"version", "info", "image ls", "image inspect", "container ls", "container inspect"}
    assert commands == reading | more


def test_the_listings_take_nothing_that_anybody_could_make_up() -> None:
    assert "parameters" not in document(DOCUMENTS / "list_dangling_images.json")
    (parameter,) = document(DOCUMENTS / "list_docker_leftovers.json")["parameters"].values()
    assert parameter["allowedValues"] == ["all", "disk"]


def test_the_removal_takes_image_ids_only_and_never_forces() -> None:
    path = DOCUMENTS / "remove_dangling_images.json"
    (parameter,) = document(path)["parameters"].values()
    assert parameter["allowedPattern"] == "^sha256:[0-9a-f]{64}$"
    assert parameter["maxItems"] == BATCH
    assert "force" not in "\n".join(lines(path))


LEFTOVERS = DOCUMENTS / "remove_docker_leftovers.json"
HEX = "0f" * 32


def test_what_else_is_removed_is_never_forced_but_for_the_question_before_a_prune() -> None:
    (parameter,) = document(LEFTOVERS)["parameters"].values()
    assert parameter["maxItems"] == BATCH
    (line,) = (line for line in lines(LEFTOVERS) if "force" in line)
    assert 'set -- builder prune --all --force --filter "id=$id"' in line


@pytest.mark.parametrize(
    "asked",
    [
        f"image=sha256:{HEX}@127.0.0.1:5000/demo/app:1.2_rc-1+app:stable",
        f"container={HEX}@2026-11-22T21:15:54.973044724Z",
        "volume=my_data.1@2026-11-22T21:15:55+01:00",
        "cache=t4vuqho29zjdlgsz432343wyh@2026-11-22T21:15:55.416692002Z",
        "cache=t4vuqho29zjdlgsz432343wyh@never",
    ],
)
def test_the_removal_of_the_rest_takes_each_kind_as_one_word(asked: str) -> None:
    (pattern,) = (parameter["allowedPattern"] for parameter in document(LEFTOVERS)["parameters"].values())
    assert re.fullmatch(pattern, asked)
    (words,) = (found[1] for line in lines(LEFTOVERS) if (found := re.search(r"grep -oE '(.*)'\)", line)))
    text = json.dumps([asked, asked], separators=(",", ":"))
    found = subprocess.run(["grep", "-oE", words], input=text, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [asked, asked]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["image=sha256:", "container=", "volume=", "cache="]), st.text(max_size=80), st.text(max_size=40)
)
def test_nothing_that_means_something_to_a_shell_gets_into_it(kind: str, id: str, state: str) -> None:
    (pattern,) = (parameter["allowedPattern"] for parameter in document(LEFTOVERS)["parameters"].values())
    asked = f"{kind}{id}@{state}"
    if re.fullmatch(pattern, asked):
        assert re.fullmatch(r"[A-Za-z0-9_.:/@=+-]+", asked)


@pytest.mark.parametrize("evil", ["'; reboot; '", "$(reboot)", "`reboot`", "a b", "a\n", "--force", "*", '"', "a,b"])
def test_what_is_not_so_is_refused(evil: str) -> None:
    checked = Document.parse("d", LEFTOVERS.read_text())
    for asked in (f"volume={evil}@2026-11-22T21:15:55Z", f"volume=data@{evil}", f"image=sha256:{HEX}@{evil}", evil):
        with pytest.raises(SsmError):
            checked.check({"Objects": [asked]})


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_each_sample_event_leads_to_the_host(path: Path) -> None:
    event = from_envelope(json.loads(path.read_text()))
    assert isinstance(event, CleanDanglingImages.listens_to)
    assert list(CleanDanglingImages.targets(event, Inventory(hosts=(BUILD_1,)))) == [BUILD_1]


def test_there_is_a_sample_for_each_event() -> None:
    found = {type(from_envelope(json.loads(path.read_text()))) for path in EVENTS}
    assert found == set(CleanDanglingImages.listens_to)
