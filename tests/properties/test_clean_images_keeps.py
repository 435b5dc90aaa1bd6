"""What must stay on a host stays, whatever the host holds and whatever the policy says."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.clean_dangling_images import app
from functions.clean_dangling_images.app import CleanDanglingImages, Settings
from functions.clean_dangling_images.choosing import repository
from paydown.clients.docker import Disk, Image, Kind, Leftover, Listing, Stock
from paydown.clients.docker_hosts.leftovers import stock as read_stock
from paydown.events import DiskPressure, Sweep
from paydown.inventory import Host, Inventory, Unix
from paydown.plan import Draft, Hazard, Plan
from paydown.policy import Policy
from paydown.toil import Scene

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOST = Host(uid="h", name="build-1", reach=Unix(via="unix", path="/d.sock"))
AGES = st.integers(0, 20)
NAMES = [*(f"app:{tag}" for tag in range(8)), "host:5000/team/app:1", "host:5000/team/app:2", "base:1"]
KEEP = {"paydown.keep": ""}


def text(seconds: int) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def labels() -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from([{}, {}, {"team": "a"}, KEEP])


@st.composite
def hosts(draw: st.DrawFn) -> tuple[Listing, Stock]:
    """An engine's words about images, some with parents; containers in every state; volumes; and cache in chains."""
    count = draw(st.integers(0, 6))
    names = draw(st.permutations(NAMES))
    images: list[dict[str, Any]] = []
    for number in range(count):
        tags = [names.pop() for _ in range(draw(st.sampled_from([0, 1, 1, 2]))) if names]
        images.append(
            {
                "Id": f"sha256:{number:064x}",
                "Parent": draw(st.sampled_from(["", "", "", "", *(one["Id"] for one in images)])),
                "Created": text(draw(AGES)),
                "Size": 10,
                "RepoTags": tags,
                "RepoDigests": draw(st.sampled_from([[], ["app@sha256:" + "1" * 64]])),
                "Metadata": {"LastTagTime": draw(st.sampled_from(["0001-01-01T00:00:00Z", text(draw(AGES))]))},
                "Labels": draw(labels()),
            }
        )
    containers = [
        {
            "Id": f"{number:064x}",
            "Image": draw(st.sampled_from(images))["Id"],
            "State": {
                "Status": draw(st.sampled_from(["exited", "running", "created", "paused", "dead"])),
                "FinishedAt": text(draw(AGES)),
            },
            "HostConfig": {
                "RestartPolicy": {"Name": draw(st.sampled_from(["no", "", "always", "on-failure"]))},
                "AutoRemove": draw(st.booleans()),
            },
            "Config": {"Labels": draw(labels())},
            "Mounts": draw(st.sampled_from([[], [{"Name": "v0"}], [{"Name": "v1"}, {"Source": "/etc"}]])),
        }
        for number in range(draw(st.integers(0, 4)) if images else 0)
    ]
    volumes = [
        {"Name": f"v{number}", "CreatedAt": text(draw(AGES)), "Driver": draw(st.sampled_from(["local", "nfs"]))}
        for number in range(draw(st.integers(0, 3)))
    ]
    cache: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 6))):
        cache.append(
            {
                "ID": f"c{number}",
                "Parents": draw(st.lists(st.sampled_from([one["ID"] for one in cache]), unique=True)) if cache else [],
                "InUse": draw(st.sampled_from([False, False, True])),
                "Shared": draw(st.sampled_from([False, False, True])),
                "Size": draw(st.integers(0, 50)),
                "CreatedAt": text(20),
                "LastUsedAt": draw(st.sampled_from([None, text(draw(AGES))])),
            }
        )
    usage = {
        "Images": [{"Id": one["Id"], "Size": 10, "SharedSize": draw(st.integers(0, 10))} for one in images],
        "Volumes": [],
        "BuildCache": cache,
    }
    disk = draw(st.sampled_from([None, *(Disk(100, free) for free in (0, 10, 16, 30, 90))]))
    found = read_stock(
        clock=NOW.isoformat(), images=images, containers=containers, volumes=volumes, usage=usage, disk=disk
    )
    parents = {one["Parent"] for one in images}
    dangling = [
        Image(
            one["Id"],
            NOW - timedelta(seconds=draw(AGES)),
            NOW - timedelta(seconds=draw(AGES)),
            10,
            labels=one["Labels"],
        )
        for one in images
        if not one["RepoTags"] and one["Id"] not in parents
    ]
    used = frozenset(one["Image"] for one in containers)
    present = frozenset(one["Id"] for one in images)
    return Listing(NOW, "overlay2", "/d", tuple(dangling), used, present), found


def policies() -> st.SearchStrategy[Settings]:
    off_or_age = st.none() | AGES
    return st.builds(
        Settings,
        min_age=st.sampled_from([0, 0, 0, 10]),
        limit=st.sampled_from([1, 5, 20]),
        pulled=st.booleans(),
        labels=st.sampled_from([{}, {}, {}, {"team": "a"}]),
        keep_newest=st.sampled_from([None, 1, 1, 2]),
        exited_containers_age=off_or_age,
        unused_volumes_age=off_or_age,
        build_cache_age=off_or_age,
        build_cache_keep_bytes=st.none() | st.integers(0, 100),
    )


