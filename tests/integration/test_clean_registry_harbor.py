"""Harbor in its documented shape, over the wire: what is listed, what goes along, and what Harbor keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.clean_registry.app import CleanRegistry, Settings
from paydown.clients import aws
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.clients.registry_harbor import PAGE, HarborRepository
from paydown.clients.registry_storage import Refused
from paydown.clients.web import NotThere
from paydown.errors import PermanentError, RetryableError
from paydown.events import Sweep
from paydown.inventory import Inventory, Repository
from paydown.plan import Applied, Done, Draft, Hazard, Moot, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.harbor_standin import KNOWN, Harbor
from tests.integration.http_server import HttpServer, answered

NAME = "team/shop/app"
MONTH = timedelta(days=30)


@pytest.fixture
def harbor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harbor]:
    running = Harbor(NAME)
    monkeypatch.setattr(aws, "secret", {"harbor": KNOWN}.__getitem__)
    yield running
    running.close()


@pytest.fixture
def target(harbor: Harbor) -> Repository:
    entry = {"uid": "h", "name": "h.example", "system": "harbor", "url": harbor.url, "repositories": [NAME]}
    inventory = Inventory.parse({"registries": [{**entry, "secret": "harbor"}]})
    (found,) = CleanRegistry.targets(Sweep(key="s", at=datetime.now(UTC), rule="daily"), inventory)
    return found


@pytest.fixture
def repository(target: Repository) -> HarborRepository:
    return HarborRepository(target.registry, target.name, aws.secret, operator=True)


def image(harbor: Harbor, mark: str, *tags: str, age: timedelta = MONTH, **more: Any) -> str:
    layer = {"mediaType": "application/octet-stream", "digest": f"sha256:{mark.encode().hex():0>64}", "size": 1_000}
    made = Manifest.made({"schemaVersion": 2, "layers": [layer]}, OCI_MANIFEST)
    return harbor.put(made.raw, made.media_type, made.digest, tags=tags, age=age, **more)


def index(harbor: Harbor, *children: str, tags: tuple[str, ...] = (), age: timedelta = MONTH) -> str:
    listed = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 1} for child in children]
    made = Manifest.made({"schemaVersion": 2, "manifests": listed}, OCI_INDEX)
    return harbor.put(made.raw, made.media_type, made.digest, tags=tags, age=age)


def cleaner(**settings: Any) -> CleanRegistry:
    now = lambda: datetime.now(UTC)  # noqa: E731 -- as the scene wants it
    event = Sweep(key="s", at=now(), rule="daily")
    return CleanRegistry(Scene("1f0c", event, Inventory(), Policy(), Settings(**settings), False, now, print, print))  # type: ignore[arg-type] -- never called here


def clean(target: Repository, **settings: Any) -> tuple[Draft, list[Applied], Verified]:
    toil = cleaner(**settings)
    draft = toil.plan(target)
    actions = [action for stage in draft.stages for action in stage]
    results = [toil.apply(action, target) for action in actions]  # type: ignore[arg-type] -- deletions, as planned
    steps = [
        Step(
            n,
            0,
            action,
            StepState.DONE if isinstance(result, Done) else StepState.MOOT,
            getattr(result, "evidence", {}),
        )
        for n, (action, result) in enumerate(zip(actions, results, strict=True))
    ]
    seen = toil.verify(target, Record(draft.before, steps, datetime.now(UTC)))
    assert isinstance(seen, Verified), seen
    return draft, results, seen


def test_a_tagged_index_keeps_its_children_and_an_old_one_takes_its_own_along(
    harbor: Harbor, target: Repository
) -> None:
    shared, old_only, new_only = (image(harbor, mark) for mark in "son")
    old, new = index(harbor, shared, old_only), index(harbor, shared, new_only, tags=("latest",))
    draft, results, seen = clean(target)
    assert [[action.object for action in stage] for stage in draft.stages] == [[old], [old_only]]
    assert draft.stages[0][0].hazard is Hazard.DESTRUCTIVE, "its only child goes with it"
    assert [type(result) for result in results] == [Done, Moot]
    assert set(harbor.artifacts) == {shared, new_only, new}
    assert seen.saved["manifests"] == 2
    assert seen.saved["bytes"] == draft.before["bytes"] > 1_000
    assert all("%252F" in path for _, path in harbor.asked if path.startswith("/api/"))


def test_an_old_index_stays_while_it_alone_holds_a_child_that_was_pushed_again(
    harbor: Harbor, target: Repository
) -> None:
    old = index(harbor, young := image(harbor, "y", age=timedelta(hours=1)), other := image(harbor, "o"))
    image(harbor, "x", "latest", age=2 * MONTH)
    draft, _, _ = clean(target)
    assert draft.stages == ()
    assert {old, young, other} <= set(harbor.artifacts)


def test_a_signature_that_its_manifest_does_not_tell_of_goes_and_stays_with_its_image(
    harbor: Harbor, target: Repository
) -> None:
    old, new = image(harbor, "o"), image(harbor, "n", "latest")
    of_old = image(harbor, "so", f"sha256-{old[7:]}.sig", subject=old)
    of_new = image(harbor, "sn", f"sha256-{new[7:]}.sig", subject=new)
    of_signature = image(harbor, "ss", subject=of_new)
    draft, _, seen = clean(target)
    assert [[action.object for action in stage] for stage in draft.stages] == [[of_old], [old]]
    assert set(harbor.artifacts) == {new, of_new, of_signature}
    assert seen.saved["manifests"] == 2


def test_a_tag_that_a_person_gave_to_a_signature_counts(harbor: Harbor, target: Repository) -> None:
    old = image(harbor, "o")
    image(harbor, "s", "keep", subject=old)
    assert clean(target)[0].stages == ()


def test_age_counts_to_the_next_push_or_to_a_tag_that_was_given(harbor: Harbor, target: Repository) -> None:
    old = image(harbor, "o")
    newer = image(harbor, "n", "latest", age=MONTH - timedelta(days=1))
    assert [action.object for stage in cleaner().plan(target).stages for action in stage] == [old]
    harbor.artifacts[newer].pushed -= MONTH
    harbor.artifacts[newer].tags["latest"] = datetime.now(UTC)
    assert cleaner().plan(target).stages == ()


def test_what_harbor_keeps_is_moot(harbor: Harbor, target: Repository, repository: HarborRepository) -> None:
    kept, gone = image(harbor, "k"), image(harbor, "g")
    harbor.immutable = {kept}
    _, results, _ = clean(target)
    assert {type(result) for result in results} == {Done, Moot}
    assert set(harbor.artifacts) == {kept}
    found = repository.delete([kept, gone])
    assert [type(error) for error in found.values()] == [Refused, NotThere]
    assert repository.present([kept, gone]) == {kept}


def test_pages_that_move_while_they_are_read_are_read_again(harbor: Harbor, repository: HarborRepository) -> None:
    for number in range(PAGE + 20):
        image(harbor, f"{number:03}", f"v{number}", age=timedelta(days=number))
    assert len(repository.revisions()) == len(repository.tags()) == PAGE + 20
    newest = next(iter(harbor.artifacts))
    harbor.on_page = lambda number: harbor.artifacts.pop(newest, None) if number == 1 else None
    with pytest.raises(RetryableError, match="changed while"):
        repository.revisions()
    harbor.on_page = lambda number: None
    assert len(repository.revisions()) == PAGE + 19


def test_a_page_of_signatures_alone_is_not_the_end(harbor: Harbor, repository: HarborRepository) -> None:
    signed = image(harbor, "signed", "latest")
    for number in range(PAGE):
        image(harbor, f"{number:03}", subject=signed, age=MONTH - timedelta(days=1))
    assert len(repository.revisions()) == PAGE + 1
    assert repository.tags() == {"latest": signed}


def test_a_child_that_is_gone_is_told_as_missing(harbor: Harbor, target: Repository) -> None:
    child = image(harbor, "c")
    index(harbor, child, tags=("latest",))
    del harbor.artifacts[child]
    image(harbor, "o")
    draft, _, _ = clean(target)
    assert draft.before["missing"] == [child]


@pytest.mark.parametrize(
    "data",
    [{"errors": []}, [{"digest": "sha256:../../x", "push_time": "2026-01-01T00:00:00.000Z"}], [{"digest": 1}], []],
)
def test_an_answer_of_another_shape_stops_everything(target: Repository, data: Any) -> None:
    server = HttpServer(lambda handler, _: answered(handler, 200, json.dumps(data).encode()))
    try:
        registry = target.registry.model_copy(update={"url": server.url})
        with pytest.raises(PermanentError, match="documented shape"):
            HarborRepository(registry, NAME, {"harbor": KNOWN}.__getitem__).revisions()
    finally:
        server.close()


def test_credentials_that_are_refused_and_a_name_without_a_project(harbor: Harbor, target: Repository) -> None:
    wrong = HarborRepository(target.registry, NAME, lambda name: {**KNOWN, "password": "wr0ng"})
    with pytest.raises(PermanentError) as caught:
        wrong.revisions()
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(PermanentError, match="PROJECT/REPOSITORY"):
        HarborRepository(target.registry, "app", aws.secret)
