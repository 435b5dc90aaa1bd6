"""Random registries: whatever refers to what, nothing that anything needs is ever among those that go.

First for the decision alone, then for what is really left in each system that runs registries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.clean_registry import survey
from functions.clean_registry.app import CleanRegistry, Settings
from functions.clean_registry.graph import Node, below, freed, kept, stages, taken
from paydown.clients.docker import Image, Listing
from paydown.clients.registry_content import digest_of
from paydown.events import Sweep
from paydown.inventory import Inventory
from paydown.plan import Done, Draft, NotYet, Plan, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.properties.repositories import OLD, Content, Place, Pushed, contents, place

Repository = tuple[dict[str, Node], set[str], set[str], set[str]]


@st.composite
def repositories(draw: st.DrawFn) -> Repository:
    """Manifests, what is tagged, what is used (manifests, configurations, and strangers), and what is young.

    A manifest refers to earlier ones only, as digests do; some of what it lists is not there.
    """
    count = draw(st.integers(1, 14))
    names = [f"m{number}" for number in range(count)]
    nodes: dict[str, Node] = {}
    for number, name in enumerate(names):
        others = st.sampled_from([*names[:number], "absent"])
        layers = draw(st.lists(st.integers(0, 9), max_size=3))
        nodes[name] = Node(
            digest=name,
            children=tuple(draw(st.lists(others, max_size=3, unique=True))),
            subject=draw(st.none() | others),
            config=draw(st.none() | st.integers(0, 5).map("c{}".format)),
            blobs={f"b{layer}": layer + 1 for layer in layers},
            size=1,
            tagged_for=tuple(draw(st.lists(others, max_size=2, unique=True))),
        )
    gone = draw(st.sets(st.sampled_from(names), max_size=2))
    for name in gone:
        del nodes[name]
    some = st.sets(st.sampled_from(names), max_size=4)
    used = draw(st.sets(st.sampled_from([*names, "c0", "c1", "elsewhere"]), max_size=3))
    return nodes, draw(some), used, draw(some)


def needs(nodes: dict[str, Node], roots: Iterable[str]) -> set[str]:
    """What the specification says that these need: children of children, and subjects of what is attached."""
    found = {one for one in roots if one in nodes}
    while True:
        more = {child for one in found for child in nodes[one].children if child in nodes}
        more |= {subject for one in found if (subject := nodes[one].subject) and subject in nodes}
        if more <= found:
            return found
        found |= more


def listed(nodes: dict[str, Node], digest: str) -> set[str]:
    """What an index lists, itself or by another index, there or not."""
    children = set(nodes[digest].children) if digest in nodes else set()
    return children.union(*(listed(nodes, child) for child in children))


@given(repositories())
def test_what_is_needed_never_goes(repository: Repository) -> None:
    nodes, tagged, used, young = repository
    stay = kept(nodes, tagged=tagged, used=used, young=young)
    going = nodes.keys() - stay
    running = {one.digest for one in nodes.values() if one.digest in used or one.config in used}
    assert not going & needs(nodes, tagged | young | running)
    for digest in stay:
        one = nodes[digest]
        assert not going & {*one.children, one.subject}, "what stays refers to nothing that goes"
    for digest in going:
        assert nodes[digest].subject not in stay, "nothing is taken from what stays: its signatures stay with it"
        assert not stay & set(nodes[digest].tagged_for), "also where only a tag says so"
        assert digest not in used
        assert not listed(nodes, digest) & (running | used), "an index of something that is in use"


@given(repositories())
def test_all_that_goes_is_needed_by_nobody_and_nothing_else_stays(repository: Repository) -> None:
    nodes, _, _, _ = repository
    assert kept(nodes, tagged=set(), used=set(), young=set()) == set()
    assert kept(nodes, tagged=set(nodes), used=set(), young=set()) == set(nodes)


@given(repositories())
def test_more_reasons_never_let_more_go(repository: Repository) -> None:
    nodes, tagged, used, young = repository
    stay = kept(nodes, tagged=tagged, used=used, young=young)
    assert kept(nodes, tagged=tagged, used=set(), young=young) <= stay
    assert kept(nodes, tagged=set(), used=used, young=young) <= stay
    assert kept(nodes, tagged=tagged, used=used, young=set()) <= stay


@given(repositories(), st.integers(0, 14))
def test_an_interruption_leaves_nothing_broken(repository: Repository, interrupted: int) -> None:
    """Whatever number of deletions was done in the order of the stages, what is left refers to what is left."""
    nodes, tagged, used, young = repository
    going = nodes.keys() - kept(nodes, tagged=tagged, used=used, young=young)
    order = [digest for stage in stages(nodes, going) for digest in stage]
    assert sorted(order) == sorted(going)
    done = set(order[:interrupted])
    for digest in nodes.keys() - done:
        assert not done & {*nodes[digest].children, nodes[digest].subject}


@given(repositories())
def test_where_children_go_with_their_index_none_that_stays_goes(repository: Repository) -> None:
    nodes, tagged, used, young = repository
    without = kept(nodes, tagged=tagged, used=used, young=young)
    stay = kept(nodes, tagged=tagged, used=used, young=young, cascades=True)
    assert without <= stay
    going = nodes.keys() - stay
    for digest in going:
        for child in nodes[digest].children:
            safe = child in tagged or any(child in nodes[other].children for other in stay)
            assert child not in stay or safe, "its index goes, and nothing that the registry knows holds it"
    done: set[str] = set()
    for digest in (digest for stage in stages(nodes, going) for digest in stage):
        done |= {digest}
        along = taken(nodes, going, done)
        assert along <= going
        assert along - done <= set().union(*(below(nodes, going, one) for one in done))
        done |= along
    assert done == going


@given(repositories())
def test_no_blob_that_somebody_names_is_counted_as_freed(repository: Repository) -> None:
    nodes, tagged, used, young = repository
    stay = kept(nodes, tagged=tagged, used=used, young=young)
    gone = freed(nodes, nodes.keys() - stay)
    held = {blob for digest in stay for blob in nodes[digest].blobs}
    assert not held & gone.keys()
    everything = {blob for one in nodes.values() for blob in one.blobs}
    assert everything <= held | gone.keys()


@pytest.fixture(scope="module", params=["distribution", "ecr", "harbor"])
def somewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("storage")
    with place(request.param, folder) as found:
        yield found


def as_specified(pushed: Pushed, at: Place) -> Node:
    """What a manifest names, read without the code under test."""
    document = pushed.manifest.document
    blobs = [*document.get("layers", ()), *([document["config"]] if "config" in document else ())]
    return Node(
        digest=pushed.manifest.digest,
        children=tuple(one["digest"] for one in document.get("manifests", ())),
        subject=document.get("subject", {}).get("digest"),
        config=document.get("config", {}).get("digest"),
        blobs={one["digest"]: one["size"] for one in blobs},
        size=len(pushed.manifest.raw),
        tagged_for=pushed.about if at.attaches_by_tag else (),
    )


class Cluster:
    """What it is asked for: the names of images."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names

    def images(self) -> Iterable[str]:
        return self._names


