from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from paydown.errors import InvalidEvent
from paydown.sources import webhook
from paydown.sources.webhook import Request, TooLarge, Unauthorized, read_each, verify_bearer, verify_signature

BODY = b'{"a": 1}'


def signed(secret: str, body: bytes = BODY) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def with_header(name: str, *values: str, body: bytes = BODY) -> Request:
    return Request(body, {name: list(values)})


def test_the_signature_of_githubs_documentation():
    request = with_header(
        "x-hub-signature-256",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        body=b"Hello, World!",
    )
    verify_signature(request, ["It's a Secret to Everybody"])


@pytest.mark.parametrize("secrets", [["new", "old"], ["old"], ["old", "older"]])
def test_a_signature_under_any_of_the_secrets_will_do(secrets):
    verify_signature(with_header("x-hub-signature-256", signed("old")), secrets)


@pytest.mark.parametrize(
    "request_",
    [
        Request(BODY),
        with_header("x-hub-signature-256", ""),
        with_header("x-hub-signature-256", "sha256="),
        with_header("x-hub-signature-256", signed("other")),
        with_header("x-hub-signature-256", signed("s").removeprefix("sha256=")),
        with_header("x-hub-signature-256", signed("s") + " "),
        with_header("x-hub-signature-256", signed("s"), signed("other")),
        with_header("x-hub-signature-256", signed("s"), body=b'{"a": 2}'),
        with_header("x-hub-signature-256", "sha256=\ud800\u00e9"),
        with_header("x-hub-signature", "sha1=" + hmac.new(b"s", BODY, hashlib.sha1).hexdigest()),
        with_header("authorization", "Bearer s"),
    ],
)
def test_a_wrong_signature_is_refused(request_):
    with pytest.raises(Unauthorized):
        verify_signature(request_, ["s"])


@pytest.mark.parametrize("secrets", [[], [""], ["", ""]])
def test_without_a_secret_nobody_is_let_in(secrets):
    with pytest.raises(Unauthorized):
        verify_signature(with_header("x-hub-signature-256", signed("")), secrets)
    for value in ("Bearer ", "Bearer", ""):
        with pytest.raises(Unauthorized):
            verify_bearer(with_header("authorization", value), secrets)


@pytest.mark.parametrize("value", ["Bearer s\u00e9cret", "bearer s\u00e9cret", "BEARER  s\u00e9cret "])
def test_a_bearer_token_is_let_in(value):
    verify_bearer(with_header("authorization", value), ["new", "s\u00e9cret"])


@pytest.mark.parametrize("value", ["Bearer x", "Basic secret", "secret", "Bearer secretx", "Bearer secre", "Bearer"])
def test_a_wrong_bearer_token_is_refused(value):
    with pytest.raises(Unauthorized):
        verify_bearer(with_header("authorization", value), ["secret"])


def test_two_tokens_are_none():
    with pytest.raises(Unauthorized):
        verify_bearer(with_header("authorization", "Bearer secret", "Bearer other"), ["secret"])
    verify_bearer(with_header("authorization", "Bearer secret", "Bearer secret"), ["secret"])


def test_a_header_of_its_own_holds_the_bare_token():
    verify_bearer(with_header("x-token", "secret"), ["secret"], header="x-token")
    verify_bearer(with_header("authorization", "Bearer secret"), ["secret"], header="x-token")
    with pytest.raises(Unauthorized):
        verify_bearer(with_header("x-token", "Bearer secret"), ["secret"], header="x-token")


def test_every_secret_is_compared_in_constant_time(monkeypatch):
    compared = []

    def spy(given: bytes, expected: bytes) -> bool:
        compared.append(expected)
        return hmac.compare_digest(given, expected)

    class Spied:
        new = staticmethod(hmac.new)
        compare_digest = staticmethod(spy)

    monkeypatch.setattr(webhook, "hmac", Spied)
    verify_bearer(with_header("authorization", "Bearer one"), ["one", "two", "three"])
    assert compared == [b"one", b"two", b"three"]


def test_a_refusal_tells_a_stranger_nothing():
    with pytest.raises(Unauthorized) as caught:
        verify_bearer(with_header("authorization", "Bearer given"), ["expected"])
    assert "given" not in str(caught.value)
    assert "expected" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b'{"a": ', "not JSON"),
        (b"payload=%7B%7D", "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "deeply"),
        (b'{"a": NaN}', "number"),
        (b'{"a": -Infinity}', "number"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "number"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
    ],
)
def test_a_body_that_is_no_json_object_says_why(body, message):
    with pytest.raises(InvalidEvent, match=message):
        Request(body).document()


def test_a_fault_in_one_item_spoils_none_beside_it():
    def read_one(item):
        if item == "bad":
            raise InvalidEvent("thing", [("a.b", "Field required"), ("", "odd")])

    batch = read_each(["good", "bad", "good"], "things", read_one)
    assert batch.ignored == 2
    assert batch.faults == (("things.1.a.b", "Field required"), ("things.1", "odd"))


def test_too_many_items_are_refused():
    assert read_each([0] * webhook.MAX_ITEMS, "things", lambda _: None).ignored == webhook.MAX_ITEMS
    with pytest.raises(TooLarge, match="things"):
        read_each([0] * (webhook.MAX_ITEMS + 1), "things", lambda _: None)


def test_numbers_in_json_keep_their_value():
    assert Request(json.dumps({"a": 2**63}).encode()).document() == {"a": 2**63}
