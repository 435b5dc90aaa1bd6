"""What the API server answers when it refuses: a `Status` object with a code and a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ApiError(Exception):
    """A refusal: `code` is the HTTP status, `reason` the word for programs, `details` as in metav1.StatusDetails."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})

    @property
    def retry_after(self) -> int:
        """Seconds for the Retry-After header; 0 means that the header is left out."""
        return int(self.details.get("retryAfterSeconds", 0))

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        body["code"] = self.code
        return body


def success(code: int = 200, **details: str) -> dict[str, Any]:
    """The `Status` of something that worked and has no object to show."""
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        body["details"] = {name: value for name, value in details.items() if value}
    if code != 200:
        body["code"] = code
    return body


def _who(plural: str, group: str, name: str) -> str:
    return f'{plural}.{group} "{name}"' if group else f'{plural} "{name}"'


def not_found(plural: str, name: str, group: str = "") -> ApiError:
    """404: no object of this name."""
    details = {"name": name, "group": group, "kind": plural}
    return ApiError(404, "NotFound", f"{_who(plural, group, name)} not found", {k: v for k, v in details.items() if v})


def no_such_path() -> ApiError:
    """404: no resource is served there."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, name: str, group: str = "") -> ApiError:
    """409: the name is taken."""
    details = {"name": name, "kind": plural, **({"group": group} if group else {})}
    return ApiError(409, "AlreadyExists", f"{_who(plural, group, name)} already exists", details)


def conflict(plural: str, name: str, why: str, group: str = "") -> ApiError:
    """409: the caller's picture of the object is out of date, or a precondition failed."""
    details = {"name": name, "kind": plural, **({"group": group} if group else {})}
    message = f"Operation cannot be fulfilled on {_who(plural, group, name)}: {why}"
    return ApiError(409, "Conflict", message, details)


def bad_request(message: str) -> ApiError:
    """400: the request itself cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(plural: str, name: str, why: str, group: str = "") -> ApiError:
    """403: understood, and refused."""
    return ApiError(
        403, "Forbidden", f"{_who(plural, group, name)} is forbidden: {why}", {"name": name, "kind": plural}
    )


def invalid(kind: str, group: str, name: str, faults: Sequence[tuple[str, str]]) -> ApiError:
    """422: the object breaks its schema. `faults` are (field path, message) pairs."""
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": field} for field, message in faults]
    listed = [f"{field}: {message}" for field, message in faults]
    text = listed[0] if len(listed) == 1 else "[" + ", ".join(listed) + "]"
    full = f"{kind}.{group}" if group else kind
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{full} "{name}" is invalid: {text}', details)


def expired(message: str) -> ApiError:
    """410: a resource version or a paging token that is no longer kept."""
    return ApiError(410, "Expired", message)


def too_many_requests(cause: str, seconds: int = 0) -> ApiError:
    """429 of the eviction subresource: the disruption budget says no (for now)."""
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", message, details)


def unsupported_media_type(content_type: str, supported: Sequence[str]) -> ApiError:
    """415: a body, or a kind of patch, that this resource does not take."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(supported)}"
    return ApiError(415, "UnsupportedMediaType", f"{message} (got {content_type or 'none'})")
