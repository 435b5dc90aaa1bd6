"""The controllers on a cluster without threads: the clock is the test's."""

import pytest

from local.cluster import deletion, seed
from local.cluster.api import Api
from local.cluster.clock import Names
from local.cluster.controllers import budgets, nodes, scheduler
from local.cluster.controllers.common import Context, Settings, Timers, share
from local.cluster.controllers.loop import Loop
from local.cluster.defaults import UNREACHABLE
from local.cluster.kinds import BUDGETS, LEASES, NODES, PODS, STATEFUL_SETS
from local.cluster.machines import Machines
from local.cluster.service import SEED


class Rig:
    def __init__(self, content, settings=None):
        self.time = 1_800_000_000.0
        names = Names(1)
        self.api = Api(names=names, now=lambda: self.time)
        self.machines = Machines(names)
        self.context = Context(self.api, self.machines, settings or Settings(node_grace=50))
        self.loop = Loop(self.context)
        seed.lay_out(content, self.api, self.machines)
        self.loop.settle()

    def go_on(self, seconds):
        """Let time pass, with the passes that a real loop would make."""
        end = self.time + seconds
        for _ in range(500):
            before = self.api.store.revision
            self.loop._pass(self.context)
            if self.api.store.revision != before:
                continue
            due = self.context.timers.next
            if due is None or due > end:
                self.time = end
                return
            self.time = due
        raise AssertionError("no rest")

    def pods(self, app):
        found = [pod for pod in self.api.store.all(PODS) if pod["metadata"].get("labels", {}).get("app") == app]
        return sorted((pod["metadata"]["name"], pod["spec"].get("nodeName")) for pod in found)

    def ready(self, node):
        return nodes.ready_status(self.api.get(NODES, "", node))


def test_the_demos_seed_comes_to_rest():
    rig = Rig(seed.read(SEED))
    assert [node for _, node in rig.pods("web")].count("worker-1") == 2
    assert [node for _, node in rig.pods("orders-db")] == ["worker-3", "worker-2"]
    before = rig.api.store.revision
    rig.loop.settle()
    assert rig.api.store.revision == before


def test_a_silent_kubelet_is_noticed_after_its_grace_and_its_pods_go_after_theirs():
    rig = Rig(seed.read(SEED))
    rig.machines.switch("worker-3", {"running": False}, rig.time, is_node=True)
    rig.go_on(49)
    assert rig.ready("worker-3") == "True"
    rig.go_on(2)
    assert rig.ready("worker-3") == "Unknown"
    victims = [pod for pod in rig.api.store.all(PODS, "shop") if pod["spec"]["nodeName"] == "worker-3"]
    assert victims
    rig.go_on(297)
    assert not any("deletionTimestamp" in pod["metadata"] for pod in rig.api.store.all(PODS, "shop"))
    rig.go_on(5)
    for pod in victims:
        assert "deletionTimestamp" in rig.api.get(PODS, "shop", pod["metadata"]["name"])["metadata"]


def test_leases_are_renewed_by_running_kubelets_only():
    rig = Rig(seed.read(SEED))
    rig.machines.switch("worker-3", {"running": False}, rig.time, is_node=True)
    before = {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in rig.api.store.all(LEASES)}
    rig.go_on(25)
    after = {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in rig.api.store.all(LEASES)}
    assert {name for name in after if after[name] > before[name]} == {"control-plane-1", "worker-1", "worker-2"}


def test_a_pod_that_fits_nowhere_waits():
    rig = Rig({"nodes": [{"name": "n"}], "pods": [{"name": "p", "node_selector": {"disk": "fast"}}]})
    assert rig.pods("p") == [("p", None)]
    condition = rig.api.get(PODS, "default", "p")["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")


def test_a_pod_marked_never_ready_runs():
    rig = Rig(
        {"nodes": [{"name": "n"}], "pods": [{"name": "p", "annotations": {"stand-in.paydown.dev/never-ready": ""}}]}
    )
    status = rig.api.get(PODS, "default", "p")["status"]
    assert status["phase"] == "Running"
    assert not scheduler_is_ready(status)


def scheduler_is_ready(status):
    return any(held["type"] == "Ready" and held["status"] == "True" for held in status["conditions"])


def test_a_stateful_set_shrinks_from_its_end():
    rig = Rig({"nodes": [{"name": "n"}], "statefulsets": [{"name": "s", "replicas": 3}]})
    held = rig.api.get(STATEFUL_SETS, "default", "s")
    rig.api.update(STATEFUL_SETS, "default", "s", {**held, "spec": {**held["spec"], "replicas": 1}})
    rig.go_on(5)
    assert rig.pods("s") == [("s-0", "n")]


