"""Reading and writing objects: what any API server answers."""

import pytest
from kubernetes import client, dynamic

from tests.real.cluster.refusals import refusal


def test_an_object_gets_a_uid_a_version_and_a_time(core, node):
    made = core.read_node(node)
    assert made.metadata.uid
    assert int(made.metadata.resource_version) > 0
    assert made.metadata.creation_timestamp


def test_a_name_is_given_once(core, node):
    with refusal(409, "AlreadyExists"):
        core.create_node({"metadata": {"name": node}})


def test_a_missing_object_is_a_404(core):
    with refusal(404, "NotFound"):
        core.read_node("no-such-node")


def test_deleting_twice_is_a_404(core, node):
    assert core.delete_node_with_http_info(node)[1] == 200
    with refusal(404, "NotFound"):
        core.delete_node(node)


def test_a_list_says_what_it_is(core, node):
    listed = core.list_node()
    assert (listed.kind, listed.api_version) == ("NodeList", "v1")
    assert int(listed.metadata.resource_version) > 0
    assert node in [held.metadata.name for held in listed.items]


def test_a_list_from_version_zero(core, node):
    assert node in [held.metadata.name for held in core.list_node(resource_version="0").items]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", ["a", "b"]),
        ("app==x,tier=front", ["a"]),
        ("app!=x", ["c", "d"]),
        ("app in (x,y),tier", ["a", "c"]),
        ("app notin (x)", ["c", "d"]),
        ("app in (x),!tier", ["b"]),
        ("!app", ["d"]),
    ],
)
def test_label_selectors(core, namespace, selector, names):
    labels = {"a": {"app": "x", "tier": "front"}, "b": {"app": "x"}, "c": {"app": "y", "tier": "back"}, "d": {}}
    for name, given in labels.items():
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name, "labels": given}})
    found = core.list_namespaced_config_map(namespace, label_selector=selector).items
    assert [held.metadata.name for held in found] == names


def test_a_selector_that_nobody_can_read_is_a_400(core, namespace):
    with refusal(400, "BadRequest"):
        core.list_namespaced_config_map(namespace, label_selector="a in x")


def test_field_selectors(core, namespace, node, make_pod):
    make_pod("p1")
    make_pod("p2")
    core.create_namespaced_pod(
        namespace, {"metadata": {"name": "loose"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )

    def names(selector):
        found = core.list_namespaced_pod(namespace, field_selector=selector).items
        return [held.metadata.name for held in found]

    assert names(f"spec.nodeName={node}") == ["p1", "p2"]
    assert names(f"spec.nodeName!={node}") == ["loose"]
    assert names("metadata.name=p1") == ["p1"]
    assert names("status.phase=Running,metadata.name!=p1") == ["p2"]
    everywhere = core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}").items
    assert [held.metadata.name for held in everywhere] == ["p1", "p2"]


def test_a_field_that_is_not_selectable_is_a_400(core, namespace):
    with refusal(400, "BadRequest") as error:
        core.list_namespaced_pod(namespace, field_selector="spec.foo=1")
    assert "field label not supported" in error.message


def test_cordoned_nodes_can_be_selected(core, node):
    core.patch_node(node, {"spec": {"unschedulable": True}})
    found = core.list_node(field_selector="spec.unschedulable=true").items
    assert node in [held.metadata.name for held in found]


def test_a_list_in_pages_shows_one_moment(core, namespace):
    for number in range(5):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"m{number}"}})
    page = core.list_namespaced_config_map(namespace, limit=2)
    names, pages = [held.metadata.name for held in page.items], 1
    assert page.metadata.remaining_item_count == 3
    core.delete_namespaced_config_map("m3", namespace)
    while page.metadata._continue:
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=page.metadata._continue)
        names += [held.metadata.name for held in page.items]
        pages += 1
    assert (names, pages) == (["m0", "m1", "m2", "m3", "m4"], 3)


def test_a_page_token_that_nobody_gave_is_a_400(core, namespace):
    with refusal(400, "BadRequest"):
        core.list_namespaced_config_map(namespace, limit=2, _continue="rubbish")


def test_a_replacement_needs_the_present_version(core, node):
    held = core.read_node(node)
    assert core.replace_node(node, held).metadata.name == node
    core.patch_node(node, {"metadata": {"labels": {"other": "1"}}})
    held.metadata.labels = {"mine": "1"}
    with refusal(409, "Conflict"):
        core.replace_node(node, held)


