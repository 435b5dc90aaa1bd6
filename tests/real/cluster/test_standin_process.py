"""The stand-in as a process: its start and its end, its state file, its token, its connections."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml

from local.cluster.service import SEED, service
from local.processes import free_port
from tests.real.cluster.conftest import stand_in
from tests.real.cluster.world import World, is_ready, wait


def get(url, token="", method="GET", body=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 -- loopback
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_starts_soon_and_ends_at_once():
    began = time.monotonic()
    command = [sys.executable, "-m", "local.cluster", "--port", "0", "--seed", str(SEED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[-1]
        started = time.monotonic() - began
        assert get(f"{url}/readyz") == (200, b"ok")
        watcher = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        watcher.sendall(b"GET /api/v1/nodes?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
        assert watcher.recv(100)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        ended = time.monotonic() - began
        watcher.close()
    # 0.3 s and 0.05 s on an idle machine; the bounds leave room for a busy one.
    assert started < 3
    assert ended < 1


def test_it_goes_on_where_it_was(tmp_path):
    arguments = ("--seed", str(SEED), "--state", str(tmp_path / "state.json"))
    with stand_in(tmp_path, *arguments) as kubeconfig, World.open(kubeconfig) as world:
        world.core.patch_node("worker-1", {"spec": {"unschedulable": True}})
        world.kubelet("worker-2", running=False)
        wait(lambda: world.ready("worker-2") == "Unknown")
        before = {node.metadata.uid for node in world.core.list_node().items}
        version = world.core.list_node().metadata.resource_version
    with stand_in(tmp_path, *arguments) as kubeconfig, World.open(kubeconfig) as world:
        nodes = world.core.list_node()
        assert {node.metadata.uid for node in nodes.items} == before
        assert int(nodes.metadata.resource_version) >= int(version)
        assert world.core.read_node("worker-1").spec.unschedulable is True
        assert world.ready("worker-2") == "Unknown"
        world.kubelet("worker-2", running=True)
        wait(lambda: world.ready("worker-2") == "True")
        assert all(map(is_ready, world.pods("cart")))


def test_a_kill_loses_a_second_at_most(tmp_path):
    state = tmp_path / "state.json"
    running = service(free_port(), tmp_path, "--state", str(state))
    with running, World.open(tmp_path / "kubeconfig") as world:
        world.core.create_namespaced_config_map("default", {"metadata": {"name": "kept"}})
        wait(lambda: state.exists() and "kept" in state.read_text())
        running.process.kill()
        running.process.wait()
    json.loads(state.read_text())
    with stand_in(tmp_path, "--state", str(state)) as kubeconfig, World.open(kubeconfig) as world:
        assert world.core.read_namespaced_config_map("kept", "default")


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--seed", "nodes: [{name: a, colour: red}]", "unknown keys: colour"),
        ("--seed", "deployments: [{name: Not_A_Name}]", "is invalid"),
        ("--state", "{}", "delete it to start anew"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, option, content, said):
    file = tmp_path / "file"
    file.write_text(content)
    command = [sys.executable, "-m", "local.cluster", "--port", "0", option, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_token_guards_everything_but_the_health(tmp_path):
    with stand_in(tmp_path, "--token", "secret") as kubeconfig:
        url = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert get(f"{url}/readyz")[0] == 200
        for path in ("/api/v1/nodes", "/apis", "/_standin/nodes"):
            assert get(url + path)[0] == 401
            assert get(url + path, "wrong")[0] == 401
            assert get(url + path, "secret")[0] == 200


def test_it_listens_on_loopback_only(tmp_path):
    port = free_port()
    with service(port, tmp_path), socket.socket() as other:
        other.bind(("127.0.0.2", port))


def test_the_same_random_seed_gives_the_same_cluster(tmp_path):
    def uids(folder):
        folder.mkdir()
        with stand_in(folder, "--seed", str(SEED), "--random-seed", "7") as kubeconfig, World.open(kubeconfig) as world:
            return {pod.metadata.name: pod.metadata.uid for pod in world.core.list_pod_for_all_namespaces().items}

    assert uids(tmp_path / "a") == uids(tmp_path / "b")


def test_what_it_cannot_read_gets_an_answer(tmp_path):
    with stand_in(tmp_path) as kubeconfig:
        url = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        path = f"{url}/api/v1/nodes"
        for body in (
            b"{",
            b"[]",
            b'"x"',
            b"null",
            b'{"metadata": 1}',
            b'{"metadata": {"name": 1}}',
            b'{"spec": []}',
            b"x: }",
        ):
            status, answer = get(path, method="POST", body=body)
            assert (status in {400, 422}, json.loads(answer)["kind"]) == (True, "Status"), body
        for method, place in (("POST", "pods/p/eviction"), ("DELETE", "pods/p"), ("POST", "pods")):
            assert get(f"{url}/api/v1/namespaces/default/{place}", method=method, body=b"[1]")[0] == 400
        assert get(f"{url}/_standin/nodes/none/kubelet", method="POST", body=b"{}")[0] == 404
        assert get(f"{url}/_standin/else", method="POST", body=b"{}")[0] == 404
        assert get(f"{path}?limit=x")[0] == 400
        assert get(path, method="PUT", body=b"{}")[0] == 405