def test_a_fresh_budget_is_processed_after_its_delay():
    settings = Settings(budget=3)
    rig = Rig({"nodes": [{"name": "n"}], "deployments": [{"name": "d", "replicas": 4}]}, settings)
    spec = {"selector": {"matchLabels": {"app": "d"}}, "maxUnavailable": "50%"}
    rig.api.create(BUDGETS, "default", {"metadata": {"name": "b"}, "spec": spec})
    rig.go_on(2)
    assert "observedGeneration" not in rig.api.get(BUDGETS, "default", "b")["status"]
    rig.go_on(2)
    status = rig.api.get(BUDGETS, "default", "b")["status"]
    assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (4, 2, 2)


def test_a_budget_on_bare_pods_fails_to_sync():
    rig = Rig(
        {
            "nodes": [{"name": "n"}],
            "pods": [{"name": "p"}],
            "budgets": [{"name": "p", "max_unavailable": 1}],
        }
    )
    status = rig.api.get(BUDGETS, "default", "p")["status"]
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"
    assert "found no controllers" in status["conditions"][0]["message"]


def test_a_finalizer_keeps_a_pod_that_its_kubelet_stopped():
    rig = Rig({"nodes": [{"name": "n"}], "pods": [{"name": "p"}]})
    pod = rig.api.get(PODS, "default", "p")
    rig.api.update(PODS, "default", "p", {**pod, "metadata": {**pod["metadata"], "finalizers": ["example.org/f"]}})
    deletion.delete(rig.api, PODS, "default", "p", {})
    rig.go_on(5)
    pod = rig.api.get(PODS, "default", "p")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 0
    rig.api.update(PODS, "default", "p", {**pod, "metadata": {**pod["metadata"], "finalizers": []}})
    assert rig.pods("p") == []


@pytest.mark.parametrize(
    ("spec", "replicas", "expected"),
    [
        ({"minAvailable": 2}, None, (3, 2)),
        ({}, None, (3, 0)),
        ({"minAvailable": "50%"}, 5, (5, 3)),
        ({"maxUnavailable": 1}, 5, (5, 4)),
        ({"maxUnavailable": "30%"}, 5, (5, 3)),
        ({"maxUnavailable": 9}, 5, (5, 0)),
    ],
)
def test_what_a_budget_needs(spec, replicas, expected):
    pods = [{"metadata": {"name": f"p{number}", "uid": str(number)}} for number in range(3)]
    scales = {pod["metadata"]["uid"]: ("owner", replicas) if replicas else None for pod in pods}
    assert budgets.needed(spec, pods, scales) == expected


@pytest.mark.parametrize(
    ("value", "up", "expected"),
    [(3, True, 3), ("25%", True, 2), ("25%", False, 1), ("100%", False, 5), ("0%", True, 0)],
)
def test_shares_of_five(value, up, expected):
    assert share(value, 5, up=up) == expected


TAINT = {"key": UNREACHABLE, "effect": "NoExecute", "value": "v"}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": UNREACHABLE, "operator": "Exists"}, True),
        ({"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": UNREACHABLE, "value": "v"}, True),
        ({"key": UNREACHABLE, "value": "w", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({}, False),
    ],
)
def test_tolerations(toleration, expected):
    assert nodes.covers(toleration, TAINT) is expected


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}], True),
        ([{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}], False),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}], True),
        ([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}, {"matchExpressions": []}], False),
        ([], False),
    ],
)
def test_required_node_affinity(terms, expected):
    node = {"metadata": {"name": "n", "labels": {"zone": "a"}}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert scheduler.wants({"affinity": {"nodeAffinity": required}}, node) is expected


def test_timers_forget_what_nobody_asks_for():
    timers = Timers()
    timers.begin()
    assert not timers.ripe("a", 5, now=10)
    assert timers.next == 15
    timers.begin()
    assert timers.ripe("a", 5, now=15)
    timers.begin()
    timers.begin()
    assert not timers.ripe("a", 5, now=20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected a map"),
        ("extra: 1", "unknown keys: extra"),
        ("nodes: [worker]", r"nodes\[0\]: expected a map with a name"),
        ("pods: [{name: p, replicas: 2}]", "unknown keys: replicas"),
        ("a: [", "while parsing"),
    ],
)
def test_bad_seeds_are_refused(tmp_path, text, said):
    file = tmp_path / "seed.yaml"
    file.write_text(text)
    with pytest.raises(seed.SeedError, match=said):
        seed.read(file)


def test_plain_manifests_in_a_seed():
    rig = Rig({"objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "new"}}]})
    assert rig.api.store.dump()["objects"][-1]["items"][0]["metadata"]["namespace"] == "new"
    with pytest.raises(seed.SeedError, match="unknown kind v1/Thing"):
        Rig({"objects": [{"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t"}}]})
