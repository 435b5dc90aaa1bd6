"""What a real 1.36 API server answers, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paydown.clients.kube.cluster import Blocked, ClusterApi, Evicted, Gone, Refused
from paydown.clients.kube.http import Http
from paydown.clients.kube.transport import Request, Response, is_loopback
from paydown.errors import PermanentError, RetryableError


class Server:
    """Answers with what it was given, and keeps the requests."""

    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.responses.pop(0)


def status(code: int, message: str = "", causes: tuple[dict[str, str], ...] = (), after: str | None = None) -> Response:
    body: dict[str, Any] = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    if causes:
        body["details"] = {"causes": list(causes)}
    return Response(code, json.dumps(body).encode(), after)


def http(*responses: Response) -> Http:
    return Http(Server(*responses), name="prod", identity="operator", token=lambda: "s3cret")


BUDGET = {"reason": "DisruptionBudget", "message": "The disruption budget web needs 3 healthy pods and has 3 currently"}
FRESH = {"reason": "DisruptionBudget", "message": "The disruption budget web is still being processed by the server."}
TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."

EVICTIONS = [
    ("evicted", Response(201, b'{"kind":"Status","status":"Success","code":201}'), Evicted()),
    ("gone", status(404, 'pods "web-1" not found'), Gone("the pod is gone")),
    (
        "another uid",
        status(409, "Precondition failed: UID in precondition: a, UID in object meta: b"),
        Gone("another pod has its name now"),
    ),
    (
        "budget",
        status(429, "Cannot evict pod as it would violate the pod's disruption budget.", (BUDGET,)),
        Blocked(5.0, BUDGET["message"]),
    ),
    ("fresh budget", status(429, "Cannot evict pod …", (FRESH,), "10"), Blocked(10.0, FRESH["message"])),
    ("two budgets", status(500, TWO), Refused(TWO)),
]


@pytest.mark.parametrize(
    ("response", "expected"), [case[1:] for case in EVICTIONS], ids=[case[0] for case in EVICTIONS]
)
def test_an_eviction_has_a_typed_result(response: Response, expected: object) -> None:
    assert ClusterApi(http(response)).evict("default", "web-1", "uid-1") == expected


def test_an_eviction_names_the_pod_by_its_uid() -> None:
    server = Server(Response(201, b"{}"))
    ClusterApi(Http(server, name="prod", identity="operator")).evict("default", "web-1", "uid-1")
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/api/v1/namespaces/default/pods/web-1/eviction")
    assert request.body == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": "default", "name": "web-1"},
        "deleteOptions": {"preconditions": {"uid": "uid-1"}},
    }


TROUBLES = [
    ("overloaded", status(429, "too many requests", after="3"), RetryableError, "429", 3.0),
    ("overloaded, no hint", status(429, "too many requests"), RetryableError, "429", 5.0),
    ("etcd is away", status(500, "etcdserver: request timed out"), RetryableError, "etcdserver", 15.0),
    ("behind a balancer", Response(503, b"<html>no backend</html>", "7"), RetryableError, "no backend", 7.0),
    ("token rotated", status(401, "Unauthorized"), RetryableError, "operator credentials are not accepted", 60.0),
    (
        "no right",
        status(403, 'cannot create resource "pods/eviction"'),
        PermanentError,
        "pods/eviction.*lack this right",
        None,
    ),
    ("redirect", Response(302, b""), PermanentError, "redirect", None),
    ("invalid", status(422, "spec.foo: Invalid value"), PermanentError, "422 spec.foo", None),
]


@pytest.mark.parametrize(
    ("response", "kind", "said", "delay"), [case[1:] for case in TROUBLES], ids=[case[0] for case in TROUBLES]
)
def test_trouble_is_translated(response: Response, kind: type[Exception], said: str, delay: float | None) -> None:
    with pytest.raises(kind, match=said) as caught:
        ClusterApi(http(response)).evict("default", "web-1", "uid-1")
    assert getattr(caught.value, "delay", None) == delay
    assert "s3cret" not in str(caught.value)


def test_a_missing_node_is_none_and_a_forbidden_one_is_not() -> None:
    assert ClusterApi(http(status(404))).node("worker-1") is None
    with pytest.raises(PermanentError, match="lack this right"):
        ClusterApi(http(status(403, 'nodes "worker-1" is forbidden'))).node("worker-1")


@pytest.mark.parametrize("name", ["..", "a/b", "a?b", "A", "", "a" * 300, "-a", "worker-1\n"])
def test_a_hostile_name_never_reaches_the_server(name: str) -> None:
    server = Server()
    api = ClusterApi(Http(server, name="prod", identity="reader"))
    assert api.node(name) is None
    assert isinstance(api.evict("default", name, "u"), Refused)
    with pytest.raises(PermanentError, match="no name"):
        next(api.pods(node=name))
    assert server.requests == []


def test_the_token_is_asked_for_each_call() -> None:
    tokens = iter(["one", "two"])
    server = Server(status(404), status(404))
    api = ClusterApi(Http(server, name="prod", identity="reader", token=lambda: next(tokens)))
    api.node("a")
    api.node("a")
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]


def page(names: list[str], more: str = "") -> Response:
    items = [{"metadata": {"namespace": "default", "name": name, "uid": name}} for name in names]
    return Response(200, json.dumps({"items": items, "metadata": {"continue": more}}).encode())


def test_pods_are_read_page_by_page_as_they_are_walked() -> None:
    server = Server(page(["a", "b"], "next"), page(["c"]))
    pods = ClusterApi(Http(server, name="prod", identity="reader")).pods(node="worker-1")
    assert next(pods).name == "a"
    assert len(server.requests) == 1
    assert [pod.name for pod in pods] == ["b", "c"]
    assert [request.query for request in server.requests] == [
        {"fieldSelector": "spec.nodeName=worker-1", "limit": 500},
        {"fieldSelector": "spec.nodeName=worker-1", "limit": 500, "continue": "next"},
    ]


def test_nodes_are_read_in_smaller_pages() -> None:
    def nodes(names: list[str], more: str = "") -> Response:
        met = {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        items = [{"metadata": {"name": name, "uid": name, **met}} for name in names]
        return Response(200, json.dumps({"items": items, "metadata": {"continue": more}}).encode())

    server = Server(nodes(["a", "b"], "next"), nodes(["c"]))
    found = ClusterApi(Http(server, name="prod", identity="reader")).nodes()
    assert [node.name for node in found] == ["a", "b", "c"]
    assert [(request.path, request.query) for request in server.requests] == [
        ("/api/v1/nodes", {"limit": 100}),
        ("/api/v1/nodes", {"limit": 100, "continue": "next"}),
    ]


def test_a_list_that_expires_in_the_middle_is_read_again_later() -> None:
    api = ClusterApi(http(page(["a"], "next"), status(410, "The provided continue parameter is too old")))
    with pytest.raises(RetryableError, match="expired"):
        list(api.pods())


@pytest.mark.parametrize(
    ("server", "loopback"),
    [
        ("http://127.0.0.1:8001", True),
        ("https://[::1]:6443", True),
        ("http://localhost:8001", True),
        ("https://localhost.example.com", False),
        ("https://10.0.0.1:6443", False),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_recognised(server: str, loopback: bool) -> None:
    assert is_loopback(server) is loopback
