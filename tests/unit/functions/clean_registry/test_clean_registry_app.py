"""What is chosen, what becomes of it, and what is told: with a repository that only pretends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from functions.clean_registry import app
from functions.clean_registry import holdings as holdings_module
from functions.clean_registry.app import CleanRegistry, DeleteManifest, Settings
from functions.clean_registry.holdings import DistributionRepository
from paydown.clients.registry_storage import Refused
from paydown.clients.web import NotThere
from paydown.errors import PaydownError, PermanentError, RetryableError
from paydown.events import DiskPressure, Event, ImagePushed, Sweep
from paydown.inventory import FolderStorage, Inventory, Registry, Repository
from paydown.plan import Done, Draft, Hazard, Moot, NotYet, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.unit.functions.clean_registry.fake_repository import NOW, FakeRegistry, digest

STORAGE = FolderStorage(via="folder", path="/images")
NAMED = Registry(
    uid="r1",
    name="images.example:5000",
    url="https://images.example",
    repositories=("team/app", "team/*"),
    secret="reader",
    operator_secret="operator",
    storage=STORAGE,
)
UNKEPT = Registry(uid="r2", name="other.example", url="https://other.example", repositories=("team/app",))
INVENTORY = Inventory(registries=(NAMED, UNKEPT))
SWEEP = Sweep(key="s", at=NOW, rule="daily")


def push(repository: str, registry: str = NAMED.name) -> ImagePushed:
    return ImagePushed(key="p", at=NOW, registry=registry, repository=repository, digest=digest(1), tag="1")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    fake = FakeRegistry()
    monkeypatch.setattr(app, "survey", fake.survey)
    monkeypatch.setattr(app, "in_use", fake.in_use)
    monkeypatch.setattr(app, "open_holdings", lambda *_, **__: fake)
    return fake


@pytest.fixture
def target() -> Repository:
    found = INVENTORY.repository(NAMED.name, "team/app")
    assert found is not None
    return found


def cleaner(event: Event = SWEEP, observing: bool = False, **settings: Any) -> CleanRegistry:
    return CleanRegistry(
        Scene("1f0c", event, INVENTORY, Policy(), Settings(**settings), observing, lambda: NOW, print, print)  # type: ignore[arg-type] -- never called here
    )


def planned(toil: CleanRegistry, target: Repository) -> list[DeleteManifest]:
    draft = toil.plan(target)
    assert isinstance(draft, Draft)
    return [action for stage in draft.stages for action in stage if isinstance(action, DeleteManifest)]


def record(actions: list[DeleteManifest], **before: Any) -> Record:
    steps = [Step(n, 0, action, StepState.DONE, {"bytes": 1_010}) for n, action in enumerate(actions)]
    return Record({"tags": 1, "left": 0, "missing": [], "dead": [], **before}, steps, NOW)


def test_a_sweep_is_about_the_repositories_that_are_named_and_whose_storage_is_known() -> None:
    assert [one.ref for one in CleanRegistry.targets(SWEEP, INVENTORY)] == ["repository/images.example:5000/team/app"]


@pytest.mark.parametrize(
    ("event", "refs"),
    [
        (push("team/web"), ["repository/images.example:5000/team/web"]),
        (push("team/app"), []),  # its sweep does that
        (push("private/app"), []),
        (push("team/app", UNKEPT.name), []),
        (push("team/app", "unknown.example"), []),
        (DiskPressure(key="d", at=NOW, host="h"), []),
    ],
)
def test_a_push_is_about_its_repository_if_only_a_pattern_covers_it(event: Event, refs: list[str]) -> None:
    assert [one.ref for one in CleanRegistry.targets(event, INVENTORY)] == refs


def test_what_has_no_tag_is_planned_and_what_it_frees_is_told(registry: FakeRegistry, target: Repository) -> None:
    draft = cleaner().plan(target)
    assert [[action.object for action in stage] for stage in draft.stages] == [[digest(1), digest(2)]]
    assert (draft.before["bytes"], draft.before["untagged"], draft.before["tags"]) == (2_020, 2, 1)
    assert all(action.hazard is Hazard.DESTRUCTIVE for action in draft.stages[0])
    assert "untouched for 30.0 days" in draft.stages[0][0].note


def test_nobody_is_asked_while_there_is_nothing_to_ask_about(registry: FakeRegistry, target: Repository) -> None:
    registry.count = 1
    assert (planned(cleaner(), target), registry.asked) == ([], 0)


def test_the_young_stay(registry: FakeRegistry, target: Repository) -> None:
    registry.since = {digest(1): NOW - timedelta(days=6)}
    assert [one.object for one in planned(cleaner(), target)] == [digest(2)]
    assert len(planned(cleaner(min_age=3_600), target)) == 2


def test_what_is_used_stays_in_the_plan_and_at_the_deletion(registry: FakeRegistry, target: Repository) -> None:
    registry.uses = frozenset({digest(1)})
    assert [one.object for one in planned(cleaner(), target)] == [digest(2)]
    registry.uses = frozenset()
    actions = planned(cleaner(), target)
    registry.uses = frozenset({digest(2)})
    results = cleaner().apply_batch(actions, target)
    assert [type(result) for result in results] == [Done, Moot]
    assert registry.deleted == [digest(1)]


def test_the_answers_of_hosts_hold_for_a_minute(
    registry: FakeRegistry, target: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    toil = cleaner()
    actions = planned(toil, target)
    toil.apply_batch(actions[:1], target)
    assert registry.asked == 1
    monkeypatch.setattr(app, "USES_SECONDS", -1.0)
    toil._uses = None
    toil.apply_batch(actions[1:], target)
    toil.apply_batch(actions[1:], target)
    assert registry.asked == 3


@pytest.mark.parametrize(
    ("fault", "result"),
    [(NotThere("404"), Moot), (Refused("412"), Moot), (RetryableError("503"), NotYet)],
)
def test_trouble_with_one_spoils_none_beside_it(
    registry: FakeRegistry, target: Repository, fault: PaydownError, result: type
) -> None:
    registry.fails = {digest(1): fault}
    results = cleaner().apply_batch(planned(cleaner(), target), target)
    assert [type(one) for one in results] == [result, Done]


def test_a_registry_that_forbids_it_stops_the_run(registry: FakeRegistry, target: Repository) -> None:
    registry.fails = {digest(1): PermanentError("405")}
    with pytest.raises(PermanentError):
        cleaner().apply(planned(cleaner(), target)[0], target)


def test_when_time_is_up_the_rest_waits(
    registry: FakeRegistry, target: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = planned(cleaner(), target)
    monkeypatch.setattr(app, "BATCH_SECONDS", -1.0)
    assert [type(one) for one in cleaner().apply_batch(actions, target)] == [NotYet, NotYet]
    assert registry.deleted == []


def test_an_approval_for_less_harm_does_not_hold_for_more(registry: FakeRegistry, target: Repository) -> None:
    tame = [action.model_copy(update={"hazard": Hazard.DISRUPTIVE}) for action in planned(cleaner(), target)]
    assert {type(one) for one in cleaner().apply_batch(tame, target)} == {Moot}


def test_what_is_gone_is_verified_with_the_bytes(registry: FakeRegistry, target: Repository) -> None:
    toil = cleaner()
    actions = planned(toil, target)
    results = toil.apply_batch(actions, target)
    assert [one.evidence for one in results if isinstance(one, Done)] == [{"bytes": 1_010}, {"bytes": 1_010}]
    seen = toil.verify(target, record(actions))
    assert isinstance(seen, Verified)
    assert seen.saved == {"manifests": 2, "bytes": 2_020}


def test_what_is_still_there_is_not_verified_unless_it_was_pushed_again(
    registry: FakeRegistry, target: Repository
) -> None:
    toil = cleaner()
    actions = planned(toil, target)
    seen = toil.verify(target, record(actions))
    assert isinstance(seen, Unverified)
    assert "2 of 2" in seen.why
    registry.since = {action.object: NOW + timedelta(seconds=1) for action in actions}
    assert isinstance(toil.verify(target, record(actions)), Verified)


def test_a_tag_that_leads_nowhere_is_not_verified(registry: FakeRegistry, target: Repository) -> None:
    toil = cleaner()
    actions = planned(toil, target)
    toil.apply_batch(actions, target)
    registry.tags["other"] = digest(99)
    seen = toil.verify(target, record(actions))
    assert isinstance(seen, Unverified)
    assert digest(99) in seen.why
    assert isinstance(toil.verify(target, record(actions, missing=[digest(99)])), Verified)
    registry.tags = {"latest": digest(0)}
    registry.dead = frozenset({"empty"})
    seen = toil.verify(target, record(actions))
    assert isinstance(seen, Unverified)
    assert "empty" in seen.why
    assert isinstance(toil.verify(target, record(actions, dead=["empty"])), Verified)


def carried_out(toil: CleanRegistry, target: Repository) -> Record:
    actions = planned(toil, target)
    results = toil.apply_batch(actions, target)
    steps = [
        Step(number, 0, action, StepState.DONE, result.evidence)
        for number, (action, result) in enumerate(zip(actions, results, strict=True))
        if isinstance(result, Done)
    ]
    return Record({"tags": 1, "left": 0, "missing": [], "dead": []}, steps, NOW)


def test_a_tag_that_moved_to_what_is_being_deleted_is_told(registry: FakeRegistry, target: Repository) -> None:
    registry.tags["stable"] = digest(0)
    registry.moves = {"latest": digest(1)}
    toil = cleaner()
    done = carried_out(toil, target)
    assert [step.evidence.get("tags_lost") for step in done.steps] == [None, ["latest"]]
    seen = toil.verify(target, done)
    assert isinstance(seen, Unverified)
    assert "latest" in seen.why
    registry.tags["latest"] = digest(0)
    assert isinstance(toil.verify(target, done), Verified), "somebody pushed it again"


def test_tags_that_cannot_be_read_after_a_deletion_are_no_proof(registry: FakeRegistry, target: Repository) -> None:
    registry.unread = RetryableError("503")
    toil = cleaner()
    seen = toil.verify(target, carried_out(toil, target))
    assert isinstance(seen, Unverified)
    assert (seen.evidence["manifests"], "503" in seen.why) == (2, True)


def test_a_tag_of_what_is_attached_goes_with_it_and_is_not_missed(registry: FakeRegistry, target: Repository) -> None:
    registry.tags[f"{digest(1).replace(':', '-')}.sig"] = digest(2)
    toil = cleaner()
    done = carried_out(toil, target)
    assert isinstance(toil.verify(target, done), Verified)
    assert (sorted(registry.deleted), registry.tags) == ([digest(1), digest(2)], {"latest": digest(0)})


def test_the_operators_credentials_are_for_acting_only(target: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def secret(name: str) -> Any:
        asked.append(name)
        return {"username": "u", "password": "p"}

    monkeypatch.setattr(holdings_module.aws, "secret", secret)
    for observing in (True, False):
        holdings = cleaner(observing=observing)._holdings(target)
        assert isinstance(holdings, DistributionRepository)
        holdings._api._credentials()
    assert asked == ["reader", "operator"]


def test_what_a_lifecycle_policy_cleans_is_left_to_it(registry: FakeRegistry, target: Repository) -> None:
    registry.left = "rule 1 of the repository's lifecycle policy expires what has no tag"
    draft = cleaner().plan(target)
    assert (draft.stages, draft.why) == ((), registry.left)


def test_as_many_go_in_one_call_as_the_registry_takes(registry: FakeRegistry, target: Repository) -> None:
    registry.count, registry.at_once = 6, 3
    actions = planned(cleaner(), target)
    registry.fails = {actions[1].object: Refused("a manifest list refers to it")}
    results = cleaner().apply_batch(actions, target)
    assert [len(call) for call in registry.calls] == [3, 2]
    assert [type(one) for one in results] == [Done, Moot, Done, Done, Done]


def test_what_goes_along_counts_with_its_index_and_makes_it_as_hazardous(
    registry: FakeRegistry, target: Repository
) -> None:
    registry.indexes = {digest(1): (digest(2),)}
    alone = {action.object: action.hazard for action in planned(cleaner(), target)}
    assert alone == {digest(1): Hazard.DISRUPTIVE, digest(2): Hazard.DESTRUCTIVE}
    registry.cascades = True
    toil = cleaner()
    index, child = actions = planned(toil, target)
    assert (index.hazard, "deletes 1 with it" in index.note) == (Hazard.DESTRUCTIVE, True)
    results = [toil.apply(action, target) for action in actions]
    assert results == [Done({"bytes": 1_020, "taken_along": 1}), Moot("it is gone already")]
    steps = [Step(0, 0, index, StepState.DONE, results[0].evidence), Step(1, 1, child, StepState.MOOT)]  # type: ignore[union-attr] -- done, as seen above
    seen = toil.verify(target, Record({"tags": 1, "left": 0, "missing": [], "dead": []}, steps, NOW))
    assert isinstance(seen, Verified)
    assert seen.saved == {"manifests": 2, "bytes": 1_020}


def test_two_indexes_that_share_a_child_free_it_once(registry: FakeRegistry, target: Repository) -> None:
    registry.count, registry.cascades, registry.at_once = 4, True, 2
    registry.indexes = {digest(1): (digest(3),), digest(2): (digest(3),)}
    indexes = planned(cleaner(), target)[:2]
    results = cleaner().apply_batch(indexes, target)
    assert [one.evidence for one in results if isinstance(one, Done)] == [
        {"bytes": 10},
        {"bytes": 1_020, "taken_along": 1},
    ]


@pytest.mark.parametrize("settings", [{"min_age": 3_599}, {"limit": 0}, {"min_age": "soon"}, {"keep": 3}])
def test_settings_that_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_nothing_it_does_takes_anybody_out_of_service(target: Repository) -> None:
    assert cleaner().population(target) is None
