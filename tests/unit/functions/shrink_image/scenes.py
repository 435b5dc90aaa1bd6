"""Runs of `shrink_image` without a ledger, on a registry and a host in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.shrink_image.actions import OfferImage, PublishProposal
from functions.shrink_image.app import ShrinkImage
from functions.shrink_image.settings import Settings
from paydown.clients.docker_builds import Cannot, Ran
from paydown.events import ImagePushed
from paydown.inventory import Inventory, Tag
from paydown.ledger import Ledger, Run
from paydown.plan import Done
from paydown.policy import Policy
from paydown.toil import Scene
from tests.unit.functions.shrink_image.layers import FakeRegistry, layer
from tests.unit.functions.shrink_image.small_elf import elf

NOW = datetime(2026, 7, 3, tzinfo=UTC)
SAMPLE = json.loads((Path(__file__).parents[4] / "events/shrink_image/image_pushed.json").read_text())
REGISTRY, REPOSITORY, TAG = (SAMPLE["detail"][name] for name in ("registry", "repository", "tag"))
NAME = f"{REGISTRY}/{REPOSITORY}"
INVENTORY: dict[str, Any] = {
    "hosts": [
        {
            "uid": "h1",
            "name": "build-1",
            "reach": {"via": "unix", "path": "/run/docker.sock"},
            "builds": [f"{REGISTRY}/shop/*"],
        }
    ],
    "registries": [{"uid": "r1", "name": REGISTRY, "url": f"https://{REGISTRY}", "repositories": ["shop/*"]}],
    "trackers": [
        {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"}
    ],
}
ECR = {**INVENTORY["registries"][0], "system": "ecr"}
TRIALS = [{"image": f"{REGISTRY}/shop/*", "commands": [["--version"]]}]
PROGRAM = elf(tail=b"\x00/etc/app.conf\x00")
FILES = {"usr/bin/app": PROGRAM, "etc/app.conf": b"", "srv/ballast": bytes(range(256)) * 8_000}
"""Two megabytes beside the program."""


class FakeHost:
    """`says` is what the original and the smaller image answer, by their order."""

    def __init__(self) -> None:
        self.says: Callable[[str, Sequence[str] | None], Ran | Cannot] = lambda image, words: Ran(0, b"1.4\n")
        self.ran: list[tuple[str, Sequence[str] | None]] = []
        self.swept: list[str] = []
        self.machine = "amd64"
        self.trouble: Exception | None = None
        self.logins: list[object] = []

    def architecture(self) -> str:
        if self.trouble:
            raise self.trouble
        return self.machine

    def sweep(self, mark: str) -> None:
        self.swept.append(mark)

    @contextmanager
    def image(self, id: str, name: str, credentials: object) -> Iterator[str]:
        self.logins.append(credentials)
        yield "original"

    @contextmanager
    def loaded(self, id: str, archive: Iterator[bytes]) -> Iterator[str]:
        assert len(b"".join(archive)) % 512 == 0
        yield "smaller"

    def run(self, image: str, arguments: Sequence[str] | None, *, seconds: int, mark: str) -> Ran | Cannot:
        self.ran.append((image, arguments))
        return self.says(image, arguments)


def push(registry: FakeRegistry, program: bytes = PROGRAM, files: dict[str, Any] | None = None, **config: Any) -> str:
    made = layer({**FILES, "usr/bin/app": program, **(files or {})})
    return registry.push(TAG, [made], **{"Entrypoint": ["app"], **config})


def small(digest: str) -> str:
    """The tag of the smaller image of an original."""
    return f"{TAG}-scratch-{digest[7:19]}"


SMALL = small(push(FakeRegistry()))


def actions(ledger: Ledger, run: Run) -> dict[str, Any]:
    verbs = {one.verb(): one for one in ShrinkImage.does}
    return {step.action.verb(): step.action for step in ledger.journal.read(run, run.plan_number, verbs)}


def why(run: Run) -> str:
    return run.reasons[0].text


def toil_of(
    observing: bool = False, inventory: dict[str, Any] | None = None, **settings: Any
) -> tuple[ShrinkImage, Tag]:
    """A run on the push, that has no memory of others."""
    declared = Inventory.parse({**INVENTORY, **(inventory or {})})
    event = ImagePushed.from_detail(SAMPLE["detail"])
    toil = Forgetful(
        Scene(
            run_id="r",
            event=event,
            inventory=declared,
            policy=Policy(),
            settings=Settings.model_validate({"trials": TRIALS, **settings}),
            observing=observing,
            now=lambda: NOW,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
    )
    [target] = ShrinkImage.targets(event, declared)
    return toil, target


class Forgetful(ShrinkImage):
    """Has no ledger."""

    def _said_before(self, target: Tag, said: str) -> bool:
        return False


def scene(registry: FakeRegistry) -> tuple[ShrinkImage, Tag, OfferImage, PublishProposal]:
    """A run that has planned an offer."""
    toil, target = toil_of()
    if TAG not in registry.manifests:
        push(registry)
    [[offer], [proposal]] = toil.plan(target).stages
    assert isinstance(offer, OfferImage)
    assert isinstance(proposal, PublishProposal)
    return toil, target, offer, proposal


def proposal_of(**changes: Any) -> PublishProposal:
    """What is proposed, where nothing is offered."""
    toil, target = toil_of(**changes)
    [[proposal]] = toil.plan(target).stages
    assert isinstance(proposal, PublishProposal)
    return proposal


def trial_of(registry: FakeRegistry, **changes: Any) -> str:
    """What keeps a planned offer from being made; empty if it is made."""
    push(registry)
    toil, target = toil_of(**changes)
    [[offer], _] = toil.plan(target).stages
    done = toil.apply(offer, target)
    assert isinstance(done, Done)
    assert done.evidence["offered"] == (SMALL in registry.written)
    return str(done.evidence.get("why", ""))


def skipped(**settings: Any) -> str:
    """Why nothing is planned."""
    toil, target = toil_of(**settings)
    draft = toil.plan(target)
    assert not draft.stages
    return draft.why
