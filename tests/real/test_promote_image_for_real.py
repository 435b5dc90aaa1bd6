"""Promotions between real registries: mounted, copied, resumed, recorded, taken back, and never over another's hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.clean_registry.survey import in_use
from functions.promote_image import app, copying
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import Manifest
from paydown.errors import RetryableError
from paydown.events import ImageScanned
from paydown.ledger import Outcome, Run, Status
from tests.real.promotion_scenes import Stages, stages

MIB = 1024 * 1024


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Stages]:
    with stages(tmp_path) as made:
        yield made


def multi(world: Stages, tag: str = "1.0", mark: str = "") -> str:
    """An index of two platforms with a layer in common."""
    common = os.urandom(1024)
    children = [world.lab.image(None, common, os.urandom(64), mark=f"{mark}{name}") for name in ("a", "b")]
    return world.lab.index(tag, *children)


def reasons(run: Run) -> str:
    return "; ".join(reason.text for reason in run.reasons)


def test_an_index_goes_to_another_registry_with_all_its_children(world: Stages) -> None:
    digest = multi(world)
    world.allow()
    run = world.handle(world.pushed())
    assert run.status is Outcome.VERIFIED, reasons(run)
    assert world.prod.api.digest("team/app", "1.0") == digest
    assert (run.evidence["manifests"], run.evidence["blobs"]) == (3, 5)
    for child in world.prod.api.manifest("team/app", digest).document["manifests"]:
        ours, theirs = (api.manifest("team/app", child["digest"]) for api in (world.lab.api, world.prod.api))
        assert ours.raw == theirs.raw
        for layer in theirs.document["layers"]:
            assert world.prod.api.blob("team/app", layer["digest"], MIB) == world.lab.api.blob(
                "team/app", layer["digest"], MIB
            )
    again = world.handle(world.pushed())
    assert (again.status, "points to it already" in reasons(again)) == (Outcome.SKIPPED, True)


def test_within_one_registry_blobs_are_mounted_and_not_sent(world: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = multi(world)
    world.allow(world.within())

    def uploads(*_: Any) -> None:
        raise AssertionError("a blob was sent")

    monkeypatch.setattr(RegistryApi, "upload_blob", uploads)
    run = world.handle(world.pushed())
    assert run.status is Outcome.VERIFIED, reasons(run)
    assert world.lab.api.digest("shop/app", "1.0") == digest


def test_what_was_begun_is_gone_on_with_and_sent_once(world: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = multi(world)
    world.allow()
    sent: list[str] = []
    upload = RegistryApi.upload_blob

    def breaks(self: RegistryApi, repository: str, blob: str, pieces: Any) -> None:
        if len(sent) == 2:
            raise RetryableError("the line is cut")
        upload(self, repository, blob, pieces)
        sent.append(blob)

    monkeypatch.setattr(copying, "AT_ONCE", 1)
    monkeypatch.setattr(RegistryApi, "upload_blob", breaks)
    run = world.handle(world.pushed())
    assert run.status is Status.APPLYING
    assert world.prod.api.digest("team/app", "1.0") is None
    monkeypatch.setattr(RegistryApi, "upload_blob", lambda self, *rest: (sent.append(rest[1]), upload(self, *rest)))
    world.clock.tick(31)
    run = world.wake(run)
    assert run.status is Outcome.VERIFIED, reasons(run)
    assert len(sent) == len(set(sent)) == 5
    assert world.prod.api.digest("team/app", "1.0") == digest


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_that_dies_at_any_write_to_the_registry(
    world: Stages, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    class Killed(BaseException):
        pass

    world.allow()
    put = RegistryApi.put_manifest
    for at in range(1, 5):
        tag = f"{at}.{int(after)}"
        digest, writes = multi(world, tag, mark=tag), 0

        def dies(self: RegistryApi, repository: str, reference: str, manifest: Manifest, last: int = at) -> str:
            nonlocal writes
            writes += 1
            if writes == last and not after:
                raise Killed
            put(self, repository, reference, manifest)
            if writes == last:
                raise Killed
            return manifest.digest

        event = world.pushed(tag)
        with monkeypatch.context() as patched:
            patched.setattr(RegistryApi, "put_manifest", dies)
            with pytest.raises(Killed):
                world.handle(event)
        world.clock.tick(91)
        (row,) = [row for row in world.ledger.runs.due(world.clock()) if row["toil"] == "promote_image"]
        world.worker().handle({"paydown": 1, "command": "wake", "run_id": row["id"]})
        run = world.ledger.runs.get(row["id"])
        assert run is not None
        assert run.status is Outcome.VERIFIED, reasons(run)
        assert world.prod.api.digest("team/app", tag) == digest
        (record,) = [one for one in world.ledger.promotions.all() if one.tag == tag]
        assert (record.digest, record.last_seen is not None) == (digest, True)


def test_a_promotion_is_recorded_and_clean_registry_sees_it_in_its_inventory(world: Stages) -> None:
    world.allow()
    digests = []
    for number in range(2):
        digests.append(world.lab.image("1.0", bytes([number]), mark=str(number)))
        assert world.handle(world.pushed()).status is Outcome.VERIFIED
    _, version = world.ledger.documents()
    (record,) = version.document.promotions
    assert (record.stage, record.repository, record.tag) == ("prod", "team/app", "1.0")
    assert (record.registry, record.digest, record.previous) == (world.prod.registry.host, digests[1], digests[0])
    assert record.source.startswith("promote_image, run ")
    assert in_use(version.document, "1f0c") == frozenset(digests)


def test_undo_lets_the_tag_point_to_what_it_pointed_to_and_the_image_does_not_come_back(world: Stages) -> None:
    world.allow()
    first = world.lab.image("1.0", b"1", mark="1")
    world.handle(world.pushed())
    second = world.lab.image("1.0", b"2", mark="2")
    run = world.handle(world.pushed())
    assert world.prod.api.digest("team/app", "1.0") == second
    undone = world.undo(run)
    assert undone.status is Outcome.VERIFIED, reasons(undone)
    assert world.prod.api.digest("team/app", "1.0") == first
    (record,) = world.ledger.promotions.all()
    assert (record.digest, record.previous, record.withdrawn) == (first, second, second)
    again = world.handle(world.pushed())
    assert (again.status, "was taken back" in reasons(again)) == (Outcome.SKIPPED, True)
    third = world.lab.image("1.0", b"3", mark="3")
    assert world.handle(world.pushed()).status is Outcome.VERIFIED
    assert world.prod.api.digest("team/app", "1.0") == third


def test_undo_leaves_what_somebody_moved_and_a_tag_that_was_new(world: Stages) -> None:
    world.allow()
    world.lab.image("1.0", b"1", mark="1")
    new = world.handle(world.pushed())
    undone = world.undo(new)
    assert (undone.status, "delete the tag by hand" in reasons(undone)) == (Outcome.UNVERIFIED, True)
    world.lab.image("1.0", b"2", mark="2")
    run = world.handle(world.pushed())
    theirs = world.prod.image("1.0", b"hand", mark="hand")
    undone = world.undo(run)
    assert (undone.status, "somebody else moved" in reasons(undone)) == (Outcome.UNVERIFIED, True)
    assert world.prod.api.digest("team/app", "1.0") == theirs


def test_a_tag_that_somebody_moves_while_blobs_are_copied_is_left(
    world: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.allow()
    multi(world)
    theirs: list[str] = []
    copy = app.copy_manifests

    def meanwhile(*given: Any) -> None:
        copy(*given)
        theirs.append(world.prod.image("1.0", b"hand", mark="hand"))

    monkeypatch.setattr(app, "copy_manifests", meanwhile)
    run = world.handle(world.pushed())
    assert (run.status, "somebody else moved" in reasons(run)) == (Outcome.UNVERIFIED, True)
    assert world.prod.api.digest("team/app", "1.0") == theirs[0]
    assert world.ledger.promotions.all() == ()


def test_a_promotion_that_somebody_took_back_by_hand_is_not_made_again(world: Stages) -> None:
    world.allow()
    world.lab.image("1.0", b"1", mark="1")
    world.handle(world.pushed())
    theirs = world.prod.image("1.0", b"hand", mark="hand")
    run = world.handle(world.pushed())
    assert [reason.code for reason in run.reasons] == ["overridden"], reasons(run)
    assert world.prod.api.digest("team/app", "1.0") == theirs


def scanned(world: Stages, digest: str, at: int = 0, **findings: int) -> ImageScanned:
    world.serial += 1
    return ImageScanned(
        key=f"scan:{world.serial}",
        at=world.clock() + timedelta(seconds=at),
        registry=world.lab.registry.host,
        repository="team/app",
        digest=digest,
        tags=("1.0",),
        findings=findings,
    )


def test_the_facts_are_waited_for_and_named(world: Stages) -> None:
    world.allow({"require": {"findings_below": "high", "soak_seconds": 7_200, "signature": True}})
    digest = world.lab.image("1.0", b"1")
    run = world.handle(world.pushed())
    assert run.status is Status.DEFERRED
    assert all(fact in reasons(run) for fact in ("findings_below: no scan", "signature: none", "soak_seconds: "))
    joined = world.handle(scanned(world, digest, low=7))
    assert joined.reasons[0].code == "joined"
    world.lab.sign(digest)
    world.clock.tick(7_201)
    run = world.wake(run)
    assert run.status is Outcome.VERIFIED, reasons(run)
    assert world.prod.api.digest("team/app", "1.0") == digest


def test_a_bad_scan_stops_it_and_a_better_one_lets_it_go(world: Stages) -> None:
    world.allow({"require": {"findings_below": "high"}})
    digest = world.lab.image("1.0", b"1")
    run = world.handle(scanned(world, digest, critical=1, high=2, low=9))
    assert run.status is Outcome.SKIPPED
    assert "findings_below: 1 critical, 2 high" in reasons(run)
    assert world.prod.api.digest("team/app", "1.0") is None
    assert world.handle(scanned(world, digest, at=1, medium=4)).status is Outcome.VERIFIED
    assert world.prod.api.digest("team/app", "1.0") == digest


def test_a_person_approves_whatever_mode_and_ceiling_say(world: Stages) -> None:
    world.allow({"require": {"approval": True}}, ceiling="disruptive")
    digest = world.lab.image("1.0", b"1")
    run = world.handle(world.pushed())
    assert (run.status, run.reasons[0].code) == (Status.HELD, "needs_approval")
    assert world.prod.api.digest("team/app", "1.0") is None
    run = world.approve(run)
    assert run.status is Outcome.VERIFIED, reasons(run)
    assert world.prod.api.digest("team/app", "1.0") == digest


def test_an_approval_is_of_one_image(world: Stages) -> None:
    world.allow({"require": {"approval": True}})
    world.lab.image("1.0", b"1", mark="1")
    run = world.handle(world.pushed())
    world.lab.image("1.0", b"2", mark="2")
    run = world.approve(run)
    assert run.status is Status.HELD
    assert world.prod.api.digest("team/app", "1.0") is None


def test_signatures_go_along_in_both_forms(world: Stages) -> None:
    world.allow({"require": {"signature": True}})
    digest = world.lab.image("1.0", b"1")
    signature = world.lab.sign(digest)
    cosign = world.lab.image(f"{digest.replace(':', '-', 1)}.sig", b"cosign", mark="cosign")
    mine = f"{digest.replace(':', '-', 1)}.sig"
    assert world.handle(world.pushed()).status is Outcome.VERIFIED
    assert [one["digest"] for one in world.prod.api.referrers("team/app", digest)] == [signature]
    assert world.prod.api.digest("team/app", mine) == cosign
    assert reasons(world.handle(world.pushed(mine))) == "no route of the policy is for this tag"


def test_deployed_to_observe_it_says_what_it_would_do(world: Stages) -> None:
    world.allow()
    world.lab.image("1.0", b"1")
    run = world.handle(world.pushed(), observing=True)
    assert (run.status, run.actions) == (Outcome.OBSERVED, 1)
    assert world.prod.api.tags("team/app") == []
    assert world.ledger.promotions.all() == ()


def test_an_older_image_does_not_go_back_over_a_newer_one(world: Stages) -> None:
    world.allow({"tag": "current"})
    world.lab.image("1.0", b"1", mark="1")
    world.handle(world.pushed("1.0"))
    world.clock.tick(60)
    newer = world.lab.image("1.1", b"2", mark="2")
    assert world.handle(world.pushed("1.1")).status is Outcome.VERIFIED
    run = world.handle(world.pushed("1.0"))
    assert (run.status, "came later" in reasons(run)) == (Outcome.SKIPPED, True), reasons(run)
    assert world.prod.api.digest("team/app", "current") == newer


COPIER = """
import json, sys
from functions.promote_image.copying import Place, copy_blobs, copy_manifests
from functions.promote_image.image import read_image
from paydown.clients.registry import RegistryApi
source, to, digest = sys.argv[1:]
places = [Place(RegistryApi(url, dict), "team/app", url) for url in (source, to)]
image = read_image(places[0].api, "team/app", digest)
assert copy_blobs(image, *places) == 0
copy_manifests(image, places[1])
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def test_blobs_are_streamed(world: Stages) -> None:
    digest = world.lab.image("1.0", *(os.urandom(1) * (64 * MIB) for _ in range(4)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", COPIER, world.lab.registry.url, world.prod.registry.url, digest],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) / 1024 < 220
    assert world.prod.api.digest("team/app", digest) == digest
