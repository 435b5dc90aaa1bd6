"""Promotions from and to Amazon ECR: its own scans count, and what it refuses is said before anything is copied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from paydown.clients import aws
from paydown.clients.registry_ecr import EcrRepository, Findings
from paydown.inventory import Inventory
from paydown.plan import Draft, Moot, NotYet
from tests.unit.functions.promote_image.fake_registries import LAB, PROD, World
from tests.unit.functions.promote_image.test_promote_image_app import action_of, why
from tests.unit.functions.promote_image.test_promote_image_facts import scan, two_platforms

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
BELOW_HIGH = {"require": {"findings_below": "high"}}


class EcrWorld(World):
    """One of the two registries is ECR."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, which: str, route: dict[str, Any]) -> None:
        super().__init__(monkeypatch, {"from": ECR, **route} if which == LAB else {"to": [ECR], **route})
        self.which = which
        self.scans: dict[str, Findings] = {}
        monkeypatch.setattr(EcrRepository, "findings", lambda _, digest: self.scans.get(digest))

    def _open(self, registry: Any, secret: Any, *, operator: bool) -> Any:
        place = self.which if registry.name == ECR else registry.name
        return {LAB: self.lab, PROD: self.prod}[place]

    @property
    def inventory(self) -> Inventory:
        made = super().inventory
        own = {"name": ECR, "url": f"https://{ECR}", "system": "ecr"}
        changed = [one.model_copy(update=own) if one.name == self.which else one for one in made.registries]
        return made.model_copy(update={"registries": tuple(changed)})

    def target(self, tag: str = "1.0", repository: str = "team/app") -> Any:
        return self.inventory.tag(ECR if self.which == LAB else LAB, repository, tag)

    def found(self, digest: str, at: int = 0, **counts: int) -> None:
        """What ECR says of an image, in its own words."""
        in_capitals = {word.upper(): count for word, count in counts.items()}
        self.scans[digest] = Findings(in_capitals, self.clock() + timedelta(seconds=at))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> EcrWorld:
    return EcrWorld(monkeypatch, LAB, BELOW_HIGH)


def told(world: EcrWorld, digest: str, at: int, **findings: int) -> None:
    """A scanner of any kind tells of a scan."""
    image = world.ledger.images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.unit.functions.promote_image.test_promote_image_facts.LAB", ECR)
        scan(world, digest, at, **findings)
    assert image.scan(world.target().repository.uid, digest) is not None


def test_a_scan_of_ecr_counts_though_nobody_told_of_it(source: EcrWorld) -> None:
    digest = source.lab.image("team/app", "1.0", b"1")
    waiting = source.toil().plan(source.target())
    assert isinstance(waiting, NotYet)
    assert "no scan" in waiting.why
    source.found(digest, medium=3, untriaged=1)
    action_of(source.toil().plan(source.target()))
    source.found(digest, high=2)
    assert "not for prod: findings_below: 2 high" in why(source.toil().plan(source.target()))


def test_a_continuous_scan_counts_as_it_is_when_the_tag_is_moved(source: EcrWorld) -> None:
    digest = source.lab.image("team/app", "1.0", b"1")
    source.found(digest)
    action = action_of(source.toil().plan(source.target()))
    source.found(digest, at=60, critical=1)
    answer = source.toil().apply(action, source.target())
    assert isinstance(answer, Moot)
    assert "findings_below: 1 critical" in answer.why
    assert source.prod.manifests == {}


def test_what_was_told_later_counts_too_and_what_was_told_before_does_not(source: EcrWorld) -> None:
    digest = source.lab.image("team/app", "1.0", b"1")
    told(source, digest, at=1, critical=1)
    source.found(digest, at=2)
    action_of(source.toil().plan(source.target()))
    told(source, digest, at=3, critical=1)
    assert "1 critical" in why(source.toil().plan(source.target()))
    told(source, digest, at=4)
    source.found(digest, at=2, high=1)
    assert "1 high" in why(source.toil().plan(source.target()))


def test_the_platforms_of_an_index_are_asked_for_one_by_one(source: EcrWorld) -> None:
    _, (one, two), _ = two_platforms(source)
    source.found(one)
    assert isinstance(source.toil().plan(source.target()), NotYet)
    source.found(two, low=1)
    action_of(source.toil().plan(source.target()))


def test_without_a_limit_on_findings_ecr_is_not_asked_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = EcrWorld(monkeypatch, LAB, {})
    monkeypatch.setattr(EcrRepository, "findings", lambda *_: pytest.fail("it was asked"))
    world.lab.image("team/app", "1.0", b"1")
    action_of(world.toil().plan(world.target()))


@pytest.fixture
def destination(monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrWorld]:
    aws.forget()
    with mock_aws():
        yield EcrWorld(monkeypatch, PROD, {})
    aws.forget()


def create(**settings: Any) -> None:
    boto3.client("ecr", region_name="eu-central-1").create_repository(repositoryName="team/app", **settings)


def test_a_repository_that_ecr_does_not_have_is_said_at_once(destination: EcrWorld) -> None:
    destination.lab.image("team/app", "1.0", b"1")
    said = why(destination.toil().plan(destination.target()))
    assert said == f"{ECR}/team/app: ECR has no such repository, and takes a push only to one that exists"


def test_a_tag_that_cannot_move_is_said_at_once_and_a_new_one_goes(destination: EcrWorld) -> None:
    create(imageTagMutability="IMMUTABLE")
    destination.lab.image("team/app", "1.0", b"1")
    action_of(destination.toil().plan(destination.target()))
    destination.prod.image("team/app", "1.0", b"other")
    draft = destination.toil().plan(destination.target())
    assert isinstance(draft, Draft)
    assert "ECR does not let 1.0 move to another image: its tag mutability is IMMUTABLE" in draft.why
