"""The little of HTTP that an engine speaks, and how images are looked at and removed with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from paydown.clients.docker_hosts import wire as wires
from paydown.clients.docker_hosts.engine_images import inspect_each, remove_each
from paydown.clients.docker_hosts.layers import LayerSizes
from paydown.clients.docker_hosts.model import Fate, Removal
from paydown.clients.docker_hosts.wire import AHEAD, Answer, Call, Refused, Wire, look, offered_version, remove

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Line:
    """A connection whose other side has said all that it will say; it is its own socket."""

    host = "localhost"

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.heard: list[bytes] = []
        self.sock = self
        self.closed = False

    def connect(self) -> None:
        if not self.said:
            raise ConnectionRefusedError

    def makefile(self, mode: str, size: int) -> io.BytesIO:
        return io.BytesIO(self.said)

    def sendall(self, content: bytes) -> None:
        self.heard.append(content)

    def close(self) -> None:
        self.closed = True


def wired(said: bytes) -> tuple[Wire, Line]:
    line: Any = Line(said)
    return Wire(line, "1.41"), line


def test_calls_are_sent_at_once_and_answered_in_their_order() -> None:
    wire, line = wired(OK + b"Content-Length: 3\r\n\r\n[1]" + OK + b"content-length: 4\r\n\r\n[22]")
    assert [answer.json() for answer in wire.exchange(look(A), remove(B))] == [[1], [22]]
    quoted = [one.replace(":", "%3A") for one in (A, B)]
    rest = "HTTP/1.1\r\nHost: localhost\r\nUser-Agent: paydown\r\n\r\n"
    sent = f"GET /v1.41/images/{quoted[0]}/json {rest}DELETE /v1.41/images/{quoted[1]} {rest}"
    assert line.heard == [sent.encode()]


def test_an_answer_in_chunks_with_trailers_is_put_together() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    wire, _ = wired(chunked + b"4;x=y\r\n[1, \r\n2\r\n2]\r\n0\r\nA: b\r\n\r\n" + chunked + b"2\r\n[]\r\n0\r\n\r\n")
    assert [answer.json() for answer in wire.exchange(look(A), look(B))] == [[1, 2], []]


@pytest.mark.parametrize(
    ("said", "why"), [(b'{"message": "no such image"}', "no such image"), (b"plain", "plain"), (b"[]", "[]")]
)
def test_a_refusal_says_why(said: bytes, why: str) -> None:
    wire, _ = wired(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
    with pytest.raises(Refused, match=why.replace("[", r"\[")) as caught:
        wire.ask(look(A))
    assert (caught.value.status, caught.value.why) == (404, why)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"Content-Length: 9\r\n\r\n[1]",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n[1",
        b"H" * (wires.LINE_BYTES + 9) + b"\r\n",
    ],
)
def test_a_broken_connection_is_told_from_an_answer(said: bytes) -> None:
    wire, _ = wired(said)
    with pytest.raises(ConnectionError):
        wire.ask(look(A))


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", OK + b"\r\n", OK + b"Content-Length: x\r\n\r\n"]
)
def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    wire, _ = wired(said)
    with pytest.raises((ValueError, KeyError, IndexError)):
        wire.ask(look(A))


def test_a_connection_that_does_not_come_about_is_closed() -> None:
    line: Any = Line(b"")
    with pytest.raises(ConnectionRefusedError):
        Wire(line, "1.41")
    assert line.closed


def test_the_engine_s_version_is_asked_for_without_one() -> None:
    line: Any = Line(b"HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: 2\r\n\r\nOK")
    assert offered_version(lambda: line) == "1.44"
    assert line.heard[0].startswith(b"GET /_ping HTTP/1.1\r\n")
    assert line.closed


class Images:
    """An engine with these images over one wire; `script` may change them before a call is answered."""

    def __init__(self, *ids: str) -> None:
        self.tags: dict[str, list[str]] = {id: [] for id in ids}
        self.calls: list[list[Call]] = []
        self.before: Callable[[Call], Answer | None] = lambda call: None

    def share(self, work: Callable[[Any, Sequence[str]], Sequence[Any]], items: Sequence[str]) -> list[Any]:
        return list(work(self, items)) if items else []

    def exchange(self, *calls: Call) -> list[Answer]:
        self.calls.append(list(calls))
        return [self.before(call) or self.answer(call) for call in calls]

    def ask(self, call: Call) -> Any:
        return self.exchange(call)[0].json()

    def answer(self, call: Call) -> Answer:
        id = next((one for one in self.tags if one.replace(":", "%3A") in call.path), "")
        if not id:
            return said(404, {"message": "no such image"})
        if call.method == "DELETE":
            del self.tags[id]
            return said(200, [{"Deleted": id}, {"Deleted": f"layer of {id}"}])
        if call.path.endswith("/history"):
            return said(200, [{"Size": 5, "CreatedBy": "COPY"}])
        layers = {"Layers": [f"layer of {id}"]}
        return said(200, {"Id": id, "RepoTags": self.tags[id], "RepoDigests": [], "RootFS": layers, "Size": 5})


def said(status: int, value: Any) -> Answer:
    return Answer(status, {}, json.dumps(value).encode())


def removed(engine: Any, *ids: str) -> list[Removal]:
    return remove_each(engine, LayerSizes(), ids, float("inf"))


def test_looks_are_sent_some_at_a_time_and_what_is_gone_is_left_out() -> None:
    ids = [f"sha256:{number:064x}" for number in range(AHEAD + 2)]
    engine: Any = Images(*ids[1:])
    assert [one["Id"] for one in inspect_each(engine, ids)] == ids[1:]
    assert [len(calls) for calls in engine.calls] == [AHEAD, 2]


def test_each_is_looked_at_after_the_one_before_it_went() -> None:
    engine = Images(A, B, C)
    assert [(one.fate, one.freed) for one in removed(engine, A, B, C)] == [(Fate.REMOVED, 5)] * 3
    assert engine.calls == [[look(A)], [remove(A), look(B)], [remove(B), look(C)], [remove(C)]]


def test_a_tag_that_comes_while_the_one_before_goes_is_seen() -> None:
    engine = Images(A, B, C)

    def tagged(call: Call) -> None:
        if call == remove(A):
            engine.tags[B] = ["rescued:1"]

    engine.before = tagged
    assert [one.fate for one in removed(engine, A, B, C)] == [Fate.REMOVED, Fate.TAGGED, Fate.REMOVED]
    assert engine.tags == {B: ["rescued:1"]}
    assert engine.calls[2:] == [[look(C)], [remove(C)]], "a look of its own"


def test_after_a_failure_the_next_is_looked_at_anew() -> None:
    engine = Images(A, B)
    engine.before = lambda call: said(500, {"message": "device busy"}) if call == remove(A) else None
    first, second = removed(engine, A, B)
    assert (first.fate, first.why, second.fate) == (Fate.FAILED, "device busy", Fate.REMOVED)
    assert engine.calls == [[look(A)], [remove(A), look(B)], [look(A)], [look(B)], [remove(B)]]


@pytest.mark.parametrize(("status", "fate"), [(409, Fate.USED), (404, Fate.ABSENT)])
def test_a_refusal_keeps_the_look_at_the_next(status: int, fate: Fate) -> None:
    engine = Images(A, B)
    engine.before = lambda call: said(status, {"message": "why"}) if call == remove(A) else None
    assert [one.fate for one in removed(engine, A, B)] == [fate, Fate.REMOVED]
    assert engine.calls == [[look(A)], [remove(A), look(B)], [remove(B)]]


def test_sharing_keeps_the_order_of_the_items() -> None:
    shared = wires.Wires(lambda: Line(b"x"), "1.41")  # type: ignore[arg-type, return-value]  # it only pretends
    found = shared.share(lambda wire, mine: [number * 2 for number in mine], range(21))
    assert found == [number * 2 for number in range(21)]
    assert shared.share(lambda wire, mine: [0 for _ in mine], []) == []
