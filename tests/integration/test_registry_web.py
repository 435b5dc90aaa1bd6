"""A registry that is not what it should be, over HTTP: our credentials stay with it, and nothing goes on for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from paydown.clients.registry import RegistryApi, open_registry
from paydown.errors import PermanentError
from paydown.inventory import Registry as Declared
from tests.integration.http_server import HttpServer, answered

BASIC = "Basic cGF5ZG93bjpodXNo"  # paydown:hush
KNOWN = {"username": "paydown", "password": "hush"}
DIGEST = "sha256:" + "a" * 64


class Registry:
    """`pages` are the answers by path; `challenge` is what it says to whoever has no `expected` header."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[Any, dict[str, str]]] = {"/v2/": ({}, {})}
        self.challenge = ""
        self.expected = BASIC
        self.given: list[str | None] = []
        self.http = HttpServer(self._respond)
        self.url = self.http.url

    def _respond(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        self.given.append(handler.headers["Authorization"])
        if self.challenge and self.given[-1] != self.expected:
            answered(handler, 401, b"{}", WWW_Authenticate=self.challenge)
        elif handler.path not in self.pages:
            answered(handler, 404, b'{"errors": []}' if handler.command != "HEAD" else b"")
        else:
            data, headers = self.pages[handler.path]
            answered(handler, 200, b"" if data is None else json.dumps(data).encode(), **headers)


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    yield running
    running.http.close()


Connect = Callable[..., RegistryApi]


@pytest.fixture
def connect(registry: Registry) -> Iterator[Connect]:
    opened: list[RegistryApi] = []

    def make(credentials: dict[str, str] = KNOWN, path: str = "") -> RegistryApi:
        opened.append(RegistryApi(registry.url + path, lambda: credentials))
        return opened[-1]

    yield make
    for api in opened:
        api._web._pool.clear()


def catalog(*names: str, link: str = "") -> tuple[Any, dict[str, str]]:
    return {"repositories": list(names)}, {"Link": link} if link else {}


def test_credentials_are_sent_when_they_are_asked_for_and_then_each_time(registry: Registry, connect: Connect) -> None:
    registry.challenge = 'Basic realm="registry"'
    registry.pages["/v2/a/tags/list?n=100"] = ({"tags": ["1"]}, {})
    api = connect()
    assert api.tags("a") == api.tags("a") == ["1"]
    assert registry.given == [None, BASIC, BASIC]


@pytest.mark.parametrize("credentials", [{"username": "paydown", "password": "wr0ng"}, {}])
def test_credentials_that_are_wrong_or_missing(
    registry: Registry, connect: Connect, credentials: dict[str, str]
) -> None:
    registry.challenge = 'Basic realm="registry"'
    with pytest.raises(PermanentError, match="credentials") as caught:
        connect(credentials).ping()
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("challenge", ["Negotiate", "Bearer", 'Bearer service="x"', "Digest realm=x"])
def test_a_challenge_that_nobody_knows(registry: Registry, connect: Connect, challenge: str) -> None:
    registry.challenge = challenge
    with pytest.raises(PermanentError, match="not known here"):
        connect().ping()


def test_credentials_do_not_travel_to_an_authorisation_service_without_tls(
    registry: Registry, connect: Connect
) -> None:
    registry.challenge = 'Bearer realm="http://auth.example/token",service="x"'
    with pytest.raises(PermanentError, match=r"auth\.example is reached without TLS"):
        connect().ping()


def test_a_token_of_an_authorisation_service(registry: Registry, connect: Connect) -> None:
    authority = HttpServer(lambda handler, _: answered(handler, 200, json.dumps({"access_token": "t0ken"}).encode()))
    try:
        registry.challenge = f'Bearer realm="{authority.url}/token?account=x",service="images"'
        registry.expected = "Bearer t0ken"
        connect({}).ping()
        assert authority.asked == [("GET", "/token?account=x&service=images")]
    finally:
        authority.close()


@pytest.mark.parametrize("answer", [{}, {"token": 5}, [], {"token": "a\r\nb"}])
def test_an_authorisation_service_that_gives_no_token(registry: Registry, connect: Connect, answer: Any) -> None:
    authority = HttpServer(lambda handler, _: answered(handler, 200, json.dumps(answer).encode()))
    try:
        registry.challenge = f'Bearer realm="{authority.url}/token"'
        with pytest.raises(PermanentError, match="gives no token"):
            connect().ping()
    finally:
        authority.close()


@pytest.mark.parametrize("whole", [True, False])
def test_the_next_page_is_asked_of_the_host_that_we_know(registry: Registry, connect: Connect, whole: bool) -> None:
    link = '</v2/_catalog?last=b&n=100>; rel="next"'
    link = link.replace("</", "<http://elsewhere.example/") if whole else link
    registry.pages["/v2/_catalog?n=100"] = catalog("a", "b", link=link)
    registry.pages["/v2/_catalog?last=b&n=100"] = catalog("c")
    assert list(connect().repositories(("*",))) == ["a", "b", "c"]


def test_a_registry_below_a_path(registry: Registry, connect: Connect) -> None:
    registry.pages["/images/v2/_catalog?n=100"] = catalog("a", link='</images/v2/_catalog?last=a>; rel="next"')
    registry.pages["/images/v2/_catalog?last=a"] = catalog("b")
    assert list(connect(path="/images").repositories(("*",))) == ["a", "b"]


def test_pages_that_go_round_in_a_circle_or_leave_the_api(registry: Registry, connect: Connect) -> None:
    registry.pages["/v2/_catalog?n=100"] = catalog("a", link='</v2/_catalog?n=100>; rel="next"')
    with pytest.raises(PermanentError, match="circle"):
        list(connect().repositories(("*",)))
    registry.pages["/v2/_catalog?n=100"] = catalog("a", link='</admin>; rel="next"')
    with pytest.raises(PermanentError, match="outside its API"):
        list(connect().repositories(("*",)))


def test_the_list_goes_on_where_the_last_pass_ended(registry: Registry, connect: Connect) -> None:
    registry.pages["/v2/_catalog?n=100&last=b%2Fc"] = catalog("b/d", "x")
    assert list(connect().repositories(("b/*",), after="b/c")) == ["b/d"]
    assert list(connect().repositories(("b/e", "b/c"), after="b/c")) == ["b/e"]


def test_names_that_would_change_an_address_are_left_out(registry: Registry, connect: Connect) -> None:
    registry.pages["/v2/_catalog?n=100"] = catalog("a", "../v2", "a?b", "A", "a//b", "a/")
    registry.pages["/v2/a/tags/list?n=100"] = ({"tags": ["1", "../x", "a b", "", "-x", None]}, {})
    api = connect()
    assert list(api.repositories(("*",))) == ["a"]
    assert api.tags("a") == ["1"]
    with pytest.raises(PermanentError):
        api.tags("../../admin")


def test_what_is_gone_is_gone_and_a_digest_is_a_digest(registry: Registry, connect: Connect) -> None:
    registry.pages["/v2/a/manifests/1"] = (None, {"Docker_Content_Digest": DIGEST})
    registry.pages["/v2/a/manifests/2"] = (None, {"Docker_Content_Digest": "<script>"})
    api = connect()
    assert api.digest("a", "1") == DIGEST
    assert (api.digest("a", "3"), api.tags("gone")) == (None, [])
    with pytest.raises(PermanentError, match="no digest"):
        api.digest("a", "2")


def test_a_list_that_is_none(registry: Registry, connect: Connect) -> None:
    registry.pages["/v2/_catalog?n=100"] = ([], {})
    with pytest.raises(PermanentError, match="documented shape"):
        list(connect().repositories(("*",)))


@pytest.mark.parametrize("content", ["hush", {"username": "paydown"}, {"username": 5, "password": "hush"}])
def test_a_secret_that_holds_something_else_is_not_told(registry: Registry, content: Any) -> None:
    registry.challenge = 'Basic realm="registry"'
    api = open_registry(Declared(uid="r", name="r", url=registry.url, secret="the-secret"), lambda name: content)
    with pytest.raises(PermanentError, match="the-secret must be") as caught:
        api.ping()
    assert "hush" not in str(caught.value)
    api._web._pool.clear()
