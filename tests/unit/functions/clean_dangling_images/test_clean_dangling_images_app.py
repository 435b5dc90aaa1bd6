"""What is planned, what becomes of it, and what is told: with a host that only pretends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from functions.clean_dangling_images import app
from functions.clean_dangling_images.app import CleanDanglingImages, RemoveImage, Settings
from paydown.clients.docker import Disk, Fate, Image, Kind, Leftover, Listing, Removal, Stock
from paydown.events import DiskPressure, Event, ImagePushed, NodeNotReady, Sweep
from paydown.inventory import Host, Inventory, Promotion, Ssm, Unix
from paydown.plan import Done, Draft, Hazard, Moot, NotYet, Plan, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
BUILD_1 = Host(
    uid="i-1",
    name="build-1",
    reach=Ssm(via="ssm", instance_id="i-0123456789abcdef0"),
    builds=("127.0.0.1:5000/demo/*",),
)
BUILD_2 = Host(uid="h-2", name="build-2", reach=Unix(via="unix", path="/d.sock"), builds=("registry/other",))
SWEEP = Sweep(key="s", at=NOW, rule="hourly")
PRESSURE = DiskPressure(key="d", at=NOW, host="i-0123456789abcdef0")


def push(repository: str) -> ImagePushed:
    digest = "sha256:" + "1" * 64
    return ImagePushed(key="p", at=NOW, registry="127.0.0.1:5000", repository=repository, digest=digest)


def identity(number: int) -> str:
    return f"sha256:{number:064x}"


def image(number: int, age: float, pulled: bool = False) -> Image:
    """An image that was tagged `age` seconds ago, or never if it was pulled."""
    moment = NOW - timedelta(seconds=age)
    digests = (f"r/app@{identity(number)}",) if pulled else ()
    return Image(
        identity(number), moment - timedelta(days=1) if not pulled else moment, None if pulled else moment, 10, digests
    )


@dataclass
class FakeHost:
    """A host with these images; removing answers with `fates`, by default REMOVED."""

    dangling: Sequence[Image] = ()
    used: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()
    fates: dict[str, Removal] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    clock: datetime = NOW
    leftovers: Sequence[Leftover] = ()
    unique: dict[str, int] = field(default_factory=dict)
    disks: list[Disk | None] = field(default_factory=lambda: [None])
    keys: list[list[tuple[Kind, str, str]]] = field(default_factory=list)

    def list_leftovers(self) -> Stock:
        return Stock(self.clock, tuple(self.leftovers), self.unique, self.read_disk())

    def read_disk(self) -> Disk | None:
        return self.disks.pop(0) if len(self.disks) > 1 else self.disks[0]

    def remove_leftovers(self, keys: Sequence[tuple[Kind, str, str]]) -> list[Removal]:
        self.keys.append(list(keys))
        return [self.fates.get(id, Removal(id, Fate.REMOVED, freed=3)) for _, id, _ in keys]

    def list_images(self) -> Listing:
        return Listing(self.clock, "overlay2", "/var/lib/docker", tuple(self.dangling), self.used, self.present, 1000)

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        self.asked.append(list(ids))
        return [self.fates.get(id, Removal(id, Fate.REMOVED, freed=7, layers=1, directories=("/d",))) for id in ids]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost()

    def opened(host: Host, **how: Any) -> FakeHost:
        fake.opened.append({"host": host.name, **how})
        return fake

    monkeypatch.setattr(app, "open_host", opened)
    return fake


def cleaner(
    event: Event = SWEEP, observing: bool = False, promotions: tuple[Promotion, ...] = (), **settings: Any
) -> CleanDanglingImages:
    return CleanDanglingImages(
        Scene(
            run_id="1f0c",
            event=event,
            inventory=Inventory(hosts=(BUILD_1, BUILD_2), promotions=promotions),
            policy=Policy(),
            settings=Settings(**settings),
            observing=observing,
            now=lambda: NOW,
            nudge=lambda *_: None,
            has_run=lambda *_: False,
        )
    )


def planned(toil: CleanDanglingImages) -> Draft:
    draft = toil.plan(BUILD_1)
    assert isinstance(draft, Draft)
    return draft


def remove(number: int) -> RemoveImage:
    return RemoveImage(object=identity(number))


@pytest.mark.parametrize(
    ("event", "names"),
    [
        (push("demo/app"), ["build-1"]),
        (push("other"), []),
        (PRESSURE, ["build-1"]),
        (SWEEP, ["build-1", "build-2"]),
        (NodeNotReady(key="n", at=NOW, cluster="c", node="n"), []),
    ],
)
def test_targets(event: Event, names: list[str]) -> None:
    inventory = Inventory(hosts=(BUILD_1, BUILD_2))
    assert [host.name for host in CleanDanglingImages.targets(event, inventory)] == names


def test_its_name_is_its_folder() -> None:
    assert CleanDanglingImages.name == "clean_dangling_images"


def test_the_old_are_planned_oldest_first_and_the_rest_is_told(host: FakeHost) -> None:
    host.dangling = [image(1, 4000), image(2, 9000), image(3, 3599), image(4, 9999), image(5, 9999, pulled=True)]
    host.used = frozenset({identity(4)})
    draft = planned(cleaner())
    (stage,) = draft.stages
    assert [action.object for action in stage] == [identity(2), identity(1)]
    assert dict(draft.before) == {
        "storage_driver": "overlay2",
        "data_root": "/var/lib/docker",
        "dangling": 5,
        "used": 1,
        "unlabelled": 0,
        "pulled": 1,
        "young": 1,
        "left": 0,
        "free_bytes": 1000,
    }
    assert Plan.from_draft(draft).hazard is Hazard.DISRUPTIVE
    assert stage[0].note == "0.0 MB with shared layers, 2.5 h old"


def test_sizes_and_ages_do_not_change_the_fingerprint(host: FakeHost) -> None:
    host.dangling = [image(1, 4000)]
    before = Plan.from_draft(planned(cleaner())).fingerprint
    host.dangling = [image(1, 5000)]
    assert Plan.from_draft(planned(cleaner())).fingerprint == before


@pytest.mark.parametrize(("age", "acts"), [(3600, True), (3599.9, False)])
def test_the_age_limit(host: FakeHost, age: float, acts: bool) -> None:
    host.dangling = [image(1, age)]
    assert isinstance(cleaner().plan(BUILD_1), Draft) is acts


@pytest.mark.parametrize(("event", "seconds"), [(SWEEP, 3500), (push("demo/app"), 3500), (PRESSURE, 600)])
def test_while_all_are_young_it_waits(host: FakeHost, event: Event, seconds: int) -> None:
    host.dangling = [image(1, 3000), image(2, 100)]
    waiting = cleaner(event).plan(BUILD_1)
    assert waiting == NotYet(NOW + timedelta(seconds=seconds), "2 dangling images are younger than 3600 s")


def test_young_images_that_are_not_ours_to_remove_make_nobody_wait(host: FakeHost) -> None:
    host.dangling = [image(1, 1), image(2, 1, pulled=True)]
    host.used = frozenset({identity(1)})
    draft = planned(cleaner())
    assert (draft.stages, draft.why) == (
        (),
        "those that dangle are in use, were pulled, lack the labels, or are kept by one",
    )


def test_nothing_dangles(host: FakeHost) -> None:
    draft = planned(cleaner())
    assert (draft.stages, draft.why) == ((), "no image dangles")


def test_ages_are_counted_on_the_host_s_clock(host: FakeHost) -> None:
    host.clock = NOW + timedelta(hours=3)
    host.dangling = [image(1, -2 * 3600)]  # built an hour ago, as the host sees it
    assert len(planned(cleaner()).stages[0]) == 1


def test_pulled_images_go_when_the_policy_says_so(host: FakeHost) -> None:
    host.dangling = [image(1, 4000, pulled=True)]
    draft = planned(cleaner(pulled=True))
    assert draft.stages[0][0].note.endswith(f", was r/app@{identity(1)}")


def test_what_a_stage_runs_or_may_go_back_to_stays(host: FakeHost) -> None:
    host.dangling = [image(number, 4000, pulled=True) for number in (1, 2, 3)]
    promoted = Promotion(stage="prod", repository="app", digest=identity(1), previous=identity(2))
    draft = planned(cleaner(pulled=True, promotions=(promoted,)))
    assert [action.object for stage in draft.stages for action in stage] == [identity(3)]


@pytest.mark.parametrize("wrong", [{"min_age": -1}, {"limit": 0}, {"min_ages": 1}, {"pulled": "maybe"}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_each_fate_becomes_a_result(host: FakeHost) -> None:
    fates = (Fate.REMOVED, Fate.ABSENT, Fate.TAGGED, Fate.USED, Fate.FAILED, Fate.SKIPPED)
    for number, fate in enumerate(fates):
        host.fates[identity(number)] = Removal(identity(number), fate, f"why {number}", freed=5, layers=1)
    results = cleaner().apply_batch([remove(number) for number in range(6)], BUILD_1)
    assert list(results) == [
        Done({"bytes": 5, "exact": True, "layers": 1, "parents": 0, "directories": []}),
        Moot("it is gone already"),
        Moot("why 2"),
        Moot("why 3"),
        NotYet(NOW + timedelta(seconds=30), "why 4"),
        NotYet(NOW, "why 5"),
    ]
    assert host.asked == [[identity(number) for number in range(6)]], "one command for all"
    assert host.opened == [{"host": "build-1", "observing": False, "mark": "paydown run 1f0c"}]


def test_one_action_is_a_batch_of_one(host: FakeHost) -> None:
    assert isinstance(cleaner().apply(remove(1), BUILD_1), Done)
    assert host.asked == [[identity(1)]]


def test_observing_is_passed_on(host: FakeHost) -> None:
    cleaner(observing=True).plan(BUILD_1)
    assert host.opened[0]["observing"] is True


def record(*steps: Step) -> Record:
    return Record({"free_bytes": 400}, steps, NOW)


def step(number: int, state: StepState, **evidence: Any) -> Step:
    return Step(number, 0, remove(number), state, evidence)


def test_verified_tells_what_was_saved_and_where_it_lay(host: FakeHost) -> None:
    seen = cleaner().verify(
        BUILD_1,
        record(
            step(1, StepState.DONE, bytes=5, exact=True, layers=1, parents=2, directories=["/d/1"]),
            step(2, StepState.DONE, bytes=6, exact=True, layers=1, parents=0, directories=["/d/2"]),
            step(3, StepState.MOOT),
        ),
    )
    assert isinstance(seen, Verified)
    assert seen.saved == {"bytes": 11, "images": 2}
    assert seen.evidence == {
        "images": 2,
        "parents": 2,
        "bytes": 11,
        "bytes_exact": True,
        "layers": 2,
        "kept": 1,
        "storage_driver": "overlay2",
        "data_root": "/var/lib/docker",
        "layer_directories": ["/d/1", "/d/2"],
        "free_bytes_before": 400,
        "free_bytes_after": 1000,
        "dangling_left": 0,
        "built_again": 0,
    }


def test_a_step_whose_answer_was_lost_makes_the_bytes_a_lower_bound(host: FakeHost) -> None:
    seen = cleaner().verify(BUILD_1, record(step(1, StepState.DONE, bytes=5, exact=True), step(2, StepState.DONE)))
    assert isinstance(seen, Verified)
    assert (seen.saved, seen.evidence["bytes_exact"]) == ({"bytes": 5, "images": 2}, False)


def test_an_image_that_is_still_there_is_not_verified(host: FakeHost) -> None:
    host.dangling, host.present = [image(1, 4000)], frozenset({identity(1)})
    seen = cleaner().verify(BUILD_1, record(step(1, StepState.DONE)))
    assert isinstance(seen, Unverified)
    assert seen.why == f"1 of 1 images are still there, such as {identity(1)}"


def test_one_that_was_built_again_since_is_another_matter(host: FakeHost) -> None:
    host.dangling, host.present = [image(1, -5)], frozenset({identity(1), identity(2)})
    seen = cleaner().verify(BUILD_1, record(step(1, StepState.DONE), step(2, StepState.DONE)))
    assert isinstance(seen, Verified)
    assert seen.evidence["built_again"] == 2
