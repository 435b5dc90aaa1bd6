"""API Gateway's REST proxy: from its event to a request, and from an answer to what it wants back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from paydown.errors import InvalidEvent
from paydown.sources.webhook import Request, TooLarge

MAX_BODY = 1024 * 1024
"""Bytes of a webhook's body."""

MAX_FIELDS = 20
"""Faults that an answer names; one body may have thousands."""

MAX_PATH = 200
"""Characters of a fault's path, since it may hold names that the sender chose."""

Answer = dict[str, Any]


def sender_of(event: Mapping[str, Any]) -> str:
    """The last part of the path `/webhooks/{sender}`; empty when there is none."""
    return str((event.get("pathParameters") or {}).get("sender") or "")


def request_of(event: Mapping[str, Any]) -> Request:
    """The request with its body's bytes as they were sent. Raises TooLarge and InvalidEvent."""
    return Request(body=_body(event), headers=_headers(event), query=event.get("queryStringParameters") or {})


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    # A byte takes at least one character, and in base64 more, so that a large body is refused before it is copied.
    if len(text) > MAX_BODY * (4 / 3 if event.get("isBase64Encoded") else 1) + 4:
        raise TooLarge("body")
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError):
        raise InvalidEvent("body", [("", "is not encoded as the gateway says")]) from None
    if len(body) > MAX_BODY:
        raise TooLarge("body")
    return body


def _headers(event: Mapping[str, Any]) -> dict[str, list[str]]:
    every: dict[str, list[str]] = {}
    # `headers` has only the last of several equal names; `multiValueHeaders` has them all.
    for name, values in (event.get("multiValueHeaders") or {}).items():
        every.setdefault(name.lower(), []).extend(values)
    for name, value in (event.get("headers") or {}).items():
        every.setdefault(name.lower(), [value])
    return every


def answer(status: int, document: Mapping[str, Any]) -> Answer:
    """An answer in JSON."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(document),
        "isBase64Encoded": False,
    }


def named(faults: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """The first faults, each with its `field` (a path, `body` for the whole) and a `message`."""
    return [{"field": (path or "body")[:MAX_PATH], "message": message} for path, message in faults[:MAX_FIELDS]]


def refusal(status: int, code: str, message: str, faults: Sequence[tuple[str, str]] = (), **more: Any) -> Answer:
    """An answer with `error.code` and `error.message`, and, if there are faults, `error.fields` and how many in all."""
    error: dict[str, Any] = {"code": code, "message": message}
    if faults:
        error |= {"fields": named(faults), "field_count": len(faults)}
    return answer(status, {"error": error, **more})
