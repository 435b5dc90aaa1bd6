"""The Kubernetes client against an API server without controllers: the stand-in, or a real one (KUBEBUILDER_ASSETS)."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.cluster.service import service
from local.processes import free_port
from paydown.clients.kube import (
    OPERATOR,
    Blocked,
    ClusterApi,
    Evicted,
    Gone,
    NodeState,
    Owner,
    Pod,
    Refused,
    cluster,
    connect,
)
from paydown.clients.kube.credentials import Credentials, _http
from paydown.clients.kube.http import Http
from paydown.inventory import Cluster
from tests.real.cluster.control_plane import control_plane

ENTRY = Cluster(uid="demo", name="demo", reader_secret="r", operator_secret="o", nodes=("*",))
AT = datetime(2026, 1, 2, tzinfo=UTC)
Make = Callable[..., Pod]


@contextmanager
def stand_in(folder: Path) -> Iterator[Path]:
    with service(free_port(), folder, "--no-controllers", tls=True):
        yield folder / "kubeconfig"


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What would lie in Secrets Manager for this server."""
    folder = tmp_path_factory.mktemp("kube-api-server")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    with control_plane(Path(assets), folder) if assets else stand_in(folder) as kubeconfig:
        config = yaml.safe_load(kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        ca = base64.b64decode(server["certificate-authority-data"]).decode()
        yield {"server": server["server"], "ca": ca} | ({"token": user["token"]} if user.get("token") else {})


@pytest.fixture(scope="module")
def api(secret: dict[str, Any]) -> ClusterApi:
    return connect(ENTRY, observing=False, secrets=lambda name: secret)


@pytest.fixture(scope="module")
def http(secret: dict[str, Any]) -> Http:
    return _http(ENTRY, "operator", Credentials.parse("o", secret))


@pytest.fixture
def node(http: Http, api: ClusterApi) -> NodeState:
    name = f"node-{uuid.uuid4().hex[:8]}"
    http.call("POST", "/api/v1/nodes", body={"metadata": {"name": name}})
    found = api.node(name)
    assert found is not None
    return found


@pytest.fixture
def make(http: Http, node: NodeState) -> Make:
    namespace = f"ns-{uuid.uuid4().hex[:8]}"
    http.call("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
    path = f"/api/v1/namespaces/{namespace}/pods"

    def make(name: str) -> Pod:
        spec = {"nodeName": node.name, "containers": [{"name": "c", "image": "img:1"}]}
        http.call("POST", path, body={"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        merge = "application/merge-patch+json"
        answer = http.call("PATCH", f"{path}/{name}/status", body={"status": status}, content_type=merge)
        return Pod.parse(answer.body)

    return make


def budget(http: Http, namespace: str, name: str, status: dict[str, int] | None = None) -> None:
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    http.call("POST", path, body={"metadata": {"name": name}, "spec": spec})
    if status is not None:
        merge = "application/merge-patch+json"
        http.call("PATCH", f"{path}/{name}/status", body={"status": status}, content_type=merge)


def test_a_node_that_never_reported(node: NodeState, api: ClusterApi) -> None:
    assert (node.ready, node.unschedulable, node.cordoned_by) == (None, False, None)
    assert api.node("nobody") is None


def test_cordon_and_uncordon(node: NodeState, api: ClusterApi) -> None:
    assert api.cordon(node, by="recover_node/r1", at=AT)
    cordoned = api.node(node.name)
    assert cordoned is not None
    assert (cordoned.unschedulable, cordoned.cordoned_by, cordoned.cordoned_at) == (True, "recover_node/r1", AT)
    assert cordoned.cordon_managers == ("paydown",)
    assert not api.uncordon(node), "it changed since it was read"
    assert api.uncordon(cordoned)
    opened = api.node(node.name)
    assert opened is not None
    assert (opened.unschedulable, opened.cordoned_by, opened.cordoned_at) == (False, None, None)


def test_a_cordon_by_hand_over_ours_is_theirs(node: NodeState, api: ClusterApi, http: Http) -> None:
    api.cordon(node, by="recover_node/r1", at=AT)
    for wish in (None, True):
        http.call(
            "PATCH",
            f"/api/v1/nodes/{node.name}",
            query={"fieldManager": "kubectl-cordon"},
            body={"spec": {"unschedulable": wish}},
            content_type="application/strategic-merge-patch+json",
        )
    found = api.node(node.name)
    assert found is not None
    assert (found.unschedulable, found.cordoned_by) == (True, None)


def test_a_node_that_is_gone_is_not_patched(node: NodeState, api: ClusterApi, http: Http) -> None:
    http.call("DELETE", f"/api/v1/nodes/{node.name}")
    assert not api.cordon(node, by="x", at=AT)


def test_the_pods_of_a_node_page_by_page(
    node: NodeState, api: ClusterApi, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make(f"web-{number}") for number in range(5)]
    monkeypatch.setattr(cluster, "PAGE", 2)
    assert sorted(pod.uid for pod in api.pods(node=node.name)) == sorted(pod.uid for pod in made)
    assert {pod.name for pod in api.pods(namespace=made[0].namespace)} == {pod.name for pod in made}
    assert all(pod.ready and pod.node == node.name and pod.deadline is None for pod in api.pods(node=node.name))


def test_an_eviction(api: ClusterApi, make: Make) -> None:
    pod = make("web-1")
    assert api.evict(pod.namespace, pod.name, "another uid") == Gone("another pod has its name now")
    assert api.evict(pod.namespace, pod.name, pod.uid) == Evicted()
    [left] = [one for one in api.pods(namespace=pod.namespace) if one.uid == pod.uid]
    assert left.deadline is not None, "nobody confirms the end of a pod on a node without a kubelet"
    assert api.evict(pod.namespace, pod.name, pod.uid) == Evicted(), "again, it changes nothing"
    assert api.evict(pod.namespace, "nobody", pod.uid) == Gone("the pod is gone")


def test_a_fresh_budget_asks_for_patience(api: ClusterApi, http: Http, make: Make) -> None:
    pod = make("web-1")
    budget(http, pod.namespace, "web")
    blocked = api.evict(pod.namespace, pod.name, pod.uid)
    assert isinstance(blocked, Blocked)
    assert blocked.seconds == 10
    assert "still being processed" in blocked.why


def test_a_budget_that_is_used_up(api: ClusterApi, http: Http, make: Make) -> None:
    pod = make("web-1")
    used_up = {
        "observedGeneration": 1,
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
    }
    budget(http, pod.namespace, "web", used_up)
    blocked = api.evict(pod.namespace, pod.name, pod.uid)
    assert isinstance(blocked, Blocked)
    assert blocked.seconds == 5
    assert "web needs 1 healthy pods and has 1 currently" in blocked.why


def test_two_budgets_refuse_for_good(api: ClusterApi, http: Http, make: Make) -> None:
    pod = make("web-1")
    budget(http, pod.namespace, "web")
    budget(http, pod.namespace, "web-too")
    refused = api.evict(pod.namespace, pod.name, pod.uid)
    assert isinstance(refused, Refused)
    assert "more than one PodDisruptionBudget" in refused.why


@pytest.mark.parametrize(("kind", "path"), [("ReplicaSet", "replicasets"), ("StatefulSet", "statefulsets")])
def test_what_a_controller_wants(api: ClusterApi, http: Http, make: Make, kind: str, path: str) -> None:
    namespace = make("web-1").namespace
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "img:1"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = "web"
    body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}
    made = http.call("POST", f"/apis/apps/v1/namespaces/{namespace}/{path}", body=body)
    uid = made.body["metadata"]["uid"]
    assert api.wanted(namespace, Owner(kind, "web", uid)) == 3
    assert api.wanted(namespace, Owner(kind, "web", "made anew")) == 0
    assert api.wanted(namespace, Owner(kind, "gone", uid)) == 0


def test_the_server_is_asked_what_our_credentials_may_do(api: ClusterApi) -> None:
    """The stand-in has no authorisation to tell of, which is no error; the identity of a real one may do everything."""
    expected = True if os.environ.get("KUBEBUILDER_ASSETS") else None
    assert {api.may(right) for right in OPERATOR} == {expected}
