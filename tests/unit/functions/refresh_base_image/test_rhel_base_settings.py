"""What the policy may say of bases of the RHEL family: nothing that a shell or dnf's configuration could take amiss."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from functions.refresh_base_image.settings import RHEL_MINIMAL, DebianBase, RhelBase, Settings
from local.ssm_agent.documents import Document, SsmError
from local.ssm_agent.publish import FUNCTIONS

NAME = "images.example/base/alma"
BASEOS = {"id": "baseos", "url": "https://mirror.example/almalinux/$releasever/BaseOS/$basearch/os/"}
APPSTREAM = {"id": "appstream", "url": "http://mirror.example:8080/~x/AppStream", "repo_gpgcheck": True}
KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9"
EVIL = [
    "'; reboot; '",
    "$(reboot)",
    "`id`",
    "a b",
    "a\nb",
    '"',
    "a'b",
    "-o x",
    "{{ Key }}",
    "",
    "a]",
    "[a",
    "a,b",
    "$HOME",
]
BUILD = Document.parse("b", (FUNCTIONS / "refresh_base_image/documents/build_rpm_base.json").read_text())


def base(**changes: Any) -> RhelBase:
    said = {"family": "rhel", "host": "build-1", "release": "9", "repositories": [BASEOS], "keys": [KEY]}
    return RhelBase.model_validate({**said, **changes})


def sent(made: RhelBase) -> dict[str, list[str]]:
    return {"Key": ["0" * 32], "Run": ["1f0c"], **made.recipe.parameters}


def test_a_recipe_becomes_parameters_that_the_document_takes() -> None:
    values = BUILD.check(sent(base(repositories=[BASEOS, APPSTREAM], include=["bash", "libstdc++", "NetworkManager"])))
    assert values["Release"] == "9"
    assert values["Include"] == "bash,libstdc++,NetworkManager"
    assert values["Keys"] == [KEY]
    assert values["Repositories"] == [f"baseos {BASEOS['url']}", f"appstream {APPSTREAM['url']} repo_gpgcheck"]


def test_the_least_that_is_said_gives_a_minimal_image() -> None:
    assert base().include == RHEL_MINIMAL
    assert base().source == "https://mirror.example/almalinux/9/BaseOS/$basearch/os/"


@pytest.mark.parametrize("evil", EVIL)
def test_what_means_something_to_a_shell_is_refused(evil: str) -> None:
    for changes in (
        {"release": evil},
        {"include": [evil]},
        {"packages": [evil]},
        {"keys": [evil]},
        {"keys": [f"/{evil}"]},
        {"repositories": [{**BASEOS, "id": evil}]},
        {"repositories": [{**BASEOS, "url": f"https://{evil}"}]},
        {"repositories": [{**BASEOS, "url": f"https://a/{evil}" if evil else ""}]},
    ):
        with pytest.raises(ValidationError):
            base(**changes)


@pytest.mark.parametrize(
    "url", ["file:///srv", "ftp://a/b", "https://a/$arch", "https://user@a/b", "https://a/?gpgcheck=0"]
)
def test_a_repository_is_an_address_and_nothing_more(url: str) -> None:
    with pytest.raises(ValidationError):
        base(repositories=[{**BASEOS, "url": url}])


@pytest.mark.parametrize("ids", [["main"], ["a", "a"]])
def test_each_repository_has_an_id_of_its_own(ids: list[str]) -> None:
    with pytest.raises(ValidationError, match="an id of its own"):
        base(repositories=[{**BASEOS, "id": one} for one in ids])


def test_signatures_cannot_be_waived() -> None:
    for changes in ({"gpgcheck": False}, {"keys": []}, {"repositories": [{**BASEOS, "gpgcheck": False}]}):
        with pytest.raises(ValidationError):
            base(**changes)


def test_what_may_be_in_it_is_no_part_of_the_recipe() -> None:
    other = base(privileged=[], packages=["lib*"], files=["/etc/x"], host="b", keys=["/k"], builder="b:1")
    assert other.digest == base().digest
    assert len({base().digest, base(release="9.4").digest, base(include=["bash"]).digest}) == 3
    assert base(repositories=[{**BASEOS, "url": "https://other.example"}]).digest != base().digest


def test_a_base_without_a_family_is_one_of_debians() -> None:
    debian = {"host": "build-1", "sources": [{"mirror": "https://mirror.example/debian", "suite": "bookworm"}]}
    bases = {"r.example/a": debian, "r.example/b": {**debian, "family": "debian"}, NAME: base().model_dump()}
    found = Settings.model_validate({"bases": bases}).bases
    assert [type(one) for one in found.values()] == [DebianBase, DebianBase, RhelBase]
    again = Settings.model_validate(Settings.model_validate({"bases": found}).model_dump(mode="json"))
    assert again.bases == found
    assert Settings.model_json_schema()


@pytest.mark.parametrize(
    "wrong",
    [
        {"family": "suse"},
        {"sources": []},
        {"keyring": "/k.gpg"},
        {"variant": "apt"},
        {"family": "debian"},
        {"family": 7},
    ],
)
def test_what_belongs_to_another_family_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"bases": {NAME: {**base().model_dump(), **wrong}}})


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=60), st.text(max_size=20), st.text(max_size=30), st.text(max_size=40))
def test_whatever_the_settings_take_the_document_takes(id: str, url: str, release: str, package: str, key: str) -> None:
    try:
        made = base(
            repositories=[{"id": id, "url": f"https://a{url}"}], release=release, include=[package], keys=[f"/{key}"]
        )
    except ValidationError:
        return
    values = list(BUILD.check(sent(made)).values())[2:]
    assert re.fullmatch(r"[A-Za-z0-9.:/_~+, \[\]\"$-]+", json.dumps(values))


@pytest.mark.parametrize(
    "evil", ["main https://a/ gpgcheck=0", "a https://a\\ngpgcheck=0", "a https://a/$(id)", "a https://$$x"]
)
def test_the_document_refuses_it_too(evil: str) -> None:
    with pytest.raises(SsmError):
        BUILD.check({**sent(base()), "Repositories": [evil]})


def test_the_longest_url_fits_the_document() -> None:
    made = base(repositories=[{**BASEOS, "url": "https://a" + "/" * 246}])
    assert BUILD.check(sent(made))
    with pytest.raises(ValidationError):
        base(repositories=[{**BASEOS, "url": "https://a" + "/" * 247}])


def test_dnf_is_told_of_these_repositories_and_keys_alone(tmp_path: Any) -> None:
    made = base(repositories=[BASEOS, APPSTREAM], keys=[KEY, "/k/other+1"])
    script = BUILD.script(BUILD.check(sent(made))).splitlines()
    keys = next(line for line in script if line.startswith("keys="))
    begin, end = (
        next(at for at, line in enumerate(script) if line.startswith(one))
        for one in ('mkdir -p "$work/home"', "packages=")
    )
    shown = [
        f"work={tmp_path}",
        f"root={tmp_path}/root",
        keys,
        *script[begin : end + 1],
        'printf "%s\\n" "$@" $packages',
    ]
    done = subprocess.run(["sh", "-euc", "\n".join(shown)], capture_output=True, text=True, check=True)
    conf = (tmp_path / "dnf.conf").read_text()
    told = f"gpgkey=file://{KEY} file:///k/other+1 \n"
    assert conf.startswith("[main]\nreposdir=/dev/null\n")
    assert conf.count("\n[") == 2
    assert conf.count(told) == 2
    assert (
        f"[baseos]\nname=baseos\nbaseurl={BASEOS['url']}\nskip_if_unavailable=0\ngpgcheck=1\nrepo_gpgcheck=0\n" in conf
    )
    assert (
        f"[appstream]\nname=appstream\nbaseurl={APPSTREAM['url']}\nskip_if_unavailable=0\ngpgcheck=1\nrepo_gpgcheck=1\n"
        in conf
    )
    asked = done.stdout.splitlines()
    assert asked[-7:] == ["--setopt=module_platform_id=platform:el9", *RHEL_MINIMAL]
    assert "--releasever=9" in asked
