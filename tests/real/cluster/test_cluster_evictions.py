"""Evictions and deletions of pods. Nothing acts by itself here, so the tests process the budgets themselves."""

import pytest

from tests.real.cluster.refusals import refusal

OTHER_UID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def budget(policy, namespace):
    """Makes a budget for app=x, processed so that it allows `allowed` disruptions (None: not processed)."""

    def make(name="b", allowed=0, healthy=2, desired=2, **spec):
        spec = {"selector": {"matchLabels": {"app": "x"}}, "minAvailable": desired, **spec}
        made = policy.create_namespaced_pod_disruption_budget(namespace, {"metadata": {"name": name}, "spec": spec})
        if allowed is not None:
            status = {
                "observedGeneration": made.metadata.generation,
                "disruptionsAllowed": allowed,
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": healthy,
            }
            policy.patch_namespaced_pod_disruption_budget_status(name, namespace, {"status": status})

    return make


@pytest.fixture
def evict(core, namespace):
    def evict(name, uid=None, grace=0, **options):
        how = {"gracePeriodSeconds": grace, **({"preconditions": {"uid": uid}} if uid else {})}
        body = {"metadata": {"name": name, "namespace": namespace}, "deleteOptions": how}
        return core.create_namespaced_pod_eviction_with_http_info(name, namespace, body, **options)[1]

    return evict


def present(core, namespace):
    return [held.metadata.name for held in core.list_namespaced_pod(namespace).items]


def test_a_pod_without_a_budget_goes(core, namespace, make_pod, evict):
    make_pod("p")
    assert evict("p") == 201
    assert present(core, namespace) == []


def test_a_budget_that_allows_nothing_is_a_429(core, namespace, make_pod, budget, evict):
    make_pod("p", {"app": "x"})
    budget()
    with refusal(429, "TooManyRequests") as error:
        evict("p")
    assert [cause["reason"] for cause in error.details["causes"]] == ["DisruptionBudget"]
    assert "retry-after" not in error.headers
    assert present(core, namespace) == ["p"]


def test_a_budget_that_nobody_processed_yet_says_when_to_come_back(make_pod, budget, evict):
    make_pod("p", {"app": "x"})
    budget(allowed=None)
    with refusal(429, "TooManyRequests") as error:
        evict("p")
    assert error.headers["retry-after"] == "10"


def test_a_budget_counts_down(core, policy, namespace, make_pod, budget, evict):
    make_pod("p", {"app": "x"})
    make_pod("q", {"app": "x"})
    budget(allowed=1, healthy=2, desired=1)
    assert evict("p") == 201
    held = policy.read_namespaced_pod_disruption_budget("b", namespace).status
    assert (held.disruptions_allowed, list(held.disrupted_pods)) == (0, ["p"])
    with refusal(429, "TooManyRequests"):
        evict("q")


def test_two_budgets_are_a_500(make_pod, budget, evict):
    make_pod("p", {"app": "x"})
    budget("b1", allowed=1)
    budget("b2", allowed=1)
    with refusal(500, "") as error:
        evict("p")
    assert "more than one PodDisruptionBudget" in error.message


def test_a_pod_that_does_not_serve_may_go_when_the_policy_says_so(core, namespace, make_pod, budget, evict):
    make_pod("p", {"app": "x"}, ready=False)
    budget(healthy=0, unhealthyPodEvictionPolicy="AlwaysAllow")
    assert evict("p") == 201


@pytest.mark.parametrize(("healthy", "code"), [(2, 201), (1, 429)])
def test_by_default_it_may_go_when_the_budget_is_met_without_it(make_pod, budget, evict, healthy, code):
    make_pod("p", {"app": "x"}, ready=False)
    budget(healthy=healthy, desired=2)
    if code == 201:
        assert evict("p") == code
    else:
        with refusal(code, "TooManyRequests"):
            evict("p")


def test_a_pending_pod_needs_no_budget(core, namespace, budget, evict):
    containers = [{"name": "c", "image": "i"}]
    core.create_namespaced_pod(
        namespace, {"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": {"containers": containers}}
    )
    budget()
    assert evict("p") == 201


def test_a_rehearsed_eviction_leaves_the_pod(core, namespace, make_pod, evict):
    make_pod("p")
    assert evict("p", dry_run="All") == 201
    assert present(core, namespace) == ["p"]


def test_a_missing_pod_is_a_404(evict):
    with refusal(404, "NotFound"):
        evict("nope")


def test_another_uid_is_a_409(core, namespace, make_pod, evict):
    made = make_pod("p")
    with refusal(409, "Conflict"):
        evict("p", uid=OTHER_UID)
    assert present(core, namespace) == ["p"]
    assert evict("p", uid=made.metadata.uid) == 201


def test_deleting_another_uid_is_a_409(core, namespace, make_pod):
    make_pod("p")
    with refusal(409, "Conflict"):
        core.delete_namespaced_pod("p", namespace, body={"preconditions": {"uid": OTHER_UID}, "gracePeriodSeconds": 0})
    assert present(core, namespace) == ["p"]


def test_a_pod_on_a_node_waits_for_its_kubelet(core, namespace, make_pod, evict):
    make_pod("p")
    assert evict("p", grace=30) == 201
    left = core.read_namespaced_pod("p", namespace).metadata
    assert left.deletion_timestamp
    assert left.deletion_grace_period_seconds == 30
    core.delete_namespaced_pod("p", namespace, grace_period_seconds=0)
    assert present(core, namespace) == []


def test_a_pod_without_a_node_goes_at_once(core, namespace):
    core.create_namespaced_pod(
        namespace, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    assert core.delete_namespaced_pod("p", namespace).metadata.name == "p"
    assert present(core, namespace) == []


def test_pods_are_deleted_by_selector(core, namespace, make_pod):
    for name, app in (("p", "x"), ("q", "y"), ("r", "x")):
        make_pod(name, {"app": app})
    core.delete_collection_namespaced_pod(namespace, label_selector="app=x", grace_period_seconds=0)
    assert present(core, namespace) == ["q"]


def test_a_mirror_pod_is_evicted_like_any_other(core, namespace, node, evict):
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node,
        "uid": core.read_node(node).metadata.uid,
        "controller": True,
    }
    annotations = {"kubernetes.io/config.mirror": "abc"}
    metadata = {"name": "m", "annotations": annotations, "ownerReferences": [owner]}
    core.create_namespaced_pod(
        namespace, {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}
    )
    assert evict("m") == 201
