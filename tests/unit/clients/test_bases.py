"""What is asked of a build host, and what its answers mean."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from paydown.clients.base_contents import Candidate, Recipe
from paydown.clients.bases import BuildHost, OverSsm, Parameters, open_build_host
from paydown.clients.docker_hosts.builder import BuilderContainer, Needs
from paydown.clients.docker_hosts.logins import FOLDER, Login, archive
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Reach, Ssm, Unix

INSTANCE = "i-0123456789abcdef0"
KEY = "0" * 32
RECIPE = Recipe("bookworm", ("deb https://mirror.example/debian bookworm main",), "apt", ("bash", "dash"), "/k.gpg")


class Pretended:
    """A runner whose documents say what a test wants."""

    def __init__(self, output: str = "") -> None:
        self.output = output
        self.asked: list[tuple[str, Parameters, Needs]] = []
        self.logins: list[Login | None] = []

    def run(self, document: str, parameters: Parameters, needs: Needs = Needs.LOOK) -> str:
        self.asked.append((document, parameters, needs))
        return f"{self.output}\npaydown-end\n"

    def start(
        self, document: str, parameters: Parameters, needs: Needs = Needs.ENGINE, login: Login | None = None
    ) -> None:
        self.asked.append((document, parameters, needs))
        self.logins.append(login)


def host(runner: Pretended) -> BuildHost:
    return BuildHost("build-1", runner)


@pytest.mark.parametrize(
    ("output", "candidate"),
    [
        ("", Candidate()),
        ("running", Candidate(running=True)),
        ("failed 1f0c the bootstrap\tfailed:  E: no", Candidate(failed=("1f0c", "the bootstrap failed: E: no"))),
        ("done sha256:d sha256:i", Candidate(diff_id="sha256:d", image="sha256:i")),
        (
            "running\nfailed ab the push failed\ndone sha256:d sha256:i",
            Candidate(True, ("ab", "the push failed"), "sha256:d", "sha256:i"),
        ),
    ],
)
def test_how_far_a_candidate_is(output: str, candidate: Candidate) -> None:
    assert host(Pretended(output)).read(KEY) == candidate


def test_packages_are_told_with_their_architecture() -> None:
    runner = Pretended("package bash 5.2.15-2+b13 amd64\npackage base-files 12.4+deb12u15 all")
    assert host(runner).packages(RECIPE) == {"bash/amd64": "5.2.15-2+b13", "base-files/all": "12.4+deb12u15"}
    [(document, parameters, needs)] = runner.asked
    assert (document, needs) == ("ListBasePackages", Needs.LOOK)
    assert parameters["Include"] == ["bash,dash"]


def test_no_package_at_all_is_no_answer() -> None:
    with pytest.raises(PermanentError, match="names no package"):
        host(Pretended()).packages(RECIPE)


def test_a_listing_that_makes_no_sense_is_a_permanent_fault() -> None:
    with pytest.raises(PermanentError, match="build-1: the list of files of paydown-base:0"):
        host(Pretended("entry f 644 0:0 a\t")).contents(f"paydown-base:{KEY}")
    with pytest.raises(PermanentError, match="makes no sense"):
        host(Pretended("hash 00  ./a")).contents(f"paydown-base:{KEY}")


def test_what_takes_long_is_sent_and_not_waited_for() -> None:
    runner = Pretended()
    host(runner).build(KEY, "1f0c", RECIPE)
    host(runner).push(KEY, "1f0c", "images.example/base:20260701")
    assert [document for document, _, _ in runner.asked] == ["BuildBaseImage", "PushBaseImage"]
    assert runner.asked[1][1] == {"Key": [KEY], "Run": ["1f0c"], "Name": ["images.example/base:20260701"]}


def test_only_a_bootstrap_may_mount_and_only_what_acts_gets_the_engine() -> None:
    runner = Pretended()
    made = host(runner)
    made.build(KEY, "1f0c", RECIPE)
    made.unpack(f"paydown-base:{KEY}", "1f0c")
    made.push(KEY, "1f0c", "images.example/base:20260701")
    made.forget(KEY)
    made.read(KEY)
    made.contents(f"paydown-base:{KEY}")
    needs = [Needs.ROOT, Needs.ENGINE, Needs.ENGINE, Needs.ENGINE, Needs.LOOK, Needs.LOOK]
    assert [asked for _, _, asked in runner.asked] == needs


def test_a_login_goes_with_what_is_pushed_and_pulled() -> None:
    runner = Pretended()
    login = {"images.example": {"username": "AWS", "password": "hush"}}
    host(runner).push(KEY, "1f0c", "images.example/base:20260701", login)
    host(runner).unpack("images.example/base@sha256:" + "a" * 64, "1f0c", login)
    host(runner).unpack(f"paydown-base:{KEY}", "1f0c")
    assert runner.logins == [login, login, None]


def test_a_login_does_not_travel_over_ssm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OverSsm, "_send", lambda self, *rest: pytest.fail("it was sent"))
    login = {"images.example": {"username": "AWS", "password": "hush"}}
    with pytest.raises(PermanentError, match="does not travel over SSM") as caught:
        OverSsm("build-1", INSTANCE).start("PushBaseImage", {"Key": [KEY]}, login=login)
    assert "hush" not in str(caught.value)


def test_a_login_is_a_file_for_root_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive({"r.example": {"username": "AWS", "password": "a:b"}}))) as tar:
        folder, entry = tar.getmembers()
        held = tar.extractfile(entry)
        assert held is not None
        content = json.loads(held.read())
    assert (folder.name, folder.mode, entry.name, entry.mode) == (FOLDER, 0o700, f"{FOLDER}/config.json", 0o600)
    assert base64.b64decode(content["auths"]["r.example"]["auth"]) == b"AWS:a:b"


def test_a_candidate_in_use_is_not_forgotten() -> None:
    assert host(Pretended()).forget(KEY)
    assert not host(Pretended("running")).forget(KEY)


@pytest.mark.parametrize(
    ("code", "kind"), [(12, PermanentError), (10, PermanentError), (11, RetryableError), (13, RetryableError)]
)
def test_some_failures_are_worth_another_try(code: int, kind: type[Exception]) -> None:
    invocation: Any = {
        "ResponseCode": code,
        "StandardErrorContent": "mmdebstrap is not installed\n",
        "StatusDetails": "Failed",
        "CommandId": "c-1",
    }
    assert isinstance(OverSsm("build-1", INSTANCE)._failure(invocation), kind)


def test_a_document_goes_to_the_agent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(OverSsm, "_run", lambda self, document, parameters: f"{document} {parameters}")
    monkeypatch.setattr(OverSsm, "_send", lambda self, *rest: sent.append(rest))
    runner = OverSsm("build-1", INSTANCE)
    assert runner.run("ReadBaseImage", {"Key": [KEY]}, Needs.LOOK) == f"ReadBaseImage {{'Key': ['{KEY}']}}"
    runner.start("PushBaseImage", {"Key": [KEY]}, Needs.ENGINE)
    assert sent == [("PushBaseImage", {"Key": [KEY]}, "")]


def opened(reach: Reach, **options: Any) -> Any:
    found = open_build_host(Host(uid="h", name="h", reach=reach), documents=Path("/d"), **options)
    return found._runner


def test_each_way_has_its_runner() -> None:
    assert isinstance(opened(Ssm(via="ssm", instance_id=INSTANCE), builder="b:1"), OverSsm)
    assert isinstance(opened(Unix(via="unix", path="/s"), builder="b:1"), BuilderContainer)


def test_over_a_socket_a_builder_must_be_named() -> None:
    with pytest.raises(PermanentError, match="host/h is reached by unix: the settings must name a `builder` image"):
        opened(Unix(via="unix", path="/s"))