def test_a_write_that_changes_nothing_keeps_the_version(core, node):
    before = core.read_node(node)
    assert core.replace_node(node, before).metadata.resource_version == before.metadata.resource_version
    patched = core.patch_node(node, {"metadata": {"labels": before.metadata.labels}})
    assert patched.metadata.resource_version == before.metadata.resource_version


def test_a_change_moves_the_version_on(core, node):
    before = int(core.read_node(node).metadata.resource_version)
    after = int(core.patch_node(node, {"metadata": {"labels": {"new": "1"}}}).metadata.resource_version)
    assert after > before


def test_names_can_be_generated(core, namespace):
    body = {"metadata": {"generateName": "gn-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    names = {core.create_namespaced_pod(namespace, body).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("gn-") and len(name) > 3 for name in names)


def test_a_namespace_must_exist(core):
    body = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    with refusal(404, "NotFound"):
        core.create_namespaced_pod("no-such-namespace", body)


def test_a_new_namespace_is_active(core, namespace):
    assert core.read_namespace(namespace).status.phase == "Active"


def test_a_new_pod_is_pending_with_its_defaults(core, namespace):
    body = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Failed"},
    }
    made = core.create_namespaced_pod(namespace, body)
    assert made.status.phase == "Pending"
    assert (made.spec.restart_policy, made.spec.termination_grace_period_seconds) == ("Always", 30)
    assert made.spec.containers[0].image_pull_policy == "Always"
    assert {held.toleration_seconds for held in made.spec.tolerations} == {300}


def test_a_pods_spec_is_fixed_but_for_its_images(core, namespace, make_pod):
    make_pod("p")
    with refusal(422, "Invalid"):
        core.patch_namespaced_pod("p", namespace, {"spec": {"hostNetwork": True}})


def test_a_rehearsed_creation_leaves_nothing(core, namespace):
    body = {"metadata": {"name": "rehearsed"}, "data": {"a": "1"}}
    assert core.create_namespaced_config_map(namespace, body, dry_run="All").data == {"a": "1"}
    with refusal(404, "NotFound"):
        core.read_namespaced_config_map("rehearsed", namespace)


def test_a_bad_name_is_a_422(core):
    with refusal(422, "Invalid") as error:
        core.create_node({"metadata": {"name": "Not_A_Name"}})
    assert error.details["causes"][0]["field"] == "metadata.name"


def test_events_and_leases_are_kept(api, core, namespace, node):
    about = {"kind": "Node", "name": node}
    body = {
        "metadata": {"name": "e"},
        "involvedObject": {**about, "namespace": namespace},
        "reason": "R",
        "type": "Warning",
    }
    core.create_namespaced_event(namespace, body)
    core.create_namespaced_event(namespace, {**body, "metadata": {"name": "f"}, "reason": "S"})
    found = core.list_namespaced_event(namespace, field_selector=f"involvedObject.name={node},reason=S").items
    assert [held.metadata.name for held in found] == ["f"]
    leases = client.CoordinationV1Api(api)
    leases.create_namespaced_lease(namespace, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
    assert leases.read_namespaced_lease("l", namespace).spec.holder_identity == "me"


def test_the_server_names_its_version_and_resources(api):
    assert client.VersionApi(api).get_code().git_version.startswith("v1.")
    found = dynamic.DynamicClient(api).resources
    assert found.get(api_version="apps/v1", kind="Deployment").name == "deployments"
    assert found.get(api_version="v1", kind="Node").namespaced is False


def test_a_path_that_nobody_serves_is_a_404(api):
    assert (
        api.call_api(*api.param_serialize("GET", "/apis/no.such.group/v1/things", auth_settings=["BearerToken"])).status
        == 404
    )


def test_collections_are_deleted_by_selector(core, namespace):
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name, "labels": {"app": app}}})
    core.delete_collection_namespaced_config_map(namespace, label_selector="app=x")
    left = core.list_namespaced_config_map(namespace, label_selector="app").items
    assert [held.metadata.name for held in left] == ["b"]


def test_a_finalizer_holds_an_object_until_it_is_taken_off(core, namespace):
    body = {"metadata": {"name": "held", "finalizers": ["example.org/hold"]}}
    core.create_namespaced_config_map(namespace, body)
    core.delete_namespaced_config_map("held", namespace)
    assert core.read_namespaced_config_map("held", namespace).metadata.deletion_timestamp
    core.patch_namespaced_config_map("held", namespace, {"metadata": {"finalizers": None}})
    with refusal(404, "NotFound"):
        core.read_namespaced_config_map("held", namespace)
