import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.cluster import patches
from local.cluster.failures import ApiError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # the examples of RFC 7386
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, expected):
    before = copy.deepcopy(target)
    assert patches.merge_patch(target, patch) == expected
    assert target == before


@given(JSON, JSON)
def test_a_merge_patch_is_idempotent(target, patch):
    once = patches.merge_patch(target, patch)
    assert patches.merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a", "value": 1}], {"a": 1, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/1", "value": 9}], {"l": [1, 9, 2]}),
        ([{"op": "add", "path": "/l/-", "value": 9}], {"l": [1, 2, 9]}),
        ([{"op": "remove", "path": "/l/0"}], {"l": [2]}),
        ([{"op": "replace", "path": "/l/0", "value": 5}], {"l": [5, 2]}),
        ([{"op": "move", "from": "/l", "path": "/m"}], {"m": [1, 2]}),
        ([{"op": "copy", "from": "/l/0", "path": "/m"}], {"l": [1, 2], "m": 1}),
        ([{"op": "test", "path": "/l", "value": [1, 2]}, {"op": "remove", "path": "/l"}], {}),
        ([{"op": "replace", "path": "", "value": {"x": 1}}], {"x": 1}),
    ],
)
def test_json_patch(operations, expected):
    assert patches.json_patch({"l": [1, 2]}, operations) == expected


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({"op": "add"}, 400),
        ([{"path": "/a"}], 400),
        ([{"op": "grow", "path": "/a"}], 400),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([{"op": "remove", "path": "/none"}], 422),
        ([{"op": "replace", "path": "/none", "value": 1}], 422),
        ([{"op": "add", "path": "/l/7", "value": 1}], 422),
        ([{"op": "add", "path": "/l/0/x", "value": 1}], 422),
        ([{"op": "test", "path": "/l", "value": []}], 422),
    ],
)
def test_refused_json_patches(operations, code):
    document = {"l": [1, 2]}
    with pytest.raises(ApiError) as error:
        patches.json_patch(document, operations)
    assert error.value.code == code
    assert document == {"l": [1, 2]}


CONTAINERS = [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"containers": [{"name": "b", "image": "2"}]}, [CONTAINERS[0], {"name": "b", "image": "2"}]),
        ({"containers": [{"name": "c", "image": "3"}]}, [*CONTAINERS, {"name": "c", "image": "3"}]),
        ({"containers": [{"$patch": "delete", "name": "a"}]}, [CONTAINERS[1]]),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, [{"name": "z"}]),
        (
            {"containers": [{"name": "a", "env": [{"name": "X", "value": None}, {"name": "Y", "value": "2"}]}]},
            [{**CONTAINERS[0], "env": [{"name": "X"}, {"name": "Y", "value": "2"}]}, CONTAINERS[1]],
        ),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, CONTAINERS[::-1]),
        ({"containers": None}, None),
    ],
)
def test_strategic_merge_of_a_keyed_list(patch, expected):
    target = {"containers": copy.deepcopy(CONTAINERS)}
    assert patches.strategic_merge(target, patch).get("containers") == expected
    assert target == {"containers": CONTAINERS}


def test_strategic_merge_of_sets_atomic_lists_and_maps():
    target = {"finalizers": ["a"], "taints": [{"key": "k"}], "strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}
    merged = patches.strategic_merge(
        target,
        {
            "finalizers": ["b"],
            "taints": [{"key": "l"}],
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
        },
    )
    assert merged == {"finalizers": ["a", "b"], "taints": [{"key": "l"}], "strategy": {"type": "Recreate"}}
    assert patches.strategic_merge(merged, {"$deleteFromPrimitiveList/finalizers": ["a"]})["finalizers"] == ["b"]
    assert patches.strategic_merge(merged, {"strategy": {"$patch": "replace", "x": 1}})["strategy"] == {"x": 1}
    assert "strategy" not in patches.strategic_merge(merged, {"strategy": {"$patch": "delete"}})


def test_strategic_merge_needs_the_key_of_an_element():
    with pytest.raises(ApiError, match="merge key: name"):
        patches.strategic_merge({"containers": CONTAINERS}, {"containers": [{"image": "2"}]})