class Engine:
    """A Docker host with stopped containers: of images that it has by a name, by digest, or by nothing but an id."""

    def __init__(self, digests: Iterable[str]) -> None:
        at = datetime.now(UTC)
        self._images = tuple(
            Image(digest_of(one.encode()), at, at, 1, digests=(f"mirror.example/app@{one}",)) for one in digests
        )
        self._ids = frozenset({*digests, *(image.id for image in self._images)})

    def list_images(self) -> Listing:
        return Listing(datetime.now(UTC), "overlay2", "/d", self._images, self._ids, self._ids)


def users(used: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """An inventory in which each of these digests is used in one of the ways that there are."""
    ways: list[list[str]] = [[], [], [], []]
    for it in used:
        ways[int(it[-4:], 16) % len(ways)].append(it)
    promoted, previous, running, stopped = ways
    names = [f"docker-pullable://mirror.example/app@{one}" for one in running]
    monkeypatch.setattr(survey.kube, "connect", lambda cluster, **_: Cluster(names))
    monkeypatch.setattr(survey, "open_host", lambda host, **_: Engine(stopped))
    return Inventory.parse(
        {
            "promotions": [
                *({"stage": "prod", "repository": "shop/app", "digest": one} for one in promoted),
                *(
                    {"stage": "prod", "repository": "shop/app", "digest": f"sha256:{'e' * 64}", "previous": one}
                    for one in previous
                ),
            ],
            "clusters": [{"uid": "c", "name": "c", "reader_secret": "c", "operator_secret": "c"}] if running else [],
            "hosts": [{"uid": "h", "name": "h", "reach": {"via": "unix", "path": "/d.sock"}}] if stopped else [],
        }
    )


def cleaner(content: Content, monkeypatch: pytest.MonkeyPatch) -> CleanRegistry:
    inventory = users(content.used, monkeypatch)
    now = lambda: datetime.now(UTC)  # noqa: E731 -- as the scene wants it
    event = Sweep(key="s", at=now(), rule="daily")
    settings: Any = Settings(min_age=7 * 86_400)
    return CleanRegistry(Scene("1f0c", event, inventory, Policy(), settings, False, now, print, print))  # type: ignore[arg-type] -- never called here


def cleaned(toil: CleanRegistry, at: Place) -> Record:
    draft = toil.plan(at.target)
    assert isinstance(draft, Draft)
    steps: list[Step] = []
    plan = Plan.from_draft(draft)
    for number, stage in enumerate(plan.stages):
        for first in range(0, len(stage), toil.batch):
            batch = stage[first : first + toil.batch]
            for action, result in zip(batch, toil.apply_batch(batch, at.target), strict=True):  # type: ignore[arg-type] -- deletions, as planned
                assert not isinstance(result, NotYet), result
                done = isinstance(result, Done)
                evidence = result.evidence if isinstance(result, Done) else {}
                steps.append(Step(len(steps), number, action, StepState.DONE if done else StepState.MOOT, evidence))
    return Record(draft.before, steps, datetime.now(UTC))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents())
