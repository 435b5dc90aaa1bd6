"""The documents and the sample event that belong to the toil type."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from functions.refresh_base_image.app import RefreshBaseImage
from local.ssm_agent.documents import Document, SsmError
from local.ssm_agent.publish import FUNCTIONS, document_name
from paydown.clients import bases
from paydown.clients.base_contents import DnfRecipe, Recipe
from paydown.clients.docker_hosts.ssm import COMMAND_SECONDS
from paydown.inventory import Inventory
from paydown.sources.aws import from_envelope
from tests.unit.command_documents import assert_is_shell, document, lines

PATHS = sorted((FUNCTIONS / "refresh_base_image/documents").glob("*.json"))
BY_NAME = {path.stem: path for path in PATHS}
LONG = {"build_base_image", "build_rpm_base", "push_base_image", "unpack_base_image"}
"""Those that nobody waits for."""
READING = {"list_base_packages", "list_rpm_packages", "read_base_contents", "read_base_image", "unpack_base_image"}
SAMPLE = FUNCTIONS.parent / "events/refresh_base_image/sweep.json"


def test_the_documents_have_the_names_that_the_client_asks_for() -> None:
    asked = [value for name, value in vars(bases).items() if name.endswith("_DOCUMENT")]
    asked += [word for recipe in (Recipe, DnfRecipe) for word in (recipe.list_document, recipe.build_document)]
    assert sorted(document_name("s", path) for path in PATHS) == sorted(f"s-{name}" for name in asked)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_document_is_valid_shell_and_ends_in_time(path: Path) -> None:
    Document.parse(path.stem, path.read_text())
    seconds = float(document(path)["mainSteps"][0]["inputs"]["timeoutSeconds"])
    assert (seconds > COMMAND_SECONDS) == (path.stem in LONG)
    assert_is_shell(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_parameter_is_bounded_and_stands_between_quotes(path: Path) -> None:
    script = "\n".join(lines(path))
    parameters = document(path)["parameters"]
    assert set(re.findall(r"\{\{ (\w+) \}\}", script)) == set(parameters)
    assert "${" not in script
    for name, schema in parameters.items():
        assert "allowedPattern" in schema or "allowedValues" in schema
        for found in re.finditer(rf"(.*)\{{\{{ {name} \}}\}}", script):
            assert found[1].count("'") % 2 == 1, found[0]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_signatures_are_never_waived(path: Path) -> None:
    script = "\n".join(lines(path))
    assert not re.search(r"allow-unauthenticated|no-check-gpg|trusted=yes|AllowUnauthenticated \"true", script)
    assert not re.search(
        r"nogpgcheck|gpgcheck=(0|false)(?<!repo_gpgcheck=0)|nosignature|_pkgverify_level (none|digest)", script
    )
    if "mmdebstrap" in script:
        assert """--aptopt='APT::Get::AllowUnauthenticated "false"'""" in script
        assert "--keyring='{{ Keyring }}'" in script
    if "dnf-3 " in script:
        assert r"printf 'name=%s\nbaseurl=%s\nskip_if_unavailable=0\ngpgcheck=1\n'" in script
        assert "%_pkgverify_level all" in script
        assert "'reposdir=/dev/null' 'varsdir=/dev/null' 'plugins=0' 'gpgcheck=1'" in script


def test_what_a_repository_told_a_moment_ago_is_asked_anew() -> None:
    asked = [line for line in lines(BY_NAME["list_rpm_packages"]) if re.search(r"(^|; then )ask ", line)]
    assert len(asked) == 2
    assert all('ask "$@" --refresh ' in line for line in asked)  # within one second dnf would take what it has


def between(path: Path, first: str, last: str) -> list[str]:
    """The lines from one that begins so to one that does."""
    found = lines(path)
    begin = next(at for at, line in enumerate(found) if line.startswith(first))
    end = next(at for at, line in enumerate(found) if at >= begin and line.startswith(last))
    return found[begin : end + 1]


@pytest.mark.parametrize(
    ("names", "first", "last"),
    [
        (("list_rpm_packages", "build_rpm_base"), "command -v dnf-3", "for file in $keys"),
        (("list_rpm_packages", "build_rpm_base"), 'mkdir -p "$work/home"', "packages="),
        (("build_base_image", "build_rpm_base"), '[ -n "$HOME" ]', "docker version"),
        (("build_base_image", "build_rpm_base"), 'mkdir -p "$place"', "done"),
        (("build_base_image", "build_rpm_base"), "newest=", "newest="),
        (("build_base_image", "build_rpm_base"), "diff=", "diff="),
        (("build_base_image", "build_rpm_base"), "image=$(docker import", "try /bin/sh -c true"),
        (("build_base_image", "build_rpm_base"), "printf 'sha256:", "echo paydown-end"),
    ],
)
def test_what_documents_have_in_common_is_the_same(names: tuple[str, str], first: str, last: str) -> None:
    one, other = (between(BY_NAME[name], first, last) for name in names)
    assert one == other


def test_documents_of_a_family_take_the_same_recipe() -> None:
    for listing, building in (("list_base_packages", "build_base_image"), ("list_rpm_packages", "build_rpm_base")):
        asked = document(BY_NAME[listing])["parameters"]
        assert document(BY_NAME[building])["parameters"] == {
            **{name: document(BY_NAME["push_base_image"])["parameters"][name] for name in ("Key", "Run")},
            **asked,
        }


@pytest.mark.parametrize("name", sorted(READING))
def test_what_only_looks_starts_and_removes_nothing_of_the_engine(name: str) -> None:
    commands = set(re.findall(r"docker (image \w+|\w+)", "\n".join(lines(BY_NAME[name])))) - {"command"}
    assert commands <= {"version", "image inspect", "pull", "save"}


@pytest.mark.parametrize(
    ("name", "parameter", "evil"),
    [
        ("read_base_image", "Key", "../../etc"),
        ("forget_base_image", "Key", "0" * 31),
        ("read_base_contents", "Image", "paydown-base:latest"),
        ("read_base_contents", "Image", "images.example/base@sha256:" + "0" * 64 + "'; reboot; '"),
    ],
)
def test_what_is_no_key_or_image_is_refused(name: str, parameter: str, evil: str) -> None:
    checked = Document.parse(name, BY_NAME[name].read_text())
    with pytest.raises(SsmError):
        checked.check({parameter: [evil]})


def test_the_sample_leads_to_each_base_and_registry() -> None:
    registry = {"uid": "r", "name": "images.example", "url": "https://images.example", "bases": ["base/debian"]}
    inventory = Inventory.parse({"registries": [registry]})
    event = from_envelope(json.loads(SAMPLE.read_text()))
    assert isinstance(event, RefreshBaseImage.listens_to)
    found = [target.ref for target in RefreshBaseImage.targets(event, inventory)]
    assert found == ["repository/images.example/base/debian", "registry/images.example"]


def test_without_a_base_there_is_nothing_to_look_at() -> None:
    event = from_envelope(json.loads(SAMPLE.read_text()))
    assert event is not None
    inventory = Inventory.parse({"registries": [{"uid": "r", "name": "i", "url": "https://i"}]})
    assert list(RefreshBaseImage.targets(event, inventory)) == []
