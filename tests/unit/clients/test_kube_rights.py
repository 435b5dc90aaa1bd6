"""The rights in deploy/kubernetes are what the client's calls need: none is missing, and none is idle."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from paydown.clients.kube import OPERATOR, READER, ClusterApi, NodeState, Owner, Right
from paydown.clients.kube.cluster import _WORKLOADS, POD_TEMPLATES
from paydown.clients.kube.http import Http
from paydown.clients.kube.transport import Request, Response

MANIFESTS = Path(__file__).parents[3] / "deploy" / "kubernetes" / "paydown-rbac.yaml"
Asked = tuple[str, str, str]
"""API group, resource, verb."""

NODE = {"metadata": {"name": "a", "uid": "n", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}}
PATH = re.compile(r"/(?:api/v1|apis/([a-z]+)/v1)(?:/namespaces/[^/]+)?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?")
WORKLOAD = {"metadata": {"uid": "o"}, "spec": {}}


def right(request: Request) -> Asked:
    """What the API server asks its authoriser for."""
    match = PATH.fullmatch(request.path)
    assert match, request.path
    group, resource, name, sub = match.groups()
    verb = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch"}[request.method]
    return group or "", f"{resource}/{sub}" if sub else resource, verb


def rights_of(role: str) -> set[Asked]:
    [found] = [
        one
        for one in yaml.safe_load_all(MANIFESTS.read_text())
        if one["kind"] == "ClusterRole" and one["metadata"]["name"] == role
    ]
    return {
        (group, resource, verb)
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture
def asked() -> tuple[ClusterApi, list[Request]]:
    requests: list[Request] = []

    def send(request: Request) -> Response:
        requests.append(request)
        lists = {"/api/v1/nodes", "/api/v1/namespaces/default/pods", *POD_TEMPLATES}
        body: Any = {"items": []} if request.path in lists else NODE if "/nodes/" in request.path else WORKLOAD
        return Response(200, json.dumps(body).encode())

    return ClusterApi(Http(send, name="demo", identity="reader")), requests


def read(api: ClusterApi) -> NodeState:
    node = api.node("a")
    assert node is not None
    list(api.nodes())
    list(api.pods(node="a"))
    list(api.pods(namespace="default"))
    list(api.images())
    for kind in _WORKLOADS:
        api.wanted("default", Owner(kind, "web", "o"))
    return node


def act(api: ClusterApi, node: NodeState) -> None:
    api.cordon(node, by="x", at=datetime(2026, 1, 1, tzinfo=UTC))
    api.uncordon(node)
    api.evict("default", "web-1", "p")


def test_every_method_is_tried_here() -> None:
    methods = {name for name in vars(ClusterApi) if not name.startswith("_")}
    assert methods == {"node", "nodes", "images", "may", "pods", "wanted", "cordon", "uncordon", "evict"}


def test_the_reader_may_read_what_is_read(asked: tuple[ClusterApi, list[Request]]) -> None:
    api, requests = asked
    read(api)
    assert {right(request) for request in requests} == rights_of("paydown-reader")


def test_the_operator_may_do_what_is_done(asked: tuple[ClusterApi, list[Request]]) -> None:
    api, requests = asked
    act(api, read(api))
    assert {right(request) for request in requests} == rights_of("paydown-operator")


def test_the_reader_can_change_nothing() -> None:
    assert {verb for _, _, verb in rights_of("paydown-reader")} <= {"get", "list", "watch"}


@pytest.mark.parametrize("role", ["paydown-reader", "paydown-operator"])
def test_a_role_is_bound_to_its_own_identity_only(role: str) -> None:
    [binding] = [
        one
        for one in yaml.safe_load_all(MANIFESTS.read_text())
        if one["kind"] == "ClusterRoleBinding" and one["roleRef"]["name"] == role
    ]
    subjects = {(one["kind"], one["name"]) for one in binding["subjects"]}
    assert subjects == {("ServiceAccount", role.removeprefix("paydown-")), ("Group", role)}


def test_the_rights_that_an_operator_is_told_of_are_those_of_the_roles() -> None:
    assert {tuple(right) for right in READER} == rights_of("paydown-reader")
    assert {tuple(right) for right in OPERATOR} == rights_of("paydown-operator")


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (201, {"status": {"allowed": True}}, True),
        (201, {"status": {"allowed": False}}, False),
        (201, {}, False),
        (403, {}, None),
        (404, {}, None),
    ],
)
def test_a_server_is_asked_what_we_may(status: int, body: Any, answer: bool | None) -> None:
    requests: list[Request] = []

    def send(request: Request) -> Response:
        requests.append(request)
        return Response(status, json.dumps(body).encode())

    api = ClusterApi(Http(send, name="demo", identity="reader"))
    assert api.may(Right("", "pods/eviction", "create")) is answer
    (request,) = requests
    assert request.body["spec"]["resourceAttributes"] == {
        "resource": "pods",
        "subresource": "eviction",
        "verb": "create",
    }
