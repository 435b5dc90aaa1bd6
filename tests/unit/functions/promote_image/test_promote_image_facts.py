"""The facts that a route may want: scans, of an image or of each of its platforms, and signatures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.promote_image import app
from functions.promote_image.app import PromoteImages
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.events import ImageScanned
from paydown.plan import Moot, NotYet
from tests.unit.functions.promote_image.fake_registries import LAB, World
from tests.unit.functions.promote_image.test_promote_image_app import action_of, promoted, why


def scan(world: World, digest: str, at: int = 0, **findings: int) -> None:
    event = ImageScanned(
        key=f"scan:{at}",
        at=world.clock() + timedelta(seconds=at),
        registry=LAB,
        repository="team/app",
        digest=digest,
        findings=findings,
    )
    PromoteImages.learns(event, world.inventory, world.ledger.images, world.clock())


@pytest.mark.parametrize(
    ("findings", "goes"),
    [({}, True), ({"medium": 9, "unknown": 1}, True), ({"high": 1}, False), ({"critical": 1}, False)],
)
def test_findings_below(monkeypatch: pytest.MonkeyPatch, findings: dict[str, int], goes: bool) -> None:
    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    digest = world.lab.image("team/app", "1.0", b"1")
    waiting = world.toil().plan(world.target())
    assert isinstance(waiting, NotYet)
    assert "findings_below: no scan" in waiting.why
    scan(world, digest, **findings)
    draft = world.toil().plan(world.target())
    if goes:
        action_of(draft)
    else:
        assert "not for prod: findings_below: 1 " in why(draft)


def test_a_scan_that_comes_after_the_plan_still_counts_and_an_older_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    digest = world.lab.image("team/app", "1.0", b"1")
    scan(world, digest, at=5)
    scan(world, digest, at=4, critical=1)
    action = action_of(world.toil().plan(world.target()))
    scan(world, digest, at=6, critical=1)
    answer = world.toil().apply(action, world.target())
    assert isinstance(answer, Moot)
    assert "findings_below" in answer.why
    assert world.prod.manifests == {}


def two_platforms(world: World) -> tuple[str, list[str], str]:
    """An index as builders push it: two platforms, and an attestation that no scanner looks at; nested, as some are."""
    children = [world.lab.image("team/app", None, name) for name in (b"amd64", b"arm64")]
    attestation = world.lab.image("team/app", None, b"attestation")
    rows: list[dict[str, Any]] = [{"mediaType": OCI_MANIFEST, "digest": children[0]}]
    rows.append(
        {
            "mediaType": OCI_MANIFEST,
            "digest": attestation,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        }
    )
    inner = world.lab.index("team/app", None, children[1])
    rows.append({"mediaType": OCI_INDEX, "digest": inner})
    return world.lab.put("team/app", "1.0", Manifest.made({"manifests": rows}, OCI_INDEX)), children, attestation


def test_an_index_is_scanned_when_it_or_all_of_its_platforms_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    _, (one, two), attestation = two_platforms(world)
    scan(world, one, low=1)
    scan(world, attestation, critical=9)
    waiting = world.toil().plan(world.target())
    assert isinstance(waiting, NotYet)
    assert ("no scan of" in waiting.why, two in waiting.why, one in waiting.why) == (True, True, False)
    scan(world, two, low=1)
    action_of(world.toil().plan(world.target()))

    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    root, _, _ = two_platforms(world)
    scan(world, root)
    action_of(world.toil().plan(world.target()))


def test_what_is_too_bad_in_one_platform_is_too_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    root, (_, two), _ = two_platforms(world)
    scan(world, root)
    scan(world, two, at=1)
    action = action_of(world.toil().plan(world.target()))
    scan(world, two, at=2, high=3)
    assert "not for prod: findings_below: 3 high" in why(world.toil().plan(world.target()))
    answer = world.toil().apply(action, world.target())
    assert isinstance(answer, Moot)
    assert ("findings_below: 3 high" in answer.why, world.prod.manifests) == (True, {})


def test_a_scan_that_comes_while_blobs_are_copied_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"findings_below": "high"}})
    _, (one, two), _ = two_platforms(world)
    for number, digest in enumerate((one, two)):
        scan(world, digest, at=number)
    action = action_of(world.toil().plan(world.target()))
    copy = app.copy_manifests

    def meanwhile(*given: Any) -> None:
        copy(*given)
        scan(world, one, at=9, critical=1)

    monkeypatch.setattr(app, "copy_manifests", meanwhile)
    assert isinstance(world.toil().apply(action, world.target()), Moot)
    assert world.prod.digest("team/app", "1.0") is None


SIGNATURES = [
    ("application/vnd.dev.cosign.artifact.sig.v1+json", True),
    ("application/vnd.cncf.notary.signature", True),
    ("application/vnd.dev.sigstore.bundle.v0.3+json", True),
    ("application/spdx+json", False),
]


@pytest.mark.parametrize(("kind", "counts"), SIGNATURES)
def test_a_signature_is_an_artifact_of_such_a_kind(monkeypatch: pytest.MonkeyPatch, kind: str, counts: bool) -> None:
    world = World(monkeypatch, {"require": {"signature": True}})
    digest = world.lab.image("team/app", "1.0", b"1")
    attached = world.lab.image("team/app", None, b"s", subject={"digest": digest})
    listing = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": attached, "artifactType": kind}
    world.lab.put("team/app", digest.replace(":", "-", 1), Manifest.made({"manifests": [listing]}, OCI_INDEX))
    draft = world.toil().plan(world.target())
    if not counts:
        assert isinstance(draft, NotYet)
        assert "signature: none" in draft.why
        return
    promoted(world)
    assert world.prod.referrers("team/app", digest) == [listing]
