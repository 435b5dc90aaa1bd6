"""What is asked of a build host, and what its answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from paydown.clients.base_contents import Candidate, Recipe
from paydown.clients.bases import BuildHost, open_build_host
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Ssm, Unix

KEY = "0" * 32
RECIPE = Recipe("bookworm", ("deb https://mirror.example/debian bookworm main",), "apt", ("bash", "dash"), "/k.gpg")


class Pretended(BuildHost):
    """A host whose documents say what a test wants."""

    def __init__(self, output: str = "") -> None:
        super().__init__("build-1", "i-0123456789abcdef0")
        self.output = output
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    def _run(self, document: str, parameters: dict[str, list[str]]) -> str:
        self.asked.append((document, parameters))
        return f"{self.output}\npaydown-end\n"

    def _send(self, document: str, parameters: dict[str, list[str]], bucket: str) -> str:
        self.asked.append((document, parameters))
        return "c-1"


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
    assert Pretended(output).read(KEY) == candidate


def test_packages_are_told_with_their_architecture() -> None:
    host = Pretended("package bash 5.2.15-2+b13 amd64\npackage base-files 12.4+deb12u15 all")
    assert host.packages(RECIPE) == {"bash/amd64": "5.2.15-2+b13", "base-files/all": "12.4+deb12u15"}
    [(document, parameters)] = host.asked
    assert document == "ListBasePackages"
    assert parameters["Include"] == ["bash,dash"]


def test_no_package_at_all_is_no_answer() -> None:
    with pytest.raises(PermanentError, match="names no package"):
        Pretended().packages(RECIPE)


def test_a_listing_that_makes_no_sense_is_a_permanent_fault() -> None:
    with pytest.raises(PermanentError, match="build-1: the list of files of paydown-base:0"):
        Pretended("entry f 644 0:0 a\t").contents(f"paydown-base:{KEY}")
    with pytest.raises(PermanentError, match="makes no sense"):
        Pretended("hash 00  ./a").contents(f"paydown-base:{KEY}")


def test_what_takes_long_is_sent_and_not_waited_for() -> None:
    host = Pretended()
    host.build(KEY, "1f0c", RECIPE)
    host.push(KEY, "1f0c", "images.example/base:20260701")
    assert [document for document, _ in host.asked] == ["BuildBaseImage", "PushBaseImage"]
    assert host.asked[1][1] == {"Key": [KEY], "Run": ["1f0c"], "Name": ["images.example/base:20260701"]}


def test_a_candidate_in_use_is_not_forgotten() -> None:
    assert Pretended().forget(KEY)
    assert not Pretended("running").forget(KEY)


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
    assert isinstance(Pretended()._failure(invocation), kind)


def test_only_a_host_behind_ssm_is_opened() -> None:
    reach = Ssm(via="ssm", instance_id="i-0123456789abcdef0")
    assert isinstance(open_build_host(Host(uid="h", name="h", reach=reach)), BuildHost)
    with pytest.raises(PermanentError, match="host/h is reached by unix: a base image is bootstrapped over ssm only"):
        open_build_host(Host(uid="h", name="h", reach=Unix(via="unix", path="/s")))
