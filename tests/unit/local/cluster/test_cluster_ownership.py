import pytest

from local.cluster import fields

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "uid": "u", "labels": {"a": "1"}, "finalizers": ["f"]},
    "spec": {"containers": [{"name": "c", "image": "i", "args": ["x"]}], "nodeSelector": {"z": "1"}},
}


def test_owned_fields_leave_out_what_nobody_owns():
    paths = {fields.readable(path) for path in fields.owned(POD)}
    assert paths == {
        ".metadata.labels.a",
        '.metadata.finalizers[="f"]',
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].name',
        '.spec.containers[name="c"].image',
        '.spec.containers[name="c"].args',
        ".spec.nodeSelector",
    }


def test_the_written_form_reads_back():
    paths = set(fields.owned(POD))
    tree = fields.to_tree(paths)
    assert tree["f:spec"]["f:containers"]['k:{"name":"c"}']["."] == {}
    assert fields.from_tree(tree) == paths


def managers(item):
    return {
        held["manager"]: {fields.readable(path) for path in fields.from_tree(held["fieldsV1"])}
        for held in item["metadata"].get("managedFields", [])
    }


def test_a_changed_field_moves_to_who_changed_it():
    first = {"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}}
    fields.record_update(None, first, "one", "", "t1")
    second = {"metadata": dict(first["metadata"]), "data": {"a": "9", "b": "2"}}
    fields.record_update(first, second, "two", "", "t2")
    assert managers(second) == {"one": {".data.b"}, "two": {".data.a"}}
    third = {"metadata": dict(second["metadata"]), "data": {"b": "2"}}
    fields.record_update(second, third, "one", "", "t3")
    assert managers(third) == {"one": {".data.b"}}


def test_a_write_that_changes_nothing_keeps_every_entry():
    first = {"metadata": {"name": "m"}, "data": {"a": "1"}}
    fields.record_update(None, first, "one", "", "t1")
    again = {"metadata": dict(first["metadata"]), "data": {"a": "1"}}
    fields.record_update(first, again, "two", "", "t2")
    assert again == first


@pytest.mark.parametrize("field", ["selector", "nodeSelector"])
def test_a_selector_is_owned_as_a_whole(field):
    paths = fields.owned({"spec": {field: {"a": "1", "b": "2"}}})
    assert [fields.readable(path) for path in paths] == [f".spec.{field}"]
