"""Servers and clients for the tests of the Kubernetes API.

The conformance tests run against an API server without controllers: the stand-in, or a real one when KUBEBUILDER_ASSETS
names a folder with etcd and kube-apiserver. Everything that acts by itself is tested on the stand-in alone.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes import client, config

from local.cluster.service import SEED, service
from local.processes import free_port
from tests.real.cluster.control_plane import control_plane
from tests.real.cluster.world import World


@contextmanager
def stand_in(folder: Path, *arguments: str, tls: bool = False) -> Iterator[Path]:
    with service(free_port(), folder, *arguments, tls=tls):
        yield folder / "kubeconfig"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server on which nothing acts by itself."""
    folder = tmp_path_factory.mktemp("api-server")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    with control_plane(Path(assets), folder) if assets else stand_in(folder, "--no-controllers") as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def api(api_server: Path) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(api_server)) as made:
        yield made


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture
def apps(api: client.ApiClient) -> client.AppsV1Api:
    return client.AppsV1Api(api)


@pytest.fixture
def policy(api: client.ApiClient) -> client.PolicyV1Api:
    return client.PolicyV1Api(api)


@pytest.fixture
def mark() -> str:
    """A name that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def namespace(core: client.CoreV1Api, mark: str) -> str:
    core.create_namespace({"metadata": {"name": mark}})
    return mark


@pytest.fixture
def node(core: client.CoreV1Api, mark: str) -> Iterator[str]:
    """A Node that no kubelet serves, labelled `mark`."""
    name = f"node-{mark}"
    core.create_node({"metadata": {"name": name, "labels": {"mark": mark}}})
    yield name
    if any(held.metadata.name == name for held in core.list_node().items):
        core.delete_node(name)


@pytest.fixture
def make_pod(core: client.CoreV1Api, namespace: str, node: str) -> Callable[..., client.V1Pod]:
    def make(name: str, labels: dict[str, str] | None = None, *, ready: bool = True, grace: int = 30) -> client.V1Pod:
        containers = [{"name": "c", "image": "img:1"}, {"name": "d", "image": "img:2"}]
        spec = {"nodeName": node, "containers": containers, "terminationGracePeriodSeconds": grace}
        core.create_namespaced_pod(namespace, {"metadata": {"name": name, "labels": labels or {}}, "spec": spec})
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"status": {"phase": "Running", "conditions": conditions}}
        return core.patch_namespaced_pod_status(name, namespace, status)

    return make


@pytest.fixture(scope="session")
def whole_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("whole-cluster")
    with stand_in(folder, "--seed", str(SEED)) as kubeconfig, World.open(kubeconfig) as made:
        yield made


@pytest.fixture
def world(whole_cluster: World) -> World:
    """A stand-in with the demo's seed, as new, and with everything that acts by itself."""
    whole_cluster.admin("POST", "reset", {})
    return whole_cluster
