"""Server-side apply: owned fields, conflicts, force, rehearsal."""

import copy

import pytest
from kubernetes import dynamic

from tests.real.cluster.refusals import refusal
from tests.real.cluster.test_cluster_patches import DEPLOYMENT

APPLY = "application/apply-patch+yaml"


@pytest.fixture
def apply_map(core, namespace):
    def apply(data, manager="one", **options):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}
        return core.patch_namespaced_config_map(
            "m", namespace, body, field_manager=manager, _content_type=APPLY, **options
        )

    return apply


@pytest.fixture
def apply_deployment(apps, namespace):
    def apply(change=lambda body: None, manager="one", **options):
        body = copy.deepcopy(DEPLOYMENT)
        change(body)
        return apps.patch_namespaced_deployment(
            "d", namespace, body, field_manager=manager, _content_type=APPLY, **options
        )

    return apply


def owners(item):
    return [(held.manager, held.operation) for held in item.metadata.managed_fields]


def test_applying_creates_and_owns(apply_map):
    made = apply_map({"a": "1", "b": "2"})
    assert owners(made) == [("one", "Apply")]
    assert made.metadata.managed_fields[0].fields_v1 == {"f:data": {"f:a": {}, "f:b": {}}}


def test_applying_the_same_again_changes_nothing(apply_map, apply_deployment):
    for apply in (lambda: apply_map({"a": "1"}), apply_deployment):
        assert apply().metadata.resource_version == apply().metadata.resource_version


def test_another_managers_field_is_a_conflict(apply_map):
    apply_map({"a": "1", "b": "2"})
    with refusal(409, "Conflict") as error:
        apply_map({"a": "9", "b": "2"}, "two")
    cause = error.details["causes"][0]
    assert (cause["reason"], cause["field"], '"one"' in cause["message"]) == ("FieldManagerConflict", ".data.a", True)


def test_the_same_value_is_shared(apply_map):
    apply_map({"a": "1"})
    assert owners(apply_map({"a": "1"}, "two")) == [("one", "Apply"), ("two", "Apply")]


def test_force_takes_the_field_over(apply_map):
    apply_map({"a": "1", "b": "2"})
    taken = apply_map({"a": "9"}, "two", force=True)
    assert taken.data == {"a": "9", "b": "2"}
    entries = {held.manager: held.fields_v1 for held in taken.metadata.managed_fields}
    assert entries == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_a_field_that_is_left_out_goes_unless_another_owns_it(apply_map):
    apply_map({"a": "1", "b": "2", "c": "3"})
    apply_map({"b": "2"}, "two")
    assert apply_map({"a": "1"}).data == {"a": "1", "b": "2"}


def test_a_rehearsal_leaves_nothing(core, namespace, apply_map):
    assert apply_map({"z": "1"}, dry_run="All").data == {"z": "1"}
    with refusal(404, "NotFound"):
        core.read_namespaced_config_map("m", namespace)


def test_a_hand_edited_field_is_a_conflict_with_its_path(apps, namespace, apply_deployment):
    apply_deployment()
    body = {"spec": {"replicas": 7, "template": {"spec": {"containers": [{"name": "c", "image": "img:7"}]}}}}
    apps.patch_namespaced_deployment("d", namespace, body, field_manager="by-hand")
    with refusal(409, "Conflict") as error:
        apply_deployment()
    found = {cause["field"] for cause in error.details["causes"]}
    assert found == {".spec.replicas", '.spec.template.spec.containers[name="c"].image'}
    assert all('"by-hand"' in cause["message"] for cause in error.details["causes"])


def test_a_forced_rehearsal_shows_what_drifted(apps, namespace, apply_deployment):
    apply_deployment()
    apps.patch_namespaced_deployment("d", namespace, {"spec": {"replicas": 7}}, field_manager="by-hand")
    wanted = apply_deployment(force=True, dry_run="All")
    live = apps.read_namespaced_deployment("d", namespace)
    assert (wanted.spec.replicas, live.spec.replicas) == (2, 7)
    assert wanted.spec.template.to_dict() == live.spec.template.to_dict()


def test_an_element_of_a_list_goes_with_its_owner(apply_deployment):
    def second(body):
        body["spec"]["template"]["spec"]["containers"].append({"name": "d", "image": "img:2"})

    apply_deployment(second)
    assert [held.name for held in apply_deployment().spec.template.spec.containers] == ["c"]


def test_a_wrong_type_is_a_500_without_a_reason(apply_deployment):
    def wrong(body):
        body["spec"]["replicas"] = "two"

    with refusal(500, ""):
        apply_deployment(wrong)


def test_the_dynamic_client_applies(api, namespace):
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"z": "1"}}
    applied = maps.server_side_apply(body, namespace=namespace, field_manager="dynamic")
    assert applied.data.z == "1"
