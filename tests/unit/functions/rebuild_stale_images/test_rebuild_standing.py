"""Which image stands on which, and in which order they are rebuilt: for pictures of ours, and for random ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from functions.rebuild_stale_images.standing import (
    Image,
    Layers,
    Standing,
    depth,
    findings,
    in_order,
    is_frozen,
    standings,
    stands_on,
    version,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MONTH = timedelta(days=30)


def image(name: str, layers: str, earlier: tuple[str, ...] = (), own_base: bool = False, base: str = "") -> Image:
    """An image whose layers are letters; a name without a registry lies in `r`."""
    full = name if "/" in name else f"r/{name}:latest"
    return Image(
        name=full,
        digest=f"sha256:{layers}",
        layers=(tuple(layers),),
        digests=frozenset({f"sha256:{layers}"}),
        base_name=base,
        earlier=frozenset(version(tuple(one)) for one in earlier),
        own_base=own_base,
    )


def pictured(*images: Image) -> dict[str, Image]:
    return {one.name: one for one in images}


def found(*images: Image, told: dict[str, str] | None = None) -> tuple[tuple[str, ...], ...]:
    """The stages, with bare names; all images but bases are ours."""
    ours = [one.name for one in images if not one.own_base]
    stages = findings(pictured(*images), told or {}, ours, NOW, MONTH).stages
    return tuple(tuple(name.partition("/")[2].partition(":")[0] for name in stage) for stage in stages)


def test_what_stood_on_the_old_base_is_stale_and_what_stands_on_that_comes_later() -> None:
    base = image("base", "N", earlier=("O",), own_base=True)
    assert found(base, image("app", "OA"), image("web", "OAW"), image("other", "X")) == (("app",), ("web",))


def test_the_longest_beginning_is_the_base() -> None:
    base = image("base", "B", own_base=True)
    seen = standings(pictured(base, image("app", "BA"), image("web", "BAW")), {})
    assert seen["r/web:latest"] == Standing("r/app:latest", False)


def test_one_that_was_rebuilt_by_somebody_else_is_left_alone_with_what_stands_on_it() -> None:
    base = image("base", "N", earlier=("O",), own_base=True)
    assert found(base, image("app", "NA", earlier=("OA",)), image("web", "NAW")) == ()
    assert found(base, image("app", "NA", earlier=("OA",)), image("web", "OAW")) == (("web",),)


def test_a_base_that_became_shorter_is_another_one() -> None:
    base = image("base", "N", earlier=("NO",), own_base=True)
    assert found(base, image("app", "NOA")) == (("app",),)


def test_an_image_on_several_platforms_is_stale_if_one_of_them_is() -> None:
    base = Image("r/base:latest", "d", (("N",), ("M",)), earlier=frozenset({version(("O",))}), own_base=True)
    app = Image("r/app:latest", "e", (("N", "A"), ("O", "A")))
    assert found(base, app) == (("app",),)
    assert found(base, Image("r/app:latest", "e", (("N", "A"), ("M", "A")))) == ()


def test_a_name_counts_where_the_layers_say_nothing() -> None:
    base = image("base", "N", own_base=True)
    assert found(base, image("app", "OA")) == ()
    assert found(base, image("app", "OA", base=base.name)) == (("app",),)
    assert found(base, image("app", "OA"), told={"r/app:latest": base.name}) == (("app",),)
    assert found(base, image("app", "NA", base=base.name)) == ()
    assert found(base, image("app", "OA", base="elsewhere/base:latest")) == ()


def test_an_inherited_label_does_not_hide_the_image_between() -> None:
    base = image("base", "N", own_base=True)
    images = (base, image("app", "OA", base=base.name), image("web", "OAW", base=base.name))
    assert found(*images) == (("app",), ("web",))


def test_a_name_counts_more_than_what_that_base_stands_on() -> None:
    distribution = image("debian", "D", own_base=True)
    base = image("base", "DN", own_base=True)
    assert found(distribution, base, image("app", "DOA", base=base.name)) == (("app",),)


def test_a_digest_that_an_annotation_tells_is_enough() -> None:
    base = image("base", "N", own_base=True)
    app = Image("r/app:latest", "e", (("X",),), base_name=base.name, base_digest=base.digest)
    assert stands_on(app, base)
    assert found(base, app) == ()


def test_those_that_name_each_other_are_not_built_nor_what_stands_on_them() -> None:
    images = pictured(
        image("a", "X", base="r/b:latest"), image("b", "Y", base="r/a:latest"), image("c", "Z", base="r/b:latest")
    )
    seen = findings(images, {}, list(images), NOW, MONTH)
    assert seen.stages == ()
    assert seen.circular == ("r/a:latest", "r/b:latest", "r/c:latest")


def test_tags_of_one_repository_are_no_bases_of_each_other() -> None:
    base = image("base", "N", earlier=("O",), own_base=True)
    assert found(base, image("r/app:latest", "OA"), image("r/app:v1", "OA")) == (("app", "app"),)


def test_an_old_upgrade_counts_if_it_is_the_images_own() -> None:
    base = image("base", "BC", own_base=True)
    old, young = NOW - timedelta(days=31), NOW - timedelta(days=29)
    own = Image("r/app:latest", "e", (("B", "C", "U"),), upgraded=((2, old),))
    bases = Image("r/app:latest", "e", (("B", "C", "U"),), upgraded=((1, old),))
    fresh = Image("r/app:latest", "e", (("B", "C", "U"),), upgraded=((2, young),))
    assert [is_frozen(one, base, NOW, MONTH) for one in (own, bases, fresh)] == [True, False, False]
    assert is_frozen(bases, None, NOW, MONTH)
    assert found(base, own) == (("app",),)
    assert found(base, bases) == ()


def test_an_image_without_layers_is_no_base() -> None:
    empty = Image("r/base:latest", "d", ((),), own_base=True)
    assert depth(image("app", "A"), empty.now) == 0
    assert found(empty, image("app", "A")) == ()


NAMES = st.integers(0, 9).map(str)


@given(st.dictionaries(NAMES, NAMES), st.sets(NAMES))
def test_each_comes_once_after_its_base_and_only_circles_are_left(bases: dict[str, str], wanted: set[str]) -> None:
    stages, circular = in_order(wanted, bases)
    order = [name for stage in stages for name in stage]
    assert sorted(order + list(circular)) == sorted(wanted)
    place = {name: number for number, stage in enumerate(stages) for name in stage}
    for name in order:
        below = bases.get(name)
        assert below not in wanted or place[below] < place[name]
    for name in circular:
        seen, at = {name}, bases[name]
        while at not in seen:  # going down from it never leaves what waits
            assert at in circular
            seen.add(at)
            at = bases[at]


STACKS = st.lists(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=4).map("".join), min_size=1, max_size=7)


@given(STACKS, st.lists(st.integers(0, 6), max_size=7), st.lists(STACKS, max_size=7))
def test_whatever_registries_hold_it_ends_and_nothing_is_built_that_is_not_ours(
    stacks: list[str], named: list[int], before: list[list[str]]
) -> None:
    images = {}
    for number, layers in enumerate(stacks):
        base = f"r/i{named[number]}:latest" if number < len(named) else ""
        earlier = tuple(before[number]) if number < len(before) else ()
        one = image(f"i{number}", layers, earlier=earlier, own_base=number % 3 == 0, base=base)
        images[one.name] = one
    ours = {name for number, name in enumerate(images) if number % 2}
    seen = findings(images, {}, ours, NOW, MONTH)
    order = [name for stage in seen.stages for name in stage]
    assert set(order) <= ours
    for name in order:
        standing = seen.standing[name]
        assert standing.base != name
        assert standing.stale or standing.base in order[: order.index(name)]


@given(st.lists(st.sampled_from("ABC"), max_size=6).map(tuple), st.integers(0, 6))
def test_an_image_stands_on_each_beginning_of_its_layers(layers: Layers, length: int) -> None:
    one = Image("r/a:latest", "d", (layers,))
    below = layers[:length]
    assert depth(one, frozenset({version(below)})) == len(below)
