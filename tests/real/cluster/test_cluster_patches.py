"""Patches: the four content types, and what a status write may touch."""

import pytest
from kubernetes import client

from tests.real.cluster.refusals import refusal

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def test_cordoning_is_a_strategic_merge(core, node):
    assert core.patch_node(node, {"spec": {"unschedulable": True}}).spec.unschedulable is True
    assert not core.patch_node(node, {"spec": {"unschedulable": None}}).spec.unschedulable


def test_a_strategic_merge_joins_containers_by_name(core, namespace, make_pod):
    make_pod("p")
    body = {"spec": {"containers": [{"name": "c", "image": "img:9"}]}}
    containers = core.patch_namespaced_pod("p", namespace, body, _content_type=STRATEGIC).spec.containers
    assert {held.name: held.image for held in containers} == {"c": "img:9", "d": "img:2"}


def test_a_strategic_merge_replaces_taints(core, node):
    for key in ("a", "b"):
        body = {"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}}
        taints = core.patch_node(node, body, _content_type=STRATEGIC).spec.taints
        assert [held.key for held in taints] == [key]


def test_a_merge_patch_removes_with_null_and_keeps_the_rest(core, node, mark):
    body = {"metadata": {"labels": {"mark": None, "k": "v"}}}
    labels = core.patch_node(node, body, _content_type=MERGE).metadata.labels
    assert "mark" not in labels
    assert labels["k"] == "v"


def test_a_merge_patch_replaces_lists(core, node):
    body = {"metadata": {"finalizers": ["example.org/a", "example.org/b"]}}
    core.patch_node(node, body, _content_type=MERGE)
    body = {"metadata": {"finalizers": ["example.org/b"]}}
    assert core.patch_node(node, body, _content_type=MERGE).metadata.finalizers == ["example.org/b"]
    core.patch_node(node, {"metadata": {"finalizers": None}}, _content_type=MERGE)


def test_a_json_patch(core, node):
    core.patch_node(node, [{"op": "add", "path": "/metadata/labels/a~1b", "value": "1"}])
    labels = core.patch_node(node, [{"op": "test", "path": "/metadata/labels/a~1b", "value": "1"}]).metadata.labels
    assert labels["a/b"] == "1"
    labels = core.patch_node(node, [{"op": "remove", "path": "/metadata/labels/a~1b"}]).metadata.labels
    assert "a/b" not in labels


def test_a_json_patch_whose_test_fails_is_refused(core, node):
    with refusal(422, "Invalid"):
        core.patch_node(node, [{"op": "test", "path": "/metadata/name", "value": "another"}])


def test_a_patch_may_name_the_version_that_it_means(core, node):
    version = core.read_node(node).metadata.resource_version
    core.patch_node(node, {"metadata": {"resourceVersion": version, "labels": {"q": "1"}}})
    with refusal(409, "Conflict"):
        core.patch_node(node, {"metadata": {"resourceVersion": version, "labels": {"q": "2"}}})


def test_an_unknown_kind_of_patch_is_a_415(api, core, node):
    reply = api.call_api(
        *api.param_serialize(
            "PATCH",
            f"/api/v1/nodes/{node}",
            header_params={"Content-Type": "text/plain"},
            body="{}",
            auth_settings=["BearerToken"],
        )
    )
    assert reply.status == 415


def test_a_status_patch_leaves_the_spec_alone(core, node):
    core.patch_node(node, {"spec": {"unschedulable": True}})
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "m"}
    body = {"spec": {"unschedulable": False}, "status": {"conditions": [condition]}}
    patched = core.patch_node_status(node, body)
    assert patched.spec.unschedulable is True
    assert [(held.type, held.status) for held in patched.status.conditions] == [("Ready", "False")]


def test_conditions_merge_by_type(core, node):
    for kind in ("Ready", "DiskPressure"):
        condition = {"type": kind, "status": "True", "reason": "R", "message": "m"}
        patched = core.patch_node_status(node, {"status": {"conditions": [condition]}})
    assert {held.type for held in patched.status.conditions} == {"Ready", "DiskPressure"}


def test_other_writes_leave_the_status_alone(core, node):
    assert core.read_node(node).status.phase is None
    assert core.patch_node(node, {"status": {"phase": "Pending"}}).status.phase is None


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "img:1"}]},
        },
    },
}


def test_a_new_deployment_has_its_defaults(apps, namespace):
    made = apps.create_namespaced_deployment(namespace, DEPLOYMENT)
    assert made.spec.strategy.type == "RollingUpdate"
    assert (made.spec.revision_history_limit, made.metadata.generation) == (10, 1)
    assert [held.metadata.name for held in apps.list_namespaced_deployment(namespace).items] == ["d"]


def test_scaling_changes_the_replicas_and_the_generation(apps, namespace):
    apps.create_namespaced_deployment(namespace, DEPLOYMENT)
    scaled = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 3}})
    assert (scaled.kind, scaled.spec.replicas) == ("Scale", 3)
    held = apps.read_namespaced_deployment("d", namespace)
    assert (held.spec.replicas, held.metadata.generation) == (3, 2)
    assert apps.read_namespaced_deployment_scale("d", namespace).status.selector == "app=d"


def test_labels_do_not_move_the_generation(apps, namespace):
    apps.create_namespaced_deployment(namespace, DEPLOYMENT)
    patched = apps.patch_namespaced_deployment("d", namespace, {"metadata": {"labels": {"a": "b"}}})
    assert patched.metadata.generation == 1


def test_a_broken_deployment_is_a_422_that_names_every_fault(apps, namespace):
    template = {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": []}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    with refusal(422, "Invalid") as error:
        apps.create_namespaced_deployment(namespace, {"metadata": {"name": "bad"}, "spec": spec})
    faults = {cause["field"] for cause in error.details["causes"]}
    assert faults == {"spec.template.metadata.labels", "spec.template.spec.containers"}


def test_a_selector_is_immutable(apps, namespace):
    apps.create_namespaced_deployment(namespace, DEPLOYMENT)
    with refusal(422, "Invalid"):
        apps.patch_namespaced_deployment("d", namespace, {"spec": {"selector": {"matchLabels": {"x": "y"}}}})


@pytest.mark.parametrize("change", [{"replicas": "two"}, {"template": "none"}])
def test_a_wrong_type_is_a_400(api, namespace, change):
    body = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **change}}
    headers = {"Content-Type": "application/json"}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert (
        api.call_api(
            *api.param_serialize("POST", path, header_params=headers, body=body, auth_settings=["BearerToken"])
        ).status
        == 400
    )


@pytest.mark.parametrize("spec", [{"minAvailable": 1, "maxUnavailable": 1}, {"minAvailable": "many"}])
def test_a_broken_budget_is_a_422(policy: client.PolicyV1Api, namespace, spec):
    with refusal(422, "Invalid"):
        policy.create_namespaced_pod_disruption_budget(namespace, {"metadata": {"name": "b"}, "spec": spec})
