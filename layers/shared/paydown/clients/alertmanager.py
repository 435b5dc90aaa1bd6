"""Alertmanager, through its API version 2: the alerts that fire."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from paydown.clients.web import Web
from paydown.errors import PermanentError
from paydown.inventory import Alertmanager

MOST_BYTES = 32 * 1024 * 1024
"""Of an answer: about 30,000 alerts."""

FIRING = "/api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=false"
"""What Alertmanager would send: what is silenced or inhibited, or has just come in, it does not."""


class AlertmanagerApi:
    """One Alertmanager. Every method may raise RetryableError and PermanentError."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def ping(self) -> None:
        """Make sure that it is one, and that it lets us in."""
        if not isinstance(self._web.call("GET", "/api/v2/status").data, dict):
            raise PermanentError("the status of Alertmanager has not the documented shape")

    def firing(self, receiver: str) -> list[dict[str, Any]]:
        """The alerts that fire and go to this receiver, as its webhook shows them: `status` is "firing"."""
        found = self._web.call("GET", FIRING).data
        if not isinstance(found, list):
            raise PermanentError("the alerts of Alertmanager have not the documented shape")
        return [
            {**alert, "status": "firing"}
            for alert in found
            if isinstance(alert, dict) and receiver in _receivers(alert)
        ]


def open_alertmanager(entry: Alertmanager, secret: Callable[[str], Any]) -> AlertmanagerApi:
    """The client of an Alertmanager; nothing is sent before its first use. `secret` is `paydown.clients.aws.secret`."""

    def authorise() -> dict[str, str]:
        return {} if entry.secret is None else credentials(entry.secret, secret(entry.secret))

    return AlertmanagerApi(Web(entry.url, authorise, {"Accept": "application/json"}, most=MOST_BYTES))


def credentials(name: str, content: Any) -> dict[str, str]:
    """The header that the content of the secret `name` means. Raises PermanentError, which never shows it."""
    match content:
        case {"token": str(token)}:
            return {"Authorization": f"Bearer {token}"}
        case {"username": str(username), "password": str(password)}:
            given = base64.b64encode(f"{username}:{password}".encode()).decode()
            return {"Authorization": f"Basic {given}"}
    raise PermanentError(f"the secret {name} must hold a token, or username and password")


def _receivers(alert: dict[str, Any]) -> set[str]:
    listed = alert.get("receivers")
    return {str(one.get("name")) for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