def test_what_is_left_in_each_system_is_what_is_needed(
    content: Content, somewhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = {it: as_specified(pushed, somewhere) for it, pushed in content.pushed.items()}
    tagged = {it for it, pushed in content.pushed.items() if pushed.tags}
    if not tagged:  # a repository of signatures alone may be about images that are elsewhere
        tagged |= {it for it, one in nodes.items() if set(one.tagged_for) - nodes.keys()}
    young = {it for it, pushed in content.pushed.items() if pushed.days < OLD - 1}
    running = {one.digest for one in nodes.values() if one.digest in content.used or one.config in content.used}
    somewhere.fill(content)
    toil = cleaner(content, monkeypatch)
    record = cleaned(toil, somewhere)
    left = somewhere.left()
    signed_lately = {subject for it in young for subject in nodes[it].tagged_for}
    assert needs(nodes, tagged | young | running | signed_lately) <= left
    for digest, one in nodes.items():
        assert one.subject not in left or digest in left, "a signature of what is still there"
        assert not left & set(one.tagged_for) or digest in left, "or one that has such a tag"
        assert digest in left or not listed(nodes, digest) & (running | content.used)
    gone = nodes.keys() - left
    seen = toil.verify(somewhere.target, record)
    assert isinstance(seen, Verified), seen
    assert seen.saved["manifests"] == len(gone)
    held = {blob for digest in left for blob in nodes[digest].blobs}
    free = {blob: size for digest in gone for blob, size in nodes[digest].blobs.items() if blob not in held}
    assert seen.saved["bytes"] == sum(free.values()) + sum(nodes[digest].size for digest in gone)
    assert cleaned(cleaner(content, monkeypatch), somewhere).steps == []
    if not young and not content.used and not tagged:
        assert gone == nodes.keys()
