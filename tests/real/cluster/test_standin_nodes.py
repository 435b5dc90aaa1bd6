"""What acts by itself in the stand-in: kubelets, scheduler, controllers; live nodes and dead ones."""

import pytest

from tests.real.cluster.refusals import refusal
from tests.real.cluster.world import is_ready, wait

UNREACHABLE = {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}


def on(pods, node):
    return [pod for pod in pods if pod.spec.node_name == node]


def taints(world, node):
    return {(held.key, held.effect) for held in world.core.read_node(node).spec.taints or []}


def settled(world, app, count):
    """The pods of an app once `count` of them are ready and no other is left."""
    pods = world.pods(app)
    rest = len(pods) == count and all(map(is_ready, pods)) and not any(pod.metadata.deletion_timestamp for pod in pods)
    return pods if rest else None


def test_the_seed_is_ready_when_the_server_answers(world):
    assert {node.metadata.name: world.ready(node.metadata.name) for node in world.core.list_node().items} == {
        "control-plane-1": "True",
        "worker-1": "True",
        "worker-2": "True",
        "worker-3": "True",
    }
    web = world.pods("web")
    assert sorted(pod.spec.node_name for pod in web) == ["worker-1", "worker-1", "worker-2", "worker-3"]
    assert all(map(is_ready, web))
    assert world.policy.read_namespaced_pod_disruption_budget("web", "shop").status.disruptions_allowed == 1
    agents = world.pods("node-agent", "kube-system")
    assert len({pod.spec.node_name for pod in agents}) == 4
    assert world.apps.read_namespaced_deployment("web", "shop").status.available_replicas == 4


def test_an_evicted_pod_is_replaced_on_another_node(world):
    world.core.patch_node("worker-2", {"spec": {"unschedulable": True}})
    pod = on(world.pods("web"), "worker-2")[0]
    world.evict(pod)
    web = wait(lambda: settled(world, "web", 4))
    assert pod.metadata.uid not in {held.metadata.uid for held in web}
    assert not on(web, "worker-2")


def test_a_budget_holds_the_second_eviction_back(world):
    first, second = world.pods("web")[:2]
    nodes = [node.metadata.name for node in world.core.list_node().items]
    for node in nodes:  # so that no successor is Ready before the second is asked for
        world.core.patch_node(node, {"spec": {"unschedulable": True}})
    world.evict(first)
    with refusal(429, "TooManyRequests"):
        world.evict(second)
    for node in nodes:
        world.core.patch_node(node, {"spec": {"unschedulable": False}})
    wait(lambda: settled(world, "web", 4))
    wait(lambda: world.policy.read_namespaced_pod_disruption_budget("web", "shop").status.disruptions_allowed == 1)
    world.evict(second)


def test_daemons_and_mirror_pods_return_to_their_node(world):
    world.core.patch_node("worker-2", {"spec": {"unschedulable": True}})
    agent = on(world.pods("node-agent", "kube-system"), "worker-2")[0]
    mirror = world.core.read_namespaced_pod("node-proxy-worker-2", "kube-system")
    assert "kubernetes.io/config.mirror" in mirror.metadata.annotations
    assert mirror.metadata.owner_references[0].kind == "Node"
    for pod in (agent, mirror):
        world.evict(pod)

    def returned():
        agents = [pod for pod in on(world.pods("node-agent", "kube-system"), "worker-2") if is_ready(pod)]
        mirrors = [pod for pod in world.pods("node-proxy", "kube-system") if is_ready(pod)]
        new = {pod.metadata.uid for pod in agents + mirrors} - {agent.metadata.uid, mirror.metadata.uid}
        return len(new) == 2

    wait(returned)


def test_a_cordoned_node_is_tainted_and_freed_again(world):
    world.core.patch_node("worker-3", {"spec": {"unschedulable": True}})
    wait(lambda: taints(world, "worker-3") == {("node.kubernetes.io/unschedulable", "NoSchedule")})
    world.core.patch_node("worker-3", {"spec": {"unschedulable": None}})
    wait(lambda: not taints(world, "worker-3"))


@pytest.fixture
def dead(world):
    """worker-1, whose kubelet has stopped."""
    assert world.kubelet("worker-1", running=False)["running"] is False
    wait(lambda: world.ready("worker-1") == "Unknown")
    wait(lambda: taints(world, "worker-1") == UNREACHABLE)
    wait(lambda: not any(map(is_ready, on(world.pods("web"), "worker-1"))))
    return "worker-1"


def evict_all(world, node):
    pods = on([*world.pods("web"), *world.pods("cart"), *world.pods("orders-db")], node)
    for pod in pods:
        world.evict(pod)
    return {pod.metadata.uid for pod in pods}


def leaving(world, uids):
    pods = world.core.list_namespaced_pod("shop").items
    return [pod for pod in pods if pod.metadata.uid in uids and pod.metadata.deletion_timestamp]


def test_evicted_pods_stay_on_a_dead_node_and_are_replaced_meanwhile(world, dead):
    uids = evict_all(world, dead)
    assert len(uids) == 3
    wait(lambda: sum(map(is_ready, world.pods("web"))) == 4)
    assert len(leaving(world, uids)) == 3
    assert all(pod.spec.node_name == dead for pod in leaving(world, uids))


