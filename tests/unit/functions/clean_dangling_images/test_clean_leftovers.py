"""What else goes by the policy, and how much of it on disk pressure: with a host that only pretends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from functions.clean_dangling_images import app
from functions.clean_dangling_images.app import Settings
from functions.clean_dangling_images.choosing import repository
from paydown.clients.docker import Disk, Fate, Kind, Leftover, Removal
from paydown.plan import Action, Done, Draft, Hazard, Moot, NotYet, Plan, Record, Step, StepState, Unverified, Verified
from tests.unit.functions.clean_dangling_images.test_clean_dangling_images_app import (
    BUILD_1,
    NOW,
    PRESSURE,
    FakeHost,
    cleaner,
    host,
    identity,
    image,
)

__all__ = ["host"]

HOUR = 3600
FULL = Disk(total=1000, free=100)
"""90 % full: 100 bytes must go until it is 80 % full."""


def leftover(kind: Kind, id: str, age: int, **more: Any) -> Leftover:
    return Leftover(kind, id, f"as of {id}", NOW - timedelta(seconds=age), more.pop("size", 10), **more)


def tagged(number: int, age: int, *names: str, **more: Any) -> Leftover:
    found = leftover(Kind.IMAGE, identity(number), age, names=names, **{"pushed": True, **more})
    return replace(found, state="+".join(names))


def drafted(host: FakeHost, event: Any = None, **settings: Any) -> Draft:
    draft = (cleaner(event, **settings) if event else cleaner(**settings)).plan(BUILD_1)
    assert isinstance(draft, Draft)
    return draft


def objects(draft: Draft) -> list[list[str]]:
    return [[action.object for action in stage] for stage in draft.stages]


EVERYTHING = (
    tagged(1, 9 * HOUR, "app:1"),
    tagged(2, 8 * HOUR, "app:2"),
    leftover(Kind.CONTAINER, "c", 9 * HOUR),
    leftover(Kind.VOLUME, "v", 9 * HOUR),
    leftover(Kind.CACHE, "k", 9 * HOUR),
)


def test_nothing_else_goes_unless_the_policy_says_so(host: FakeHost) -> None:
    host.leftovers = EVERYTHING
    draft = drafted(host)
    assert draft.stages == ()
    assert "leftovers" not in draft.before, "it is not even looked at"


@pytest.mark.parametrize(
    ("settings", "verb", "object", "precondition", "hazard"),
    [
        ({"keep_newest": 1}, "remove_old_image", identity(1), "app:1", Hazard.DISRUPTIVE),
        ({"exited_containers_age": HOUR}, "remove_container", "c", "as of c", Hazard.DISRUPTIVE),
        ({"unused_volumes_age": HOUR}, "remove_volume", "v", "as of v", Hazard.DESTRUCTIVE),
        ({"build_cache_age": HOUR}, "remove_cache_record", "k", "as of k", Hazard.DISRUPTIVE),
        ({"build_cache_keep_bytes": 5}, "remove_cache_record", "k", "as of k", Hazard.DISRUPTIVE),
    ],
)
def test_each_setting_lets_one_kind_go(
    host: FakeHost, settings: dict[str, int], verb: str, object: str, precondition: str, hazard: Hazard
) -> None:
    host.leftovers = EVERYTHING
    (action,) = Plan.from_draft(drafted(host, **settings)).actions
    assert action.identity == (verb, object, precondition, hazard.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"exited_containers_age": 10 * HOUR},
        {"unused_volumes_age": 10 * HOUR},
        {"build_cache_age": 10 * HOUR},
        {"build_cache_keep_bytes": 10},
        {"keep_newest": 2},
        {"keep_newest": 1, "min_age": 10 * HOUR},
        {"keep_newest": 1, "labels": {"team": "a"}},
    ],
)
def test_what_is_too_young_or_few_enough_stays(host: FakeHost, settings: dict[str, Any]) -> None:
    host.leftovers = EVERYTHING
    assert objects(drafted(host, **settings)) == []


def test_what_is_held_or_has_a_label_that_keeps_it_stays(host: FakeHost) -> None:
    on = {"exited_containers_age": 1, "unused_volumes_age": 1, "build_cache_age": 1, "keep_newest": 1}
    for more in ({"held": "it is used"}, {"labels": {"paydown.keep": "false"}}):
        host.leftovers = [replace(one, **more) for one in EVERYTHING if one.kind is not Kind.CACHE or "held" in more]
        assert objects(drafted(host, **on)) == []
    host.dangling = [replace(image(1, 9000), labels={"mine": ""})]
    assert objects(drafted(host, keep_labels=("mine",))) == []
    assert len(drafted(host).stages) == 1


def test_an_image_is_kept_whole_while_one_of_its_repositories_counts_it_as_new(host: FakeHost) -> None:
    host.leftovers = [
        tagged(1, 9 * HOUR, "app:1", "base:1"),
        tagged(2, 8 * HOUR, "app:2"),
        tagged(3, 7 * HOUR, "app:3"),
        tagged(4, 9 * HOUR, "h:5000/app:1"),
        tagged(5, 9 * HOUR, "pulled:1", pulled=True),
        tagged(6, 8 * HOUR, "pulled:2", pulled=True),
    ]
    assert objects(drafted(host, keep_newest=1)) == [[identity(2)]]
    assert objects(drafted(host, keep_newest=1, pulled=True)) == [[identity(5), identity(2)]]


@pytest.mark.parametrize(
    ("name", "expected"), [("app:1", "app"), ("h:5000/team/app:1", "h:5000/team/app"), ("h:5000/app", "h:5000/app")]
)
def test_the_repository_of_a_name(name: str, expected: str) -> None:
    assert repository(name) == expected


def test_what_a_person_must_allow_waits_until_nothing_else_is_left(host: FakeHost) -> None:
    host.dangling = [image(9, 9000)]
    unpushed = tagged(1, 9 * HOUR, "app:1", pushed=False)
    host.leftovers = [unpushed, *EVERYTHING[1:]]
    settings = {"keep_newest": 1, "unused_volumes_age": HOUR}
    assert objects(drafted(host, **settings)) == [[identity(9)]]
    host.dangling = []
    draft = drafted(host, **settings)
    assert {action.hazard for action in Plan.from_draft(draft).actions} == {Hazard.DESTRUCTIVE}
    assert sorted(objects(draft)[0]) == [identity(1), "v"]


def test_cache_goes_in_stages_from_its_tops_and_only_if_all_above_may_go(host: FakeHost) -> None:
    host.leftovers = [
        leftover(Kind.CACHE, "bottom", 9 * HOUR),
        leftover(Kind.CACHE, "middle", 8 * HOUR, below=("bottom",)),
        leftover(Kind.CACHE, "top", 7 * HOUR, below=("middle",)),
        leftover(Kind.CACHE, "under", 9 * HOUR),
        leftover(Kind.CACHE, "young", 1, below=("under",)),
    ]
    assert objects(drafted(host, build_cache_age=HOUR)) == [["top"], ["middle"], ["bottom"]]
    assert objects(drafted(host, build_cache_keep_bytes=25)) == [["top"], ["middle"], ["bottom"]]
    assert objects(drafted(host, build_cache_keep_bytes=35)) == [["top"], ["middle"]]


def test_the_limit_is_for_all_kinds_together(host: FakeHost) -> None:
    host.dangling = [image(7, 9000), image(8, 9001)]
    host.leftovers = EVERYTHING
    draft = drafted(host, limit=3, exited_containers_age=HOUR, build_cache_age=HOUR)
    assert objects(draft) == [[identity(8), identity(7)], ["c"]]


def test_marks_must_make_sense() -> None:
    for wrong in (
        {"disk_high": 80},
        {"disk_low": 85},
        {"disk_high": 101},
        {"disk_high": None},
        {"disk_low": None},
        {"keep_newest": 0},
    ):
        with pytest.raises(ValidationError):
            Settings(**wrong)  # type: ignore[arg-type]  # that is what it is about


@pytest.mark.parametrize(("free", "percent", "excess"), [(150, 85, 50), (159, 85, 41), (160, 84, 40), (200, 80, 0)])
def test_how_full_a_disk_is_is_counted_as_kubelet_does(free: int, percent: int, excess: int) -> None:
    disk = Disk(1000, free)
    assert (disk.percent, disk.excess(80)) == (percent, excess)


def test_below_the_high_mark_pressure_removes_nothing(host: FakeHost) -> None:
    host.dangling = [image(1, 9000)]
    host.disks = [Disk(1000, 160)]
    draft = drafted(host, PRESSURE)
    assert (draft.stages, draft.why) == ((), "the disk is 84 % full, below the high mark of 85 %")
    assert len(drafted(host).stages) == 1, "other events do not look at the disk"


def test_pressure_takes_the_longest_unused_of_all_kinds_and_no_more_than_needed(host: FakeHost) -> None:
    host.disks = [FULL]
    host.dangling = [image(number, 5000 + number) for number in range(1, 5)]
    host.unique = {identity(number): 30 for number in range(1, 5)}
    host.leftovers = [leftover(Kind.CACHE, "k", 5003, size=25), leftover(Kind.CONTAINER, "c", 4000, size=500)]
    draft = drafted(host, PRESSURE, build_cache_age=HOUR, exited_containers_age=HOUR)
    assert objects(draft) == [[identity(4), identity(3), identity(2)], ["k"]], "115 bytes; 100 are needed"
    assert (draft.before["disk_percent"], draft.before["needed_bytes"]) == (90, 100)


def test_where_the_disk_cannot_be_read_pressure_takes_what_is_old(host: FakeHost) -> None:
    host.dangling = [image(1, 9000), image(2, 9001)]
    assert objects(drafted(host, PRESSURE)) == [[identity(2), identity(1)]]


def test_under_pressure_each_command_is_a_stage_so_that_the_oldest_go_first(host: FakeHost) -> None:
    host.disks = [FULL]
    host.dangling = [image(number, 4000 + number) for number in range(120)]
    stages = objects(drafted(host, PRESSURE))
    assert [len(stage) for stage in stages] == [50, 50, 20]
    assert [id for stage in stages for id in stage] == [identity(number) for number in reversed(range(120))]


def test_it_stops_once_the_disk_is_below_the_low_mark(host: FakeHost) -> None:
    host.disks = [Disk(1000, 199), Disk(1000, 200)]
    toil = cleaner(PRESSURE)
    action = app.RemoveImage(object=identity(1))
    assert isinstance(toil.apply_batch([action], BUILD_1)[0], Done)
    assert toil.apply_batch([action], BUILD_1) == [Moot("the disk is 80 % full: it is below the low mark")]
    assert host.asked == [[identity(1)]]


ACTIONS: tuple[Action, ...] = (
    app.RemoveImage(object=identity(1)),
    app.RemoveContainer(object="c", precondition="as of c"),
    app.RemoveVolume(object="v", precondition="as of v"),
)


def test_a_batch_of_many_kinds_is_two_commands_and_keeps_its_order(host: FakeHost) -> None:
    host.fates = {"c": Removal("c", Fate.CHANGED, "it was started since"), "v": Removal("v", Fate.FAILED, "why")}
    results = cleaner().apply_batch([ACTIONS[1], ACTIONS[0], ACTIONS[2]], BUILD_1)
    assert isinstance(results[1], Done)
    assert (results[0], results[2]) == (Moot("it was started since"), NotYet(NOW + timedelta(seconds=30), "why"))
    assert host.keys == [[(Kind.CONTAINER, "c", "as of c"), (Kind.VOLUME, "v", "as of v")]]


def done(*actions: Action, **evidence: Any) -> Record:
    steps = [Step(index, 0, action, StepState.DONE, evidence) for index, action in enumerate(actions)]
    return Record({}, steps, NOW)


def test_what_went_is_booked_by_kind(host: FakeHost) -> None:
    seen = cleaner().verify(BUILD_1, done(*ACTIONS, bytes=4, exact=True))
    assert isinstance(seen, Verified)
    assert seen.saved == {"bytes": 12, "images": 1, "containers": 1, "volumes": 1}


def test_one_that_is_still_there_is_not_verified(host: FakeHost) -> None:
    host.leftovers = [leftover(Kind.VOLUME, "v", 5)]
    seen = cleaner().verify(BUILD_1, done(*ACTIONS, bytes=4, exact=True))
    assert isinstance(seen, Unverified)
    assert seen.why == "1 of 3 things are still there, such as v"
    host.leftovers = [replace(host.leftovers[0], state="made anew")]
    assert isinstance(cleaner().verify(BUILD_1, done(*ACTIONS, bytes=4, exact=True)), Verified)


def test_a_disk_that_stays_full_is_not_verified(host: FakeHost) -> None:
    host.disks = [Disk(1000, 150)]
    seen = cleaner(PRESSURE).verify(BUILD_1, done(ACTIONS[0], bytes=4, exact=True))
    assert isinstance(seen, Unverified)
    assert seen.why == "the disk is still 85 % full"
    host.disks = [Disk(1000, 160)]
    seen = cleaner(PRESSURE).verify(BUILD_1, done(ACTIONS[0], bytes=4, exact=True))
    assert isinstance(seen, Verified)
    assert seen.evidence["disk_percent"] == 84


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (0, "the disk is still 85 % full, and nothing more may be removed by policy"),
        (3, "the disk is still 85 % full; 3 more things may be removed by policy, in runs of their own"),
    ],
)
def test_a_disk_that_stays_full_when_all_is_gone_that_may_go_is_not_verified(
    host: FakeHost, later: int, why: str
) -> None:
    host.disks = [Disk(1000, 150)]
    before = {"needed_bytes": 50, "estimated_bytes": 49, "later": later}
    record = replace(done(ACTIONS[0], bytes=4, exact=True), before=before)
    seen = cleaner(PRESSURE).verify(BUILD_1, record)
    assert isinstance(seen, Unverified)
    assert (seen.why, seen.evidence["disk_percent"], seen.evidence["bytes"]) == (why, 85, 4)
    assert isinstance(cleaner().verify(BUILD_1, record), Verified), "a sweep is not asked to free the disk"
    assert isinstance(cleaner(PRESSURE, disk_high=None, disk_low=None).verify(BUILD_1, record), Verified)
    host.disks = [Disk(1000, 160)]
    assert isinstance(cleaner(PRESSURE).verify(BUILD_1, record), Verified), "it is below the high mark"


def test_what_a_plan_under_pressure_leaves_for_later_is_counted(host: FakeHost) -> None:
    host.disks = [FULL]
    host.dangling = [image(number, 5000 + number) for number in range(1, 4)]
    host.unique = {identity(number): 1 for number in range(1, 4)}
    host.leftovers = EVERYTHING
    settings = {"exited_containers_age": HOUR, "unused_volumes_age": HOUR}
    assert drafted(host, PRESSURE, **settings).before["later"] == 1, "the volume, which a person must allow"
    assert drafted(host, PRESSURE, limit=2, **settings).before["later"] == 3


def test_a_full_disk_from_which_nothing_may_go_is_told(host: FakeHost) -> None:
    host.disks = [FULL]
    draft = drafted(host, PRESSURE)
    assert draft.stages == ()
    assert draft.why == "the disk is 90 % full, and nothing may be removed by policy: no image dangles"


def test_without_marks_pressure_takes_all_that_is_old_and_reads_no_disk(host: FakeHost) -> None:
    host.disks = []
    host.dangling = [image(1, 9000), image(2, 9001), image(3, 1)]
    toil = cleaner(PRESSURE, disk_high=None, disk_low=None)
    draft = toil.plan(BUILD_1)
    assert isinstance(draft, Draft)
    assert objects(draft) == [[identity(2), identity(1)]]
    assert isinstance(toil.apply(draft.stages[0][0], BUILD_1), Done)


def test_a_lost_answer_before_a_stop_at_the_low_mark_is_no_failure(host: FakeHost) -> None:
    host.disks = [Disk(1000, 300)]
    host.dangling, host.present = [image(1, 4000)], frozenset({identity(1)})
    assert isinstance(cleaner(PRESSURE).verify(BUILD_1, done(ACTIONS[0])), Verified)
    assert isinstance(cleaner(PRESSURE).verify(BUILD_1, done(ACTIONS[0], bytes=1)), Unverified)
