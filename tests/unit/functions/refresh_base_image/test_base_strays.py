"""Which images stand on no base, with a registry that only pretends; what is no image is no stray."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.refresh_base_image import app, strays
from functions.refresh_base_image.app import RefreshBaseImage, Settings
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Inventory, Registry
from paydown.ledger import Outcome
from paydown.plan import Draft
from tests.unit.functions.image_worlds import OldBase
from tests.unit.functions.refresh_base_image.fake_build_host import FakeHost, FakeRegistry
from tests.unit.functions.refresh_base_image.test_refresh_base_image_app import World
from tests.unit.functions.survival import Plant

REGISTRY = Registry(
    uid="r", name="images.example", url="https://images.example", repositories=("*",), bases=("base/debian",)
)


@dataclass
class Shelf:
    """Images by repository and tag."""

    images: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def repositories(self, patterns: tuple[str, ...]) -> list[str]:
        return sorted({repository for repository, reference in self.images if ":" not in reference})

    def tags(self, repository: str) -> list[str]:
        return sorted(tag for name, tag in self.images if name == repository and ":" not in tag)

    def manifest(self, repository: str, reference: str) -> Manifest:
        self.asked.append(f"{repository}:{reference}")
        if reference in self.gone:
            raise NotThere(reference)
        return self.images[repository, reference]

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        if len(self.blobs[digest]) > limit:
            raise PermanentError(f"{digest} has more than {limit} bytes")
        return self.blobs[digest]

    def image(self, repository: str, tag: str | None, *layers: str, config: Any = None) -> str:
        content = json.dumps(config or {"rootfs": {"diff_ids": list(layers)}}).encode()
        self.blobs[digest_of(content)] = content
        document = {"config": {"digest": digest_of(content)}, "n": f"{repository}{tag}{layers}"}
        return self.put(repository, tag, Manifest.made(document, OCI_MANIFEST))

    def put(self, repository: str, tag: str | None, manifest: Manifest) -> str:
        self.images[repository, manifest.digest] = manifest
        if tag:
            self.images[repository, tag] = manifest
        return manifest.digest

    def index(self, repository: str, tag: str, *children: Any) -> None:
        self.put(repository, tag, Manifest.made({"manifests": list(children)}, OCI_INDEX))


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    made.image("base/debian", "20260101", "a")
    made.image("base/debian", "current", "b")
    return made


def found(shelf: Shelf, limit: int = 500) -> strays.Strays:
    bases = strays.own_bases(Inventory(registries=(REGISTRY,)), lambda _: shelf)  # type: ignore[arg-type,return-value]  # as far as it is used
    return strays.strays(REGISTRY, shelf, bases, limit)  # type: ignore[arg-type]  # as above


def test_an_image_counts_by_its_first_layers_on_any_base_that_is_there(shelf: Shelf) -> None:
    shelf.image("team/app", "old", "a", "x")
    shelf.image("team/app", "new", "b", "x", "y")
    shelf.image("team/app", "other", "x", "b")
    assert found(shelf) == strays.Strays(("team/app:other",), 3, 0)


def test_each_image_of_an_index_counts_and_attestations_do_not(shelf: Shelf) -> None:
    on, off = shelf.image("team/app", None, "a", "x"), shelf.image("team/app", None, "z")
    attestation = shelf.image("team/app", None, "sbom")
    unknown = {"digest": attestation, "platform": {"os": "unknown", "architecture": "unknown"}}
    shelf.index("team/app", "good", {"digest": on, "platform": {"os": "linux"}}, unknown)
    shelf.index("team/app", "half", {"digest": on}, {"digest": off})
    assert found(shelf).names == ("team/app:half",)


def test_what_is_no_image_is_no_stray(shelf: Shelf) -> None:
    shelf.image("team/chart", "1", config={"name": "chart"})
    shelf.image("team/chart", "2", config=["list"])
    shelf.put("team/chart", "3", Manifest.made({"layers": []}, OCI_MANIFEST))
    shelf.index("team/chart", "4", "text", {"digest": 7}, {})
    shelf.image("team/chart", "5", config={"pad": "x" * strays.LARGEST_CONFIG})
    assert found(shelf).names == ()


def test_an_index_of_indexes_without_end_is_left_after_two(shelf: Shelf) -> None:
    digest = shelf.image("team/app", None, "z")
    for _ in range(5):
        digest = shelf.put("team/app", None, Manifest.made({"manifests": [{"digest": digest}]}, OCI_INDEX))
    shelf.put("team/app", "deep", shelf.images["team/app", digest])
    assert found(shelf).names == ()


def test_only_so_many_are_looked_at(shelf: Shelf) -> None:
    for number in range(5):
        shelf.image("team/app", f"{number}", "z", str(number))
    looked = found(shelf, limit=2)
    assert (looked.names, looked.looked, looked.left) == (("team/app:0", "team/app:1"), 2, 3)
    assert "team/app:4" not in shelf.asked


def test_what_went_meanwhile_is_no_stray_but_a_registry_in_trouble_ends_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.image("team/app", "1", "z")
    shelf.gone.add("1")
    assert found(shelf).names == ()

    def broken(repository: str, digest: str, limit: int) -> bytes:
        raise RetryableError("the registry answers 503")

    monkeypatch.setattr(shelf, "blob", broken)
    with pytest.raises(RetryableError):
        found(shelf)


def test_the_same_list_is_told_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.image("team/app", "other", "z")
    monkeypatch.setattr(app, "open_registry", lambda registry, secret, operator: shelf)
    told: list[str] = []
    monkeypatch.setattr(RefreshBaseImage, "_told", lambda self, target: told[-1] if told else "")
    world = World(FakeRegistry(), FakeHost(FakeRegistry()))
    target = world.inventory.registry("images.example")
    assert target is not None
    first = world.toil().plan(target)
    assert isinstance(first, Draft)
    [[action]] = first.stages
    assert (action.object, first.before["names"]) == ("registry/images.example", ["team/app:other"])
    told.append(first.before["told"])
    second = world.toil().plan(target)
    assert isinstance(second, Draft)
    assert second.stages == ()
    assert "as the last time" in second.why
    third = world.toil(strays=0).plan(target)
    assert isinstance(third, Draft)
    assert third.why == "the settings do not want images looked at"
    assert Settings().strays == 500


def test_a_list_is_told_once_by_runs_however_often_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(monkeypatch, RefreshBaseImage, OldBase)
    sweep = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": ["rule/r"], "detail": {}}
    for number in range(6):
        plant.clock.tick(86_400)
        plant.live({**sweep, "id": f"sweep-{number}", "time": plant.clock().isoformat()})
    statuses = [run.status for run in plant.runs() if run.ref == "registry/other.example"]
    assert statuses == [Outcome.VERIFIED, *[Outcome.SKIPPED] * 5]
