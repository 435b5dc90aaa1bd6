"""Cleaning a real registry: what is deleted, what stays, what is looked at again, and what comes back on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.clean_registry import survey as survey_module
from functions.clean_registry.app import CleanRegistry, DeleteManifest, Settings
from functions.clean_registry.holdings import DistributionRepository, open_holdings
from paydown.errors import PermanentError, RetryableError
from paydown.events import Sweep
from paydown.inventory import Host, Inventory, Promotion, Unix
from paydown.plan import Applied, Done, Draft, Hazard, Moot, Record, Seen, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine
from tests.real.registry_images import Images, images

SWEEP = Sweep(key="schedule:1", at=datetime.now(UTC), rule="daily")
MIB = 1024 * 1024


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Images]:
    with images(tmp_path) as running:
        yield running


def cleaner(inventory: Inventory | None = None, **settings: Any) -> CleanRegistry:
    return CleanRegistry(
        Scene(
            run_id="1f0c",
            event=SWEEP,
            inventory=inventory or Inventory(),
            policy=Policy(),
            settings=Settings(**settings),
            observing=False,
            now=lambda: datetime.now(UTC),
            nudge=lambda *_: None,
            has_run=lambda *_: False,
        )
    )


def plan(toil: CleanRegistry, pushed: Images) -> Draft:
    draft = toil.plan(pushed.target)
    assert isinstance(draft, Draft)
    return draft


def going(draft: Draft) -> set[str]:
    return {action.object for stage in draft.stages for action in stage}


def carry_out(toil: CleanRegistry, pushed: Images, draft: Draft) -> tuple[list[Applied], Seen]:
    steps: list[Step] = []
    results: list[Applied] = []
    for number, stage in enumerate(draft.stages):
        actions = [action for action in stage if isinstance(action, DeleteManifest)]
        for first in range(0, len(actions), toil.batch):
            batch = actions[first : first + toil.batch]
            for action, result in zip(batch, toil.apply_batch(batch, pushed.target), strict=True):
                state = StepState.DONE if isinstance(result, Done) else StepState.MOOT
                steps.append(Step(len(steps), number, action, state, getattr(result, "evidence", {})))
                results.append(result)
    return results, toil.verify(pushed.target, Record(draft.before, steps, datetime.now(UTC)))


def clean(pushed: Images, inventory: Inventory | None = None, **settings: Any) -> Verified:
    toil = cleaner(inventory, **settings)
    results, seen = carry_out(toil, pushed, plan(toil, pushed))
    assert all(isinstance(result, Done) for result in results), results
    assert isinstance(seen, Verified), seen
    return seen


def test_a_tagged_index_keeps_its_children_and_an_untagged_one_takes_its_own_along(pushed: Images) -> None:
    shared, old_only, new_only = (pushed.image(None, name, mark=name.decode()) for name in (b"s", b"o", b"n"))
    old = pushed.index("latest", shared, old_only)
    new = pushed.index("latest", shared, new_only)
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    assert [[action.object for action in stage] for stage in draft.stages] == [[old], [old_only]]
    results, seen = carry_out(toil, pushed, draft)
    assert all(isinstance(result, Done) for result in results)
    assert isinstance(seen, Verified)
    assert pushed.there() == {new, shared, new_only}
    assert pushed.api.digest(pushed.repository, "latest") == new
    assert plan(cleaner(), pushed).stages == ()


def test_the_bytes_are_those_that_the_registrys_collector_frees(pushed: Images) -> None:
    common, mine, other = os.urandom(MIB), os.urandom(2 * MIB), os.urandom(MIB)
    pushed.image("latest", common, mine, mark="a")
    pushed.image("latest", common, other, mark="b")
    pushed.age()
    promised = plan(cleaner(), pushed).before["bytes"]
    before = pushed.blob_bytes()
    seen = clean(pushed)
    pushed.collect_garbage()
    assert seen.saved == {"manifests": 1, "bytes": promised}
    assert before - pushed.blob_bytes() == promised > 2 * MIB
    assert pushed.api.digest(pushed.repository, "latest") is not None


def test_the_collector_keeps_what_this_kept(pushed: Images) -> None:
    """`garbage-collect --delete-untagged` would take the children of a tagged index: this does not ask for it."""
    index = pushed.index("multi", pushed.image(None, b"1", mark="1"), pushed.image(None, b"2", mark="2"))
    pushed.image("old", b"3")
    pushed.image("old", b"4")
    pushed.age()
    clean(pushed)
    pushed.collect_garbage()
    for child in pushed.api.manifest(pushed.repository, index).document["manifests"]:
        for layer in pushed.api.manifest(pushed.repository, child["digest"]).document["layers"]:
            assert pushed.api.blob(pushed.repository, layer["digest"], 10) in (b"1", b"2")


def test_age_is_counted_from_the_last_push_and_from_the_move_of_the_tag(pushed: Images) -> None:
    first = pushed.image("latest", b"first")
    pushed.age(days=300)
    pushed.image("latest", b"second")
    assert going(plan(cleaner(), pushed)) == set()  # it had its tag until a moment ago
    pushed.age(days=30)
    assert going(plan(cleaner(), pushed)) == {first}
    pushed.put(None, pushed.api.manifest(pushed.repository, first))
    assert going(plan(cleaner(), pushed)) == set()  # somebody pushed it again, by digest


def test_signatures_stay_and_go_with_what_they_sign(pushed: Images) -> None:
    old = pushed.image("latest", b"old")
    of_old = pushed.image(None, b"signature of old", subject=old, mark="so")
    new = pushed.image("latest", b"new")
    of_new = pushed.image(None, b"signature of new", subject=new, mark="sn")
    pushed.age()
    draft = plan(cleaner(), pushed)
    assert [[action.object for action in stage] for stage in draft.stages] == [[of_old], [old]]
    clean(pushed)
    assert pushed.there() == {new, of_new}


def test_a_signature_under_a_tag_of_the_digest_stays_and_goes_with_what_it_signs(pushed: Images) -> None:
    """A registry without the referrers API has the list of signatures, and cosign's own form, under such tags."""
    old, new = pushed.image("latest", b"old"), pushed.image("latest", b"new")
    tag_of = {digest: digest.replace(":", "-", 1) for digest in (old, new, f"sha256:{'5' * 64}")}
    signatures = {digest: pushed.sign(digest) for digest in (old, new)}
    cosign = {digest: pushed.image(f"{tag}.sig", tag.encode(), mark=tag) for digest, tag in tag_of.items()}
    by_hand = pushed.image(f"{tag_of[old]}.keep", b"by hand", mark="by hand")
    lists = {digest: pushed.api.digest(pushed.repository, tag_of[digest]) for digest in (old, new)}
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    assert going(draft) == {old, signatures[old], lists[old], cosign[old], cosign[f"sha256:{'5' * 64}"]}
    assert draft.stages[-1][0].object == old, "whatever is attached goes first"
    results, seen = carry_out(toil, pushed, draft)
    assert all(isinstance(result, Done) for result in results)
    assert isinstance(seen, Verified), seen
    assert pushed.there() == {new, signatures[new], lists[new], cosign[new], by_hand}
    assert set(pushed.api.tags(pushed.repository)) == {
        "latest", tag_of[new], f"{tag_of[new]}.sig", f"{tag_of[old]}.keep"
    }  # fmt: skip
    assert plan(cleaner(), pushed).stages == ()


