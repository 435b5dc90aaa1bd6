"""API Gateway's REST proxy: what its event says, and the answers that it wants back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from paydown.errors import InvalidInput
from paydown.sources.webhook import Request

MAX_BODY = 16 * 1024
"""Bytes of a decision."""
MAX_FIELDS = 20
"""Faults that an answer names."""

Answer = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class BadRequest(InvalidInput):
    """The body cannot be understood; the faults name its fields."""


def parameter(event: Mapping[str, Any], name: str) -> str:
    """A part of the path; empty when there is none."""
    return str(_mapping(event.get("pathParameters")).get(name) or "")


def query(event: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of the address."""
    return {str(name): str(value) for name, value in _mapping(event.get("queryStringParameters")).items()}


def caller_arn(event: Mapping[str, Any]) -> str:
    """Who calls, as IAM told API Gateway; empty when it did not ask. What the caller wrote is nowhere in here."""
    arn = _mapping(_mapping(event.get("requestContext")).get("identity")).get("userArn")
    return arn if isinstance(arn, str) else ""


def body_as(model: type[Model], event: Mapping[str, Any]) -> Model:
    """The body as a `model`. Raises BadRequest."""
    document = Request(_body(event)).document()
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BadRequest.from_validation("body", error) from None


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    if not isinstance(text, str) or len(text) > MAX_BODY * 2:
        raise BadRequest("body", [("", f"is over {MAX_BODY} bytes")])
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError):
        raise BadRequest("body", [("", "is not encoded as the gateway says")]) from None
    if len(body) > MAX_BODY:
        raise BadRequest("body", [("", f"is over {MAX_BODY} bytes")])
    return body


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def answer(status: int, document: Mapping[str, Any]) -> Answer:
    """An answer in JSON."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document), "isBase64Encoded": False}


def refusal(status: int, code: str, message: str, faults: Sequence[tuple[str, str]] = ()) -> Answer:
    """An answer with `error.code` and `error.message`, and, if there are faults, `error.fields`."""
    error: dict[str, Any] = {"code": code, "message": message}
    if faults:
        error["fields"] = [{"field": path[:200] or "body", "message": text} for path, text in faults[:MAX_FIELDS]]
    return answer(status, {"error": error})
