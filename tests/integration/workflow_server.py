"""GitHub Actions on loopback, in the shapes which its REST reference documents; no workflow ever runs."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.http_server import HttpServer, answered

BASE = "/repos/acme/images/actions"


class Actions:
    """The workflow `rebuild.yml` of `acme/images`, whose `run-name` shows its input `paydown_run`.

    A run is listed from the moment at which a test says so (`listed`).
    """

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.dispatches: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.listed = True
        self.http = HttpServer(self._respond)
        self.url = f"{self.http.url}/repos/acme/images"

    def close(self) -> None:
        self.http.close()

    def end(self, conclusion: str) -> None:
        """The newest run ends like this."""
        self.runs[-1] |= {"status": "completed", "conclusion": conclusion}

    def _respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.tokens.add(handler.headers["Authorization"])
        parts = urlsplit(handler.path)
        status, data = self._answer(handler.command, parts.path, parse_qs(parts.query), body)
        answered(handler, status, json.dumps(data).encode() if data is not None else b"")

    def _answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", f"{BASE}/workflows/rebuild.yml/dispatches"):
            asked = json.loads(body)
            if asked["ref"] == "gone":
                return 422, {"message": "No ref found for: gone"}
            self.dispatches.append(asked)
            number = len(self.dispatches)
            self.runs.append(
                {
                    "id": number,
                    "name": f"rebuild {asked['inputs']['paydown_run']}",
                    "display_title": f"rebuild {asked['inputs']['paydown_run']}",
                    "status": "queued",
                    "conclusion": None,
                    "html_url": f"https://github.com/acme/images/actions/runs/{number}",
                }
            )
            return 204, None
        if (method, path) == ("GET", f"{BASE}/workflows/rebuild.yml/runs"):
            assert query["event"] == ["workflow_dispatch"]
            size, page = int(query["per_page"][0]), int(query["page"][0])
            shown = self.runs[::-1][(page - 1) * size : page * size] if self.listed else []
            return 200, {"total_count": len(self.runs), "workflow_runs": shown}
        if method == "GET" and path.startswith(f"{BASE}/runs/") and path.endswith("/jobs"):
            steps = [{"name": "Checkout", "conclusion": "success"}, {"name": "Build", "conclusion": "failure"}]
            return 200, {"total_count": 1, "jobs": [{"name": "rebuild", "conclusion": "failure", "steps": steps}]}
        return 404, {"message": "Not Found"}