def test_a_tag_of_its_own_digest_and_a_repository_of_signatures_alone_stay(pushed: Images) -> None:
    """Some mirrors tag what they copy with its own digest; cosign can keep all signatures in a repository apart."""
    for number in range(2):
        pushed.image(f"sha256-{number:064x}.sig", b"signature", mark=str(number))
    pushed.age()
    assert plan(cleaner(), pushed).stages == ()
    child = pushed.image(None, b"1")
    itself = pushed.index(None, child)
    pushed.put(itself.replace(":", "-", 1), pushed.api.manifest(pushed.repository, itself))
    pushed.age()
    assert not {itself, child} & going(plan(cleaner(), pushed))


def test_a_fresh_signature_is_a_sign_of_life(pushed: Images) -> None:
    old = pushed.image("latest", b"old")
    pushed.image("latest", b"new")
    pushed.age()
    assert going(plan(cleaner(), pushed)) == {old}
    pushed.image(f"{old.replace(':', '-', 1)}.sig", b"signature", mark="s")
    assert going(plan(cleaner(), pushed)) == set()


def test_a_tag_that_moves_between_the_look_and_the_deletion_is_told(
    pushed: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pushed.image("latest", b"old")
    new = pushed.image("latest", b"new")
    pushed.put("stable", pushed.api.manifest(pushed.repository, new))
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    delete = DistributionRepository.delete

    def late(self: DistributionRepository, digests: Any) -> Any:
        pushed.put("latest", pushed.api.manifest(pushed.repository, old))
        return delete(self, digests)

    monkeypatch.setattr(DistributionRepository, "delete", late)
    results, seen = carry_out(toil, pushed, draft)
    assert [type(result) for result in results] == [Done]
    assert pushed.api.tags(pushed.repository) == ["stable"]
    assert isinstance(seen, Unverified)
    assert "latest" in seen.why
    assert seen.evidence["tags_lost"] == ["latest"]


def test_a_tag_that_came_between_plan_and_deletion(pushed: Images) -> None:
    old, older = pushed.image("latest", b"1"), pushed.image("latest", b"2")
    pushed.image("latest", b"3")
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    assert going(draft) == {old, older}
    pushed.put("rescued", pushed.api.manifest(pushed.repository, old))
    pushed.age()  # the push alone would save it, too
    results, seen = carry_out(toil, pushed, draft)
    assert {type(result) for result in results} == {Done, Moot}
    assert isinstance(seen, Verified)
    assert pushed.api.digest(pushed.repository, "rescued") == old
    assert older not in pushed.there()


def test_an_index_that_came_between_plan_and_deletion(pushed: Images) -> None:
    old = pushed.image("latest", b"1")
    pushed.image("latest", b"2")
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    pushed.index("multi", old)
    results, seen = carry_out(toil, pushed, draft)
    assert [type(result) for result in results] == [Moot]
    assert isinstance(seen, Verified)
    assert old in pushed.there()


def test_promotions_are_kept_with_what_they_go_back_to(pushed: Images) -> None:
    digests = [pushed.image("latest", bytes([number])) for number in range(4)]
    pushed.age()
    promotion = Promotion(stage="prod", repository="elsewhere/app", digest=digests[1], previous=digests[0])
    assert going(plan(cleaner(Inventory(promotions=(promotion,))), pushed)) == {digests[2]}


def test_what_a_docker_host_runs_stays(pushed: Images, engine: Engine) -> None:
    digests = [pushed.image("latest", name.encode(), mark=name) for name in ("one", "two", "three")]
    config = pushed.api.manifest(pushed.repository, digests[0]).document["config"]["digest"]
    pushed.age()
    host = Host(uid="h", name="h", reach=Unix(via="unix", path=str(engine.socket)))
    built = engine.image("app:1", file=b"content")
    engine.container("app:1")
    assert going(plan(cleaner(Inventory(hosts=(host,))), pushed)) == set(digests[:2])
    used = survey_module.in_use(Inventory(hosts=(host,)), "1f0c")
    assert used == {built}
    node = survey_module.survey(pushed.target, open_holdings(pushed.target, operator=True))
    assert node.loose(datetime.now(UTC), frozenset({config})) == {digests[1]}


def test_a_host_or_cluster_that_cannot_be_asked_stops_it(pushed: Images, tmp_path: Path) -> None:
    pushed.image("latest", b"1")
    pushed.image("latest", b"2")
    pushed.age()
    gone = Host(uid="h", name="h", reach=Unix(via="unix", path=str(tmp_path / "no.sock")))
    with pytest.raises(RetryableError):
        cleaner(Inventory(hosts=(gone,))).plan(pushed.target)
    draft = plan(cleaner(), pushed)
    actions = [action for stage in draft.stages for action in stage if isinstance(action, DeleteManifest)]
    with pytest.raises(RetryableError):
        cleaner(Inventory(hosts=(gone,))).apply_batch(actions, pushed.target)
    assert going(draft) <= pushed.there()


def test_another_registrys_storage_is_noticed(pushed: Images, tmp_path: Path) -> None:
    pushed.image("latest", b"1")
    (tmp_path / "empty").mkdir()
    storage = pushed.target.registry.storage.model_copy(update={"path": str(tmp_path / "empty")})  # type: ignore[union-attr] -- a folder, as made above
    target = pushed.target.model_copy(
        update={"registry": pushed.target.registry.model_copy(update={"storage": storage})}
    )
    with pytest.raises(PermanentError, match="holds nothing of it"):
        cleaner().plan(target)


def test_only_the_last_holder_of_a_layer_is_destructive(pushed: Images) -> None:
    old = pushed.image("latest", b"layer", mark="same")
    copy = pushed.api.manifest(pushed.repository, old)
    pushed.put("latest", type(copy).made({**copy.document, "annotations": {"a": "b"}}, copy.media_type))
    alone = pushed.image("other", b"alone", mark="alone")
    pushed.image("other", b"next", mark="next")
    pushed.age()
    [stage] = plan(cleaner(), pushed).stages
    assert {action.object: action.hazard for action in stage} == {old: Hazard.DISRUPTIVE, alone: Hazard.DESTRUCTIVE}


def test_a_limit_takes_indexes_before_their_children(pushed: Images) -> None:
    child = pushed.image(None, b"child")
    index = pushed.index("latest", child)
    pushed.image("latest", b"next", mark="next")
    pushed.age()
    draft = plan(cleaner(limit=1), pushed)
    assert (going(draft), draft.before["left"]) == ({index}, 1)
    clean(pushed, limit=1)
    clean(pushed, limit=1)
    assert {index, child} & pushed.there() == set()


def test_a_child_that_somebody_else_deletes_is_told(pushed: Images) -> None:
    child = pushed.image(None, b"child")
    pushed.index("multi", child)
    pushed.image("latest", b"1")
    pushed.image("latest", b"2")
    pushed.age()
    draft = plan(toil := cleaner(), pushed)
    pushed.api.delete_manifest(pushed.repository, child)
    _, seen = carry_out(toil, pushed, draft)
    assert isinstance(seen, Unverified)
    assert child in seen.why
