"""Expecting an API server to refuse, and looking at how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes.client.rest import ApiException


@dataclass
class Refusal:
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def refusal(code: int, reason: str) -> Iterator[Refusal]:
    """The block must end in an ApiException of this status code and reason ("" for a Status without one)."""
    seen = Refusal()
    with pytest.raises(ApiException) as caught:
        yield seen
    body = json.loads(caught.value.body)
    assert (caught.value.status, body["code"], body.get("reason", "")) == (code, code, reason), body
    assert (body["kind"], body["status"]) == ("Status", "Failure")
    seen.message, seen.details = body.get("message", ""), body.get("details", {})
    seen.headers = {name.lower(): value for name, value in (caught.value.headers or {}).items()}