class Still:
    """A host that is read only."""

    def __init__(self, listing: Listing, stock: Stock) -> None:
        self.listing, self.stock = listing, stock

    def list_images(self) -> Listing:
        return self.listing

    def list_leftovers(self) -> Stock:
        return self.stock


def planned(host: tuple[Listing, Stock], policy: Settings, pressed: bool) -> Draft | None:
    event = DiskPressure(key="d", at=NOW, host="build-1") if pressed else Sweep(key="s", at=NOW, rule="hourly")
    scene = Scene(
        run_id="1f0c",
        event=event,
        inventory=Inventory(hosts=(HOST,)),
        policy=Policy(),
        settings=policy,
        observing=True,
        now=lambda: NOW,
        nudge=lambda *_: None,
        has_run=lambda *_: False,
    )
    toil = CleanDanglingImages(scene)
    toil._host = lambda target: Still(*host)  # type: ignore[assignment,method-assign,return-value]  # it only reads
    draft = toil.plan(HOST)
    return draft if isinstance(draft, Draft) else None


def of(stock: Stock, kind: Kind) -> dict[str, Leftover]:
    return {one.id: one for one in stock.leftovers if one.kind is kind}


@settings(max_examples=400, deadline=None)
@given(hosts(), policies(), st.booleans())
def test_what_must_stay_stays(host: tuple[Listing, Stock], policy: Settings, pressed: bool) -> None:
    draft = planned(host, policy, pressed)
    if draft is None:
        return
    listing, stock = host
    actions = Plan.from_draft(draft).actions
    gone: dict[type, set[str]] = defaultdict(set)
    for action in actions:
        gone[type(action)].add(action.object)

    images = gone[app.RemoveImage] | gone[app.RemoveOldImage]
    assert not images & listing.used, "an image that a container has, running or stopped"
    tagged = of(stock, Kind.IMAGE)
    assert not gone[app.RemoveImage] & set(tagged)
    for id in gone[app.RemoveOldImage]:
        assert tagged[id].held == ""
        assert "paydown.keep" not in tagged[id].labels
    repositories: dict[str, list[Leftover]] = defaultdict(list)
    for one in tagged.values():
        for name in {repository(name) for name in one.names}:
            repositories[name].append(one)
    for found in repositories.values():
        left = [one for one in found if one.id not in gone[app.RemoveOldImage]]
        assert len(left) >= min(len(found), policy.keep_newest or len(found))
        newest = sorted(found, key=lambda one: one.since, reverse=True)[: policy.keep_newest]
        assert (
            sorted(one.since for one in newest)
            == sorted((one.since for one in left), reverse=True)[: len(newest)][::-1]
        )

    for id in gone[app.RemoveContainer]:
        container = of(stock, Kind.CONTAINER)[id]
        assert container.held == ""
        assert "paydown.keep" not in container.labels
        assert policy.exited_containers_age is not None
        assert NOW - container.since >= timedelta(seconds=policy.exited_containers_age)
    for id in gone[app.RemoveVolume]:
        assert of(stock, Kind.VOLUME)[id].held == ""
        assert policy.unused_volumes_age is not None
    assert len(actions) <= policy.limit
    hazards = {action.hazard for action in actions}
    assert Hazard.DESTRUCTIVE not in hazards or hazards == {Hazard.DESTRUCTIVE}, "no other work waits for a person"


@settings(max_examples=200, deadline=None)
@given(hosts(), policies(), st.booleans())
def test_cache_goes_from_the_top_and_never_below_what_stays(
    host: tuple[Listing, Stock], policy: Settings, pressed: bool
) -> None:
    draft = planned(host, policy, pressed)
    if draft is None:
        return
    left = of(host[1], Kind.CACHE)
    for stage in draft.stages:
        records = [action.object for action in stage if isinstance(action, app.RemoveCacheRecord)]
        for id in records:
            assert left[id].held == ""
            assert not any(id in one.below for one in left.values()), "something stands on it"
        for id in records:
            del left[id]


@settings(max_examples=200, deadline=None)
@given(hosts(), policies())
def test_a_full_disk_gets_what_it_needs_and_not_one_more(host: tuple[Listing, Stock], policy: Settings) -> None:
    _, stock = host
    draft = planned(host, policy, pressed=True)
    if draft is None or stock.disk is None:
        return
    actions = [action for stage in draft.stages for action in stage]
    if stock.disk.percent < policy.disk_high:
        assert actions == []
        return
    sizes = {("image", id): size for id, size in stock.unique.items()}
    sizes |= {(one.kind.value, one.id): one.size for one in stock.leftovers}
    freed = [sizes[_kind(action), action.object] for action in actions]
    need = stock.disk.excess(policy.disk_low)
    assert not freed or sum(freed) - max(freed) < need


def _kind(action: Any) -> str:
    return "image" if isinstance(action, app.RemoveImage) else app.KINDS[type(action)].value
