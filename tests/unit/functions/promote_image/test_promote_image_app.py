"""What is promoted, what is not, and what is written down: without a registry."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.promote_image import copying, image
from functions.promote_image.app import PromoteImage, PromoteImages
from paydown.clients.registry_content import OCI_MANIFEST, Manifest
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import EVENTS, Event, ImagePushed, ImageScanned, UndoRequested
from paydown.inventory import Promotion
from paydown.plan import (
    Done,
    Draft,
    Hazard,
    Moot,
    NotYet,
    Overridden,
    Record,
    Step,
    StepState,
    Unverified,
    Verified,
)
from paydown.sources.aws import from_envelope
from tests.unit.functions.promote_image.fake_registries import LAB, PROD, ROUTE, World

SAMPLES = sorted((Path(__file__).parents[4] / "events/promote_image").glob("*.json"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def action_of(draft: Any) -> PromoteImage:
    assert isinstance(draft, Draft)
    ((action,),) = draft.stages
    assert isinstance(action, PromoteImage)
    return action


def why(draft: Any) -> str:
    assert isinstance(draft, Draft)
    assert draft.stages == ()
    return draft.why


def promoted(world: World, tag: str = "1.0") -> PromoteImage:
    action = action_of(world.toil().plan(world.target(tag)))
    assert isinstance(world.toil().apply(action, world.target(tag)), Done)
    return action


def verified(world: World, action: PromoteImage, state: StepState = StepState.DONE, said: str = "") -> Any:
    record = Record({}, [Step(0, 0, action, state, why=said)], world.clock())
    return world.toil().verify(world.target(), record)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_are_about_tags(path: Path, world: World) -> None:
    envelope = json.loads(path.read_text())
    event = from_envelope(envelope)
    assert isinstance(event, PromoteImages.listens_to)
    assert type(event) in EVENTS.values()
    here = event.model_copy(update={"registry": LAB})
    assert [one.ref for one in PromoteImages.targets(here, world.inventory)] == [f"tag/{LAB}/team/app:1.0"]


def test_a_scan_is_about_the_tags_that_it_names_and_a_push_without_one_about_none(world: World) -> None:
    base: dict[str, Any] = {"key": "k", "at": world.clock(), "registry": LAB, "digest": "sha256:" + "0" * 64}
    two = ImageScanned(repository="team/app", tags=("1", "2", "1"), **base)
    events: list[Event] = [
        two,
        ImagePushed(repository="team/app", **base),
        ImagePushed(repository="x", tag="1", **base),
    ]
    found = [[one.tag for one in PromoteImages.targets(event, world.inventory)] for event in events]
    assert found == [["1", "2"], [], []]


def test_children_come_before_their_index_and_the_tag_is_last(world: World) -> None:
    children = [world.lab.image("team/app", None, b"common", name) for name in (b"1", b"2")]
    digest = world.lab.index("team/app", "1.0", *children)
    action = promoted(world)
    assert (action.object, action.hazard) == (f"{PROD}/team/app:1.0@{digest}", Hazard.REVERSIBLE)
    puts = [write for write in world.prod.writes if write.startswith("put")]
    assert puts[-2:] == [f"put {digest}", "put 1.0"]
    assert set(puts[:-2]) == {f"put {child}" for child in children}
    assert len(world.prod.writes) == 5 + 4
    seen = verified(world, action)
    assert isinstance(seen, Verified)
    assert (seen.saved, seen.evidence["manifests"]) == ({"promotions": 1}, 3)


def test_in_one_registry_blobs_are_mounted_by_who_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"to": [LAB], "strip": "team/", "prefix": "shop/"})
    digest = world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    assert world.lab.digest("shop/app", "1.0") == digest
    assert [write.split()[0] for write in world.lab.writes] == ["mount", "mount", "put", "put"]
    assert (LAB, True) in world.operators


def test_between_two_the_source_is_only_read(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    assert (LAB, True) not in world.operators
    world.operators.clear()
    world.toil(observing=True).plan(world.target())
    assert {operator for _, operator in world.operators} == {False}


def test_a_registry_that_mounts_nothing_gets_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"to": [LAB], "strip": "team/", "prefix": "shop/"})
    world.lab.mounts = False
    world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    assert [write.split()[0] for write in world.lab.writes] == ["upload", "upload", "put", "put"]


def test_what_one_call_does_not_get_to_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.lab.image("team/app", "1.0", b"1")
    action = action_of(world.toil().plan(world.target()))
    with monkeypatch.context() as patched:
        patched.setattr(copying, "BEGIN_SECONDS", -1)
        answer = world.toil().apply(action, world.target())
    assert isinstance(answer, NotYet)
    assert "2 of 2 blobs are left" in answer.why
    assert isinstance(world.toil().apply(action, world.target()), Done)


def test_what_is_there_already_is_pushed_again_so_that_nobody_cleans_it_away(world: World) -> None:
    child = world.lab.image("team/app", None, b"1")
    digest = world.lab.index("team/app", "1.0", child)
    world.prod.image("team/app", None, b"1")  # once promoted, and untagged for long
    promoted(world)
    assert [write for write in world.prod.writes if write.startswith("put")] == [
        f"put {child}",
        f"put {digest}",
        "put 1.0",
    ]


def test_a_destination_that_somebody_moved_back_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    way = {"strip": "team/", "prefix": "shop/"}
    world = World(monkeypatch, way)
    digest = world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    theirs = world.prod.image("shop/app", "1.0", b"hand")
    assert isinstance(world.toil().plan(world.target()), Overridden), "nothing else is to be done"
    world.routes = [{**ROUTE, **way, "to": [PROD, LAB]}]
    draft = world.toil().plan(world.target())
    assert action_of(draft).place == f"{LAB}/shop/app:1.0"
    assert isinstance(draft, Draft)
    assert [theirs in text for text in draft.before["overridden"]] == [True]
    promoted(world)
    assert (world.prod.digest("shop/app", "1.0"), world.lab.digest("shop/app", "1.0")) == (theirs, digest)


def test_a_blob_that_takes_too_long_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.lab.image("team/app", "1.0", b"1")
    action = action_of(world.toil().plan(world.target()))
    monkeypatch.setattr(copying, "BLOB_SECONDS", -1)
    with pytest.raises(PermanentError, match="too large for its way"):
        world.toil().apply(action, world.target())
    assert world.prod.manifests == {}


def test_what_lies_outside_of_registries_need_not_be_there(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    document = dict(world.lab.manifest("team/app", "1.0").document)
    outside = {"digest": "sha256:" + "f" * 64, "size": 9, "urls": ["https://base.example/layer"]}
    world.lab.put("team/app", "1.0", Manifest.made({**document, "layers": [outside]}, OCI_MANIFEST))
    assert isinstance(verified(world, promoted(world)), Verified)


def test_an_index_that_lacks_a_child_is_left(world: World) -> None:
    world.lab.index("team/app", "1.0", "sha256:" + "e" * 64)
    assert "is not whole" in why(world.toil().plan(world.target()))


@pytest.mark.parametrize(
    ("route", "tag", "text"),
    [
        ({"repositories": ["other/*"]}, "1.0", "no route"),
        ({"tags": ["v*"]}, "1.0", "no route"),
        ({"from": PROD}, "1.0", "no route"),
        ({}, "sha256-" + "0" * 64 + ".sig", "no route"),
        ({}, "gone", "the tag is gone"),
        ({"prefix": "elsewhere/"}, "1.0", "is not in the inventory"),
        ({"to": ["unknown.example"]}, "1.0", "is not in the inventory"),
        ({"to": [LAB]}, "1.0", "is where it comes from"),
    ],
)
def test_what_is_not_promoted_and_why(
    monkeypatch: pytest.MonkeyPatch, route: dict[str, Any], tag: str, text: str
) -> None:
    world = World(monkeypatch, route)
    world.lab.image("team/app", "1.0", b"1")
    assert text in why(world.toil().plan(world.target(tag)))


def test_the_first_route_that_is_for_a_tag_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"tags": ["1.*"], "stage": "first"}, {"stage": "second"})
    world.lab.image("team/app", "1.0", b"1")
    assert action_of(world.toil().plan(world.target())).stage == "first"


def test_soaking_is_counted_from_when_we_saw_it_whatever_the_event_says(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"soak_seconds": 600}})
    digest = world.lab.image("team/app", "1.0", b"1")
    old = ImagePushed(
        key="k", at=world.clock() - timedelta(days=9), registry=LAB, repository="team/app", digest=digest, tag="1.0"
    )
    begun = world.clock()
    waiting = world.toil(event=old).plan(world.target())
    assert isinstance(waiting, NotYet)
    assert (waiting.until, "soak_seconds" in waiting.why) == (begun + timedelta(seconds=600), True)
    world.clock.tick(599)
    assert isinstance(world.toil().plan(world.target()), NotYet)
    world.clock.tick(1)
    action_of(world.toil().plan(world.target()))


def test_a_route_that_soaks_longer_than_a_run_lives_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"soak_seconds": 86_400}})
    with pytest.raises(PermanentError, match="raise defer_seconds"):
        world.toil().plan(world.target())
    world.policy = {"defer_seconds": 100_000}
    assert "gone" in why(world.toil().plan(world.target()))


def test_what_others_attached_under_the_same_tag_is_left(world: World) -> None:
    digest = world.lab.image("team/app", "1.0", b"1")
    tag = f"{digest.replace(':', '-', 1)}.sig"
    world.lab.image("team/app", tag, b"ours")
    theirs = world.prod.image("team/app", tag, b"theirs")
    action = action_of(world.toil().plan(world.target()))
    answer = world.toil().apply(action, world.target())
    assert isinstance(answer, Done)
    assert (answer.evidence["attached_left"], world.prod.digest("team/app", tag)) == (1, theirs)


def test_without_referrers_the_image_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"referrers": False})
    digest = world.lab.image("team/app", "1.0", b"1")
    world.lab.image("team/app", f"{digest.replace(':', '-', 1)}.sig", b"s")
    promoted(world)
    assert {name for _, name in world.prod.manifests} == {"1.0", digest}


def test_the_route_asks_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"require": {"approval": True}})
    world.lab.image("team/app", "1.0", b"1")
    assert action_of(world.toil().plan(world.target())).asks


def test_a_tag_that_somebody_moved_since_the_plan_is_left(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    action = action_of(world.toil().plan(world.target()))
    theirs = world.prod.image("team/app", "1.0", b"hand")
    answer = world.toil().apply(action, world.target())
    assert isinstance(answer, Moot)
    seen = verified(world, action, StepState.MOOT, answer.why)
    assert isinstance(seen, Unverified)
    assert (theirs in seen.why, "somebody else moved" in seen.why) == (True, True)
    assert (world.prod.digest("team/app", "1.0"), world.ledger.promotions.all()) == (theirs, ())


def test_a_repeat_of_what_happened_writes_nothing_but_the_record(world: World) -> None:
    digest = world.lab.image("team/app", "1.0", b"1")
    action = promoted(world)
    writes = len(world.prod.writes)
    answer = world.toil().apply(action, world.target())
    assert (answer, len(world.prod.writes)) == (Moot("the tag points to it"), writes)
    (record,) = world.ledger.promotions.all()
    assert (record.digest, record.previous, record.last_seen) == (digest, None, world.clock())


@pytest.mark.parametrize("what", ["blob", "child", "tag"])
def test_verify_misses_what_is_missing(world: World, what: str) -> None:
    child = world.lab.image("team/app", None, b"1")
    world.lab.index("team/app", "1.0", child)
    action = promoted(world)
    match what:
        case "blob":
            world.prod.blobs.popitem()
        case "child":
            del world.prod.manifests["team/app", child]
        case "tag":
            del world.prod.manifests["team/app", "1.0"]
    assert isinstance(verified(world, action), Unverified)


def test_what_was_moved_away_by_hand_is_a_persons_decision(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    world.prod.image("team/app", "1.0", b"hand")
    assert isinstance(world.toil().plan(world.target()), Overridden)


def test_a_record_of_a_move_that_did_not_happen_is_no_obstacle(world: World) -> None:
    digest = world.lab.image("team/app", "1.0", b"1")
    begun = Promotion(stage="prod", registry=PROD, repository="team/app", tag="1.0", digest=digest, source="a run")
    world.ledger.promotions.record(begun, world.clock())
    promoted(world)


def undoing(world: World, by: str = "ann") -> PromoteImages:
    return world.toil(event=UndoRequested(key="u", at=world.clock(), run_id="1f0c", by=by))


def test_undo_goes_back_and_the_image_stays_back_until_a_person_declares_it(world: World) -> None:
    first = world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    second = world.lab.image("team/app", "1.0", b"2")
    action = promoted(world)
    for _ in range(2):
        assert isinstance(undoing(world).undo(action, world.target()), Done)
    assert world.prod.digest("team/app", "1.0") == first
    (record,) = world.ledger.promotions.all()
    assert (record.digest, record.previous, record.withdrawn) == (first, second, second)
    assert "was taken back" in why(world.toil().plan(world.target()))
    world.declared = (Promotion(stage="prod", registry=PROD, repository="team/app", tag="1.0", digest=second),)
    assert action_of(world.toil().plan(world.target())).digest == second


def test_what_is_taken_back_for_a_run_that_failed_may_go_again(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    promoted(world)
    second = world.lab.image("team/app", "1.0", b"2")
    action = promoted(world)
    assert isinstance(undoing(world, by="paydown").undo(action, world.target()), Done)
    assert action_of(world.toil().plan(world.target())).digest == second


def test_undo_leaves_what_it_cannot_give_back(world: World) -> None:
    first = world.lab.image("team/app", "1.0", b"1")
    new = promoted(world)
    assert isinstance(undoing(world).undo(new, world.target()), Moot)
    world.lab.image("team/app", "1.0", b"2")
    action = promoted(world)
    blob = world.prod.manifest("team/app", first).document["layers"][0]["digest"]
    content = world.prod.blobs.pop(("team/app", blob))
    answer = undoing(world).undo(action, world.target())
    assert (isinstance(answer, Moot), world.prod.digest("team/app", "1.0")) == (True, action.digest)
    world.prod.blobs["team/app", blob] = content
    del world.prod.manifests["team/app", first]
    assert isinstance(undoing(world).undo(action, world.target()), Moot)
    world.prod.image("team/app", "1.0", b"hand")
    answer = undoing(world).undo(action, world.target())
    assert isinstance(answer, Moot)
    assert "somebody else" in answer.why


def test_an_older_image_does_not_go_over_one_that_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"tag": "current"})
    world.lab.image("team/app", "1.0", b"1")
    promoted(world, "1.0")
    world.clock.tick(1)
    world.lab.image("team/app", "1.1", b"2")
    promoted(world, "1.1")
    assert "came later" in why(world.toil().plan(world.target("1.0")))


def test_an_image_of_too_many_manifests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MOST_MANIFESTS", 2)
    world.lab.index("team/app", "1.0", *(world.lab.image("team/app", None, bytes([n])) for n in range(3)))
    with pytest.raises(PermanentError, match="more than 2 manifests"):
        world.toil().plan(world.target())


def test_a_blob_that_the_source_lost_is_told(world: World) -> None:
    world.lab.image("team/app", "1.0", b"1")
    action = action_of(world.toil().plan(world.target()))
    world.lab.blobs.clear()
    with pytest.raises(NotThere):
        world.toil().apply(action, world.target())


def test_nobody_is_taken_out_of_service(world: World) -> None:
    assert world.toil().population(world.target()) is None
