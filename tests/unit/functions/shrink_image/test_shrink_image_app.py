"""A push becomes a proposal or an offer, in the plan of a run and in a ticket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.shrink_image.actions import OfferImage, PublishProposal
from functions.shrink_image.app import ShrinkImage
from paydown.clients import registry_ecr
from paydown.clients.docker_builds import Ran
from paydown.errors import PermanentError, RetryableError
from paydown.events import ImagePushed, Sweep
from paydown.inventory import Inventory
from paydown.ledger import Ledger, Outcome
from tests.unit.functions.report_outcome.fake_tickets import Tickets
from tests.unit.functions.shrink_image.conftest import Work
from tests.unit.functions.shrink_image.layers import FakeRegistry, layer
from tests.unit.functions.shrink_image.scenes import (
    ECR,
    FILES,
    INVENTORY,
    NAME,
    NOW,
    PROGRAM,
    SAMPLE,
    SMALL,
    TAG,
    TRIALS,
    FakeHost,
    actions,
    proposal_of,
    push,
    scene,
    skipped,
    small,
    toil_of,
    trial_of,
    why,
)
from tests.unit.functions.shrink_image.small_elf import AARCH64, DYN, PIE, elf


def test_the_target_is_the_tag() -> None:
    inventory = Inventory.parse(INVENTORY)
    event = ImagePushed.from_detail(SAMPLE["detail"])
    [found] = ShrinkImage.targets(event, inventory)
    assert found.ref == f"tag/{NAME}:{TAG}"
    for other in (
        event.model_copy(update={"tag": None}),
        event.model_copy(update={"repository": "other/web"}),
        Sweep(key="s", at=NOW, rule="daily"),
    ):
        assert list(ShrinkImage.targets(other, inventory)) == []


def test_what_nothing_tells_apart_gets_its_tag(work: Work, registry: FakeRegistry, host: FakeHost) -> None:
    digest = push(registry)
    run = work()
    assert run.status is Outcome.VERIFIED
    assert run.evidence["offered"] == f"{NAME}:{SMALL}"
    assert registry.written == [SMALL]
    assert host.ran == [("original", ["--version"]), ("smaller", ["--version"])]
    manifest = registry.manifests[SMALL].document
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    assert config["config"] == {"Entrypoint": ["app"], "Labels": {"paydown.shrunk-from": f"{NAME}@{digest}"}}
    assert run.evidence["saves_bytes"] > 2_000_000
    assert why(work()) == "the smaller image is offered already"
    assert why(work(tag=SMALL)) == "no smaller image of this: it was made here"


def test_in_ecr_it_gets_its_tag_too(
    work: Work, registry: FakeRegistry, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = {"username": "AWS", "password": "hush"}
    monkeypatch.setattr(registry_ecr, "credentials", lambda registry: token)
    push(registry)
    run = work(inventory={"registries": [ECR]})
    assert run.evidence["offered"] == f"{NAME}:{SMALL}", run.evidence
    assert registry.written == [SMALL]
    assert host.logins == [token]


def test_the_same_original_makes_the_same_image(registry: FakeRegistry) -> None:
    assert scene(registry)[2] == scene(registry)[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": []}, "the settings name no command to try it with"),
        ({"inventory": {"hosts": []}}, "the inventory names no Docker host that builds it"),
        (
            {
                "inventory": {
                    "hosts": [{**INVENTORY["hosts"][0], "reach": {"via": "ssm", "instance_id": "i-0123456789"}}]
                }
            },
            "reached over SSM, where nothing is tried",
        ),
        ({"trials": [{**TRIALS[0], "keep": ["/nowhere"]}]}, "keep names /nowhere"),
    ],
)
def test_what_cannot_be_tried_is_only_proposed(registry: FakeRegistry, changes: dict[str, Any], said: str) -> None:
    push(registry)
    assert said in proposal_of(**changes).text


@pytest.mark.parametrize(
    ("config", "files", "said"),
    [
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl x"]}}, {}, "its HEALTHCHECK runs something else"),
        ({"Healthcheck": {"Test": ["CMD", "/bin/other"]}}, {}, "its HEALTHCHECK runs something else"),
        ({"Volumes": {"/data": {}}}, {"data/x": b""}, "its VOLUME /data begins with files"),
        ({"User": "nobody"}, {}, "its user nobody is not in its /etc/passwd"),
    ],
)
def test_what_would_be_lost_stands_against_an_offer(
    registry: FakeRegistry, config: dict[str, Any], files: dict[str, Any], said: str
) -> None:
    push(registry, files=files, **config)
    assert said in proposal_of().text


def test_a_health_check_of_the_program_itself_is_fine(registry: FakeRegistry) -> None:
    push(registry, Healthcheck={"Test": ["CMD", "/usr/bin/app", "-h"]})
    assert isinstance(scene(registry)[2], OfferImage)


@pytest.mark.parametrize(
    ("config", "program", "said"),
    [
        ({"Entrypoint": ["/bin/sh", "-c", "app"]}, PROGRAM, "sh starts it"),
        ({"Entrypoint": ["python3.12", "x"]}, PROGRAM, "python3.12 starts it"),
        ({"Entrypoint": None}, PROGRAM, "it says no program to start"),
        ({"Entrypoint": ["gone"]}, PROGRAM, "its program is not among its files"),
        ({}, b"#!/bin/sh\n", "a script starts it"),
        ({}, b"MZ", "no ELF program"),
        ({}, b"\x7fELF", "its program cannot be read"),
        ({}, elf(kind=DYN, needed=["x"]), "but a library"),
        ({}, elf(machine=AARCH64), "its program is for arm64"),
    ],
)
def test_what_is_no_single_program_is_skipped(
    registry: FakeRegistry, config: dict[str, Any], program: bytes, said: str
) -> None:
    push(registry, program, **config)
    assert said in skipped()


@pytest.mark.parametrize(
    "config",
    [{"Labels": ["x"]}, {"Labels": {"a": 1}}, {"Cmd": "app"}, {"Env": [1]}, {"User": 7}, {"Volumes": ["/x"]}],
)
def test_a_configuration_of_another_form_is_not_guessed_at(registry: FakeRegistry, config: dict[str, Any]) -> None:
    push(registry, **config)
    assert "its configuration has a" in skipped()


def test_what_is_no_text_becomes_no_fault(registry: FakeRegistry) -> None:
    odd = "\ud800\x1b[31m\u202e\n"
    push(registry, Entrypoint=[f"python{odd}"])
    assert skipped() == "no smaller image of this: python?[31m starts it: what it is for is no single program"
    push(registry, User=f"x{odd}", Labels={odd: odd}, StopSignal=odd, Env=[odd])
    proposal = proposal_of()
    assert "its user x?[31m is not in its /etc/passwd" in proposal.text
    assert PublishProposal.model_validate_json(proposal.model_dump_json()) == proposal
    assert proposal.dockerfile.count("# Something is left out here") == 4
    passwd = f"root:x:0:0::/{odd[0]}:\n".encode("utf-8", "surrogatepass").replace(b"root", b"\xffroot")
    push(registry, files={"etc/passwd": passwd})
    offer, told = (stage[0] for stage in toil_of()[0].plan(toil_of()[1]).stages)
    assert told.model_dump_json()
    assert isinstance(offer, OfferImage)


def test_a_link_to_a_shell_is_a_shell(registry: FakeRegistry) -> None:
    push(registry, files={"usr/bin/start": ("link", "busybox"), "usr/bin/busybox": PROGRAM}, Entrypoint=["start"])
    assert "busybox starts it" in skipped()


def test_what_saves_little_is_not_said(registry: FakeRegistry) -> None:
    push(registry)
    assert skipped(min_saving_bytes=5_000_000).startswith("a smaller image would save 2.")


def test_gone_and_index(registry: FakeRegistry) -> None:
    assert skipped() == "the image is gone"
    other = registry.image([layer(FILES)], architecture="arm64", Entrypoint=["app"])
    registry.index(TAG, {"linux/arm64": other})
    assert skipped() == "no smaller image of this: it is an index without an image for linux/amd64"
    mine = registry.image([layer(FILES)], Entrypoint=["app"])
    registry.index(TAG, {"linux/arm64": other, "linux/amd64": mine})
    assert scene(registry)[2].digest == mine.digest


def test_a_dynamic_program_is_explained(work: Work, registry: FakeRegistry, ledger: Ledger, host: FakeHost) -> None:
    loader = "/lib64/ld-linux-x86-64.so.2"
    program = elf(kind=DYN, flags=PIE, interpreter=loader, needed=["libc.so.6", "libgone.so"])
    push(registry, program, files={loader[1:]: elf(kind=DYN), "usr/lib/libc.so.6": elf(kind=DYN)})
    run = work()
    [proposal] = actions(ledger, run).values()
    assert f"It is loaded by {loader}, with 2 libraries" in proposal.text
    assert "  libc.so.6 => /usr/lib/libc.so.6\n  libgone.so => not found in the image\n" in proposal.text
    assert " AS build\n" in proposal.dockerfile
    assert "-static" in proposal.dockerfile
    assert not host.ran
    assert run.evidence["static"] is False


def test_the_same_is_said_once(work: Work, registry: FakeRegistry, tickets: Tickets) -> None:
    push(registry)
    first = work(trials=[], tracker="helpdesk")
    assert first.status is Outcome.VERIFIED
    assert why(work(trials=[], tracker="helpdesk")) == "this was looked at already"
    assert work(tracker="helpdesk").evidence["offered"]


def test_the_ticket_says_what_came_of_the_trial(
    work: Work, registry: FakeRegistry, host: FakeHost, tickets: Tickets
) -> None:
    push(registry)
    host.says = lambda image, words: Ran(0, image.encode())
    assert work(tracker="helpdesk").status is Outcome.VERIFIED
    [(title, _)] = tickets.made.values()
    assert title == f"Paydown: a smaller image of {NAME}:{TAG}"
    [text] = tickets.of("100")
    assert "“original”, then “smaller”" in text
    assert "Proposed Dockerfile:\n\nFROM " in text
    host.says = lambda image, words: Ran(0)
    digest = push(registry, files={"more": b""})
    work(tracker="helpdesk")
    [text] = tickets.of("100")
    assert f"it is offered as {NAME}:{small(digest)}." in text


def test_each_image_of_a_tag_that_moves_is_offered(work: Work, registry: FakeRegistry, host: FakeHost) -> None:
    push(registry)
    offered = [work().evidence["offered"]]
    digest = push(registry, program=elf(tail=b"the program is another one"))
    offered.append(work().evidence["offered"])
    assert offered == [f"{NAME}:{SMALL}", f"{NAME}:{small(digest)}"]
    assert registry.written == [SMALL, small(digest)]


def test_what_a_host_could_not_try_is_tried_with_the_next_push(
    work: Work, registry: FakeRegistry, host: FakeHost
) -> None:
    push(registry)
    host.trouble = PermanentError("the image cannot be pulled within 10 s")
    first = work()
    assert (first.status, first.evidence["offered"]) == (Outcome.VERIFIED, "")
    host.trouble = None
    assert work().evidence["offered"] == f"{NAME}:{SMALL}"


def test_observing_reads_only(work: Work, registry: FakeRegistry, host: FakeHost, ledger: Ledger) -> None:
    push(registry)
    run = work(observing=True)
    assert run.status is Outcome.OBSERVED
    assert set(actions(ledger, run)) == {"offer_image", "publish_proposal"}
    assert not host.ran
    assert not registry.written
    assert work().evidence["offered"], "what was only observed is not done yet"


def test_a_host_in_trouble(work: Work, registry: FakeRegistry, host: FakeHost) -> None:
    push(registry)
    host.trouble = RetryableError("the Docker engine does not answer")
    assert work().status is not Outcome.VERIFIED
    assert not registry.written


def test_a_host_that_refuses(registry: FakeRegistry, host: FakeHost) -> None:
    host.trouble = PermanentError("no TLS")
    assert trial_of(registry) == "it could not be tried: no TLS"


def test_another_architecture(registry: FakeRegistry, host: FakeHost) -> None:
    host.machine = "arm64"
    assert trial_of(registry) == "the host has another architecture"
