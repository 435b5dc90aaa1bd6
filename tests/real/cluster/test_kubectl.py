"""The stand-in under kubectl."""

import json
import subprocess

import pytest

from local.cluster.service import SEED
from tests.real.cluster.conftest import stand_in
from tests.real.cluster.world import World, is_ready, wait
from tests.servers import need_program


@pytest.fixture
def kubectl(tmp_path):
    program = need_program("kubectl", "kubernetes-client")

    def run(world, *arguments, fails=False, text=None):
        done = subprocess.run(
            [program, "--kubeconfig", str(world.kubeconfig), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert bool(done.returncode) is fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def rows(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}


def test_get_prints_nodes_and_pods(world, kubectl):
    nodes = rows(kubectl(world, "get", "nodes"))
    assert nodes["control-plane-1"][:3] == ["Ready", "control-plane", "v1.36.2"]
    assert nodes["worker-1"][:2] == ["Ready", "<none>"]
    both = kubectl(world, "get", "nodes,pods", "-A")
    assert "node/worker-3 " in both
    assert "pod/orders-db-1 " in both
    pods = rows(kubectl(world, "get", "pods", "-n", "shop"))
    assert pods["orders-db-0"][:3] == ["1/1", "Running", "0"]
    assert rows(kubectl(world, "get", "pdb", "-n", "shop"))["web"][:3] == ["3", "N/A", "1"]
    assert rows(kubectl(world, "get", "deployments", "-n", "shop"))["web"][0] == "4/4"
    assert "replicaset.apps/cart-" in kubectl(world, "get", "all", "-n", "shop")
    listed = json.loads(kubectl(world, "get", "pods", "-A", "-o", "json", "--chunk-size=5"))
    assert len(listed["items"]) == 16


def test_cordon_and_uncordon(world, kubectl):
    assert kubectl(world, "cordon", "worker-1") == "node/worker-1 cordoned\n"
    assert rows(kubectl(world, "get", "nodes"))["worker-1"][0] == "Ready,SchedulingDisabled"
    assert kubectl(world, "uncordon", "worker-1") == "node/worker-1 uncordoned\n"
    assert rows(kubectl(world, "get", "nodes"))["worker-1"][0] == "Ready"


def test_drain_refuses_what_it_should(world, kubectl):
    said = kubectl(world, "drain", "worker-2", fails=True)
    assert "cannot delete DaemonSet-managed Pods" in said
    assert "cannot delete Pods with local storage" in said


def test_drain_from_beginning_to_end(world, kubectl):
    # worker-1 holds two of the four web pods, of which the budget lets one go at a time: kubectl tries again after 5 s.
    web = {pod.metadata.uid for pod in world.pods("web") if pod.spec.node_name == "worker-1"}
    assert len(web) == 2
    said = kubectl(world, "drain", "worker-1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s")
    assert said.count("evicting pod") >= 4
    assert "node/worker-1 drained" in said
    left = world.core.list_pod_for_all_namespaces(field_selector="spec.nodeName=worker-1").items
    assert [pod.metadata.labels["app"] for pod in left] == ["node-agent"]
    web_now = wait(lambda: len(pods := world.pods("web")) == 4 and all(map(is_ready, pods)) and pods)
    assert not web & {pod.metadata.uid for pod in web_now}


def test_describe(world, kubectl):
    world.kubelet("worker-2", running=False)
    wait(lambda: world.ready("worker-2") == "Unknown")
    node = kubectl(world, "describe", "node", "worker-2")
    assert "Kubelet stopped posting node status." in node
    assert "node.kubernetes.io/unreachable:NoExecute" in node
    assert "node-proxy-worker-2" in node
    assert "NodeNotReady" in node
    assert "Controlled By:  StatefulSet/orders-db" in kubectl(world, "describe", "pod", "-n", "shop", "orders-db-0")
    assert "4 desired | 4 updated | 4 total" in kubectl(world, "describe", "deployment", "-n", "shop", "web")


MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec: {containers: [{name: c, image: "img:1"}]}
"""


def test_apply_scale_rollout_delete(world, kubectl):
    assert kubectl(world, "apply", "-f", "-", text=MANIFEST) == "deployment.apps/hello created\n"
    assert kubectl(world, "apply", "-f", "-", text=MANIFEST) == "deployment.apps/hello unchanged\n"
    changed = MANIFEST.replace("img:1", "img:2")
    assert kubectl(world, "apply", "--server-side", "--force-conflicts", "-f", "-", text=changed)
    assert "successfully rolled out" in kubectl(world, "rollout", "status", "deployment/hello", "--timeout=20s")
    kubectl(world, "scale", "deployment/hello", "--replicas=3")
    wait(lambda: sum(map(is_ready, world.pods("hello", "default"))) == 3)
    assert kubectl(world, "delete", "deployment", "hello") == 'deployment.apps "hello" deleted\n'
    wait(lambda: not world.pods("hello", "default"))


def test_a_token_goes_over_tls(tmp_path, kubectl):
    arguments = ("--seed", str(SEED), "--token", "let-me-in")
    with stand_in(tmp_path, *arguments, tls=True) as kubeconfig, World.open(kubeconfig) as world:
        assert "worker-1" in kubectl(world, "get", "nodes")
        kubeconfig.write_text(kubeconfig.read_text().replace("let-me-in", "another"))
        assert "Unauthorized" in kubectl(world, "get", "nodes", fails=True)
