"""What the senders of webhooks share: the request, the two proofs of who sent it, and reading a body item by item.

A proof is checked on the raw bytes, before anything is parsed, in constant time and against every secret, so that a
secret can be changed while both the old and the new one are in use.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from paydown.errors import InvalidEvent, PaydownError, PermanentError
from paydown.events import Event

MAX_ITEMS = 1_000
"""The most events or alerts that one body may hold."""

Model = TypeVar("Model", bound=BaseModel)


class Unauthorized(PaydownError):
    """The request does not prove that it comes from the sender. It says no more, since the caller is a stranger."""

    def __init__(self) -> None:
        super().__init__("the request is not from the sender")


class TooLarge(PaydownError):
    """The body is larger, or holds more events, than one request may."""


@dataclass(frozen=True)
class Request:
    """A webhook as it came in.

    `headers` holds every value of a header under its name in lower case; `query` the parameters of the address, which a
    signature does not cover; `body` the bytes as they were sent.
    """

    body: bytes
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """The value of a header, given in lower case; None when it is missing, or there with different values."""
        values = set(self.headers.get(name, ()))
        return values.pop() if len(values) == 1 else None

    def document(self) -> dict[str, Any]:
        """The body as a JSON object. Raises InvalidEvent that says what is wrong, without the body's content."""
        try:
            document = json.loads(self.body.decode(), parse_constant=_no_constant)
        except UnicodeDecodeError:
            raise InvalidEvent("body", [("", "is not UTF-8")]) from None
        except json.JSONDecodeError as error:
            raise InvalidEvent("body", [("", f"is not JSON: {error.msg} at character {error.pos}")]) from None
        except RecursionError:
            raise InvalidEvent("body", [("", "is nested too deeply")]) from None
        except ValueError:
            raise InvalidEvent("body", [("", "holds a number that JSON does not have, or a very long one")]) from None
        if not isinstance(document, dict):
            raise InvalidEvent("body", [("", "must be a JSON object")])
        return document


@dataclass(frozen=True)
class Batch:
    """What a body says: its events, how many items need no action, and the faults of those that are not understood."""

    events: tuple[Event, ...] = ()
    ignored: int = 0
    faults: tuple[tuple[str, str], ...] = ()


def secrets_of(document: Any) -> list[str]:
    """The secrets that prove a sender: of a text, or of `{"current": …, "previous": …}` while it is changed.

    Raises PermanentError when there is none.
    """
    values = [document.get("current"), document.get("previous")] if isinstance(document, Mapping) else [document]
    # A secret that was put there from a file ends in a line break, which no header can hold.
    found = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if not found:
        raise PermanentError('the secret of this sender is neither a text nor {"current": …}')
    return found


def verify_bearer(request: Request, secrets: Sequence[str], header: str | None = None) -> None:
    """The sender sends the secret itself: as `Authorization: Bearer SECRET`, or alone in `header` (lower case).

    Raises Unauthorized.
    """
    token = request.header(header) if header else None
    if token is None:
        scheme, _, credentials = (request.header("authorization") or "").partition(" ")
        token = credentials.strip() if scheme.lower() == "bearer" else None
    _compare(token, secrets)


def verify_signature(request: Request, secrets: Sequence[str]) -> None:
    """The sender signs the body: `X-Hub-Signature-256: sha256=` and the hexadecimal HMAC-SHA256 under the secret.

    Raises Unauthorized.
    """
    expected = [hmac.new(_bytes(secret), request.body, hashlib.sha256).hexdigest() for secret in secrets if secret]
    _compare(request.header("x-hub-signature-256"), [f"sha256={digest}" for digest in expected])


def _compare(given: str | None, expected: Sequence[str]) -> None:
    # Every secret is compared, so that the time taken does not tell which one was near.
    equal = [hmac.compare_digest(_bytes(given or ""), _bytes(one)) for one in expected if one]
    if given is None or not any(equal):
        raise Unauthorized


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def parse(model: type[Model], data: Any, what: str) -> Model:
    """`data` as a `model`. Raises InvalidEvent with the path of each fault, and without the values."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidEvent.from_validation(what, error) from None


def read_each(items: Sequence[Any], path: str, read_one: Callable[[Any], Event | None]) -> Batch:
    """The events of a body's items; one that cannot be understood is a fault under `path`, and spoils none beside it.

    `read_one` returns None for an item that needs no action, and raises InvalidEvent. Raises TooLarge.
    """
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"{path} holds more than {MAX_ITEMS} items")
    events: list[Event] = []
    faults: list[tuple[str, str]] = []
    ignored = 0
    for index, item in enumerate(items):
        try:
            event = read_one(item)
        except (InvalidEvent, ValidationError) as error:
            found = (
                error.faults if isinstance(error, InvalidEvent) else InvalidEvent.from_validation(path, error).faults
            )
            faults += [(f"{path}.{index}.{name}".rstrip("."), message) for name, message in found]
        else:
            if event is None:
                ignored += 1
            else:
                events.append(event)
    return Batch(tuple(events), ignored, tuple(faults))


def _no_constant(_: str) -> NoReturn:
    raise ValueError("no JSON number")
