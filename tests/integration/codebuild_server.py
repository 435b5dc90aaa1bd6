"""AWS CodeBuild and its logs on loopback, in the shapes which the API references document; no build ever runs."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.integration.http_server import HttpServer, answered


class CodeBuild:
    """One project, `images`. The emulator and moto forget the variables of a build, by which it is found again."""

    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[str] = []
        self.http = HttpServer(self._respond)
        self.url = self.http.url

    def close(self) -> None:
        self.http.close()

    def end(self, status: str) -> None:
        """The newest build ends like this."""
        self.builds[-1] |= {"buildStatus": status, "buildComplete": True}

    def _respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        operation = handler.headers["X-Amz-Target"].rpartition(".")[2]
        asked = json.loads(body)
        self.asked.append((operation, asked))
        if asked.get("projectName", "images") != "images":
            fault = {"__type": "ResourceNotFoundException", "message": "Project cannot be found"}
            answered(handler, 400, json.dumps(fault).encode())
            return
        answered(handler, 200, json.dumps(getattr(self, f"_{operation}")(asked)).encode())

    def _StartBuild(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 -- the operation's name
        known = next((one for one in self.builds if one["token"] == asked["idempotencyToken"]), None)
        if known is None:
            number = len(self.builds) + 1
            known = {
                "id": f"images:{number}",
                "buildStatus": "IN_PROGRESS",
                "environment": {"environmentVariables": asked["environmentVariablesOverride"]},
                "logs": {"groupName": "/aws/codebuild/images", "streamName": str(number)},
                "phases": [],
                "token": asked["idempotencyToken"],
            }
            self.builds.append(known)
        return {"build": _told(known)}

    def _ListBuildsForProject(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 -- the operation's name
        assert asked["sortOrder"] == "DESCENDING"
        return {"ids": [one["id"] for one in reversed(self.builds)]}

    def _BatchGetBuilds(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 -- the operation's name
        return {"builds": [_told(one) for one in self.builds if one["id"] in asked["ids"]]}

    def _GetLogEvents(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 -- the operation's name
        return {"events": [{"timestamp": 0, "message": line} for line in self.lines[-asked["limit"] :]]}


def _told(build: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in build.items() if name != "token"}