def test_they_go_when_the_kubelet_returns(world, dead):
    boot = world.core.read_node(dead).status.node_info.boot_id
    uids = evict_all(world, dead)
    world.kubelet(dead, running=True, rebooted=True)
    wait(lambda: world.ready(dead) == "True")
    wait(lambda: not leaving(world, uids))
    wait(lambda: not taints(world, dead))
    assert world.core.read_node(dead).status.node_info.boot_id != boot


def test_they_go_when_the_node_is_out_of_service(world, dead):
    uids = evict_all(world, dead)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    held = [entry.to_dict() for entry in world.core.read_node(dead).spec.taints]
    world.core.patch_node(dead, {"spec": {"taints": [*held, taint]}})
    wait(lambda: not leaving(world, uids))


def test_they_go_when_the_node_object_is_deleted(world, dead):
    uids = evict_all(world, dead)
    world.core.delete_node(dead)
    wait(lambda: not leaving(world, uids))
    wait(lambda: not on(world.pods("node-agent", "kube-system"), dead))
    with refusal(404, "NotFound"):
        world.core.read_node(dead)
    world.kubelet(dead, running=True)
    wait(lambda: any(node.metadata.name == dead for node in world.core.list_node().items))
    wait(lambda: world.ready(dead) == "True")


def test_they_go_when_they_are_forced_out(world, dead):
    uids = evict_all(world, dead)
    for pod in leaving(world, uids):
        world.core.delete_namespaced_pod(pod.metadata.name, "shop", grace_period_seconds=0)
    assert not leaving(world, uids)


def test_a_stateful_pod_returns_only_when_the_old_one_is_gone(world):
    pod = on(world.pods("orders-db"), "worker-2")[0]
    world.kubelet("worker-2", running=False)
    wait(lambda: world.ready("worker-2") == "Unknown")
    world.evict(pod)
    cart = on(world.pods("cart"), "worker-2")[0]
    world.evict(cart)
    wait(lambda: sum(map(is_ready, world.pods("cart"))) == 2)
    name = pod.metadata.name
    assert world.core.read_namespaced_pod(name, "shop").metadata.uid == pod.metadata.uid
    world.core.delete_namespaced_pod(name, "shop", grace_period_seconds=0)
    again = wait(
        lambda: next((held for held in world.pods("orders-db") if is_ready(held) and held.metadata.name == name), 0)
    )
    assert again.metadata.uid != pod.metadata.uid
    assert again.spec.node_name != "worker-2"


def test_a_kubelet_that_restarts_is_ready_within_a_second(world):
    world.kubelet("worker-3", running=False)
    wait(lambda: world.ready("worker-3") == "Unknown")
    world.kubelet("worker-3", running=True)
    wait(lambda: world.ready("worker-3") == "True", seconds=1.0)
    wait(lambda: all(map(is_ready, on(world.pods("web"), "worker-3"))))


def test_a_machine_that_is_gone_leaves_a_dead_node(world):
    world.admin("DELETE", "nodes/worker-3")
    wait(lambda: world.ready("worker-3") == "Unknown")
    assert [held["name"] for held in world.admin("GET", "nodes")["nodes"]] == [
        "control-plane-1",
        "worker-1",
        "worker-2",
    ]


def test_a_node_that_a_client_made_gets_a_kubelet_on_request(world):
    world.core.create_node({"metadata": {"name": "extra"}})
    world.kubelet("extra", running=True)
    wait(lambda: world.ready("extra") == "True")
    wait(lambda: on(world.pods("node-agent", "kube-system"), "extra"))


def test_a_changed_template_rolls_out_within_the_budgeted_surge(world):
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/web:2"}]}}}}
    world.apps.patch_namespaced_deployment("web", "shop", body)
    least = 4

    def rolled():
        nonlocal least
        pods = world.pods("web")
        least = min(least, sum(map(is_ready, pods)))
        return len(pods) == 4 and all(is_ready(pod) and pod.spec.containers[0].image.endswith(":2") for pod in pods)

    wait(rolled)
    assert least >= 3


def test_deleting_a_deployment_takes_its_pods_along(world):
    world.apps.delete_namespaced_deployment("cart", "shop")
    wait(lambda: not world.pods("cart"))
    assert "cart" not in {held.metadata.labels["app"] for held in world.apps.list_namespaced_replica_set("shop").items}


def test_a_deleted_namespace_is_emptied_and_goes(world):
    world.core.delete_namespace("shop")
    wait(lambda: "shop" not in {held.metadata.name for held in world.core.list_namespace().items})
    assert not world.core.list_namespaced_pod("shop").items


def test_reset_goes_back_to_the_seed(world):
    old = {pod.metadata.uid for pod in world.pods("web")}
    world.apps.delete_namespaced_deployment("web", "shop")
    world.kubelet("worker-1", running=False)
    world.admin("POST", "reset", {})
    web = wait(lambda: settled(world, "web", 4))
    assert world.ready("worker-1") == "True"
    assert not old & {pod.metadata.uid for pod in web}
