"""Random registries: whatever refers to what, nothing that anything needs is ever among those that go."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from functions.clean_registry.graph import Node, freed, kept, stages

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
        )
    gone = draw(st.sets(st.sampled_from(names), max_size=2))
    for name in gone:
        del nodes[name]
    some = st.sets(st.sampled_from(names), max_size=4)
    used = draw(st.sets(st.sampled_from([*names, "c0", "c1", "elsewhere"]), max_size=3))
    return nodes, draw(some), used, draw(some)


def below(nodes: dict[str, Node], roots: Iterable[str]) -> set[str]:
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
    assert not going & below(nodes, tagged | young | running)
    for digest in stay:
        one = nodes[digest]
        assert not going & {*one.children, one.subject}, "what stays refers to nothing that goes"
    for digest in going:
        assert nodes[digest].subject not in stay, "nothing is taken from what stays: its signatures stay with it"
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
def test_no_blob_that_somebody_names_is_counted_as_freed(repository: Repository) -> None:
    nodes, tagged, used, young = repository
    stay = kept(nodes, tagged=tagged, used=used, young=young)
    gone = freed(nodes, nodes.keys() - stay)
    held = {blob for digest in stay for blob in nodes[digest].blobs}
    assert not held & gone.keys()
    everything = {blob for one in nodes.values() for blob in one.blobs}
    assert everything <= held | gone.keys()
