"""GitHub's issues on loopback, in the shapes which its REST reference documents."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.http_server import HttpServer, answered


def _now(seconds: float = 0) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


class Github:
    """Issues of `acme/shop`, kept in memory. `login` is whose token it is."""

    def __init__(self, login: str = "paydown-bot") -> None:
        self.login = login
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.pulls: dict[str, list[dict[str, Any]]] = {}
        self.tokens: set[str] = set()
        self.before_post: Callable[[], None] = lambda: None
        self._next = 1_000
        self._lock = threading.Lock()
        self.http = HttpServer(self._respond)
        self.url = f"{self.http.url}/repos/acme/shop"

    @property
    def asked(self) -> list[tuple[str, str]]:
        return self.http.asked

    def writes(self) -> list[tuple[str, str]]:
        """The requests that changed something."""
        return [(method, path) for method, path in self.asked if method != "GET"]

    def close(self) -> None:
        self.http.close()

    def _respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.tokens.add(handler.headers["Authorization"])
        status, data = self.answer(handler.command, urlsplit(handler.path), json.loads(body) if body else None)
        answered(handler, status, b"" if data is None else json.dumps(data).encode())

    def open(self, number: int, title: str = "t", body: str | None = "b", user: str = "octocat", **more: Any) -> None:
        self.issues[number] = {
            "number": number, "title": title, "body": body, "state": "open", "state_reason": None,
            "user": {"login": user}, "labels": [], **more,
        }  # fmt: skip
        self.comments[number] = []

    def add(self, number: int, body: str, user: str) -> dict[str, Any]:
        with self._lock:
            self._next += 1
            at = _now()
            made = {
                "id": self._next, "body": body, "user": {"login": user}, "issue_url": f"{self.url}/issues/{number}",
                "created_at": at, "updated_at": at,
            }  # fmt: skip
            self.comments[number].append(made)
            return made

    def answer(self, method: str, url: Any, body: Any) -> tuple[int, Any]:
        if (method, url.path) == ("GET", "/user"):
            return 200, {"login": self.login}
        path = url.path.removeprefix("/repos/acme/shop")
        if path == "/issues":
            return self._issues(method, parse_qs(url.query), body)
        if method == "DELETE" and (found := re.fullmatch(r"/issues/comments/(\d+)", path)):
            for comments in self.comments.values():
                comments[:] = [one for one in comments if one["id"] != int(found[1])]
            return 204, None
        if method in ("GET", "PATCH") and (found := re.fullmatch(r"/issues/comments/(\d+)", path)):
            return self._one(int(found[1]), body)
        found = re.fullmatch(r"/issues/(\d+)(/comments)?", path)
        if found is None or int(found[1]) not in self.issues:
            return self._elsewhere(path)
        number = int(found[1])
        if found[2] and method == "GET":
            query = parse_qs(url.query)
            page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["30"])[0])
            return 200, self.comments[number][(page - 1) * size : page * size]
        if found[2]:
            self.before_post()
            return 201, self.add(number, body["body"], self.login)
        if method == "PATCH":
            self.issues[number].update(body)
        return 200, self.issues[number]

    def _elsewhere(self, path: str) -> tuple[int, Any]:
        commit = re.fullmatch(r"/commits/([0-9a-f]{40})/pulls", path)
        if commit is None:
            return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}
        known = self.pulls.get(commit[1])
        return (422, {"message": f"No commit found for SHA: {commit[1]}"}) if known is None else (200, known)

    def _issues(self, method: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "POST":
            number = max(self.issues, default=0) + 1
            self.open(number, body["title"], body["body"], self.login)
            return 201, self.issues[number]
        wanted = query.get("creator", [None])[0]
        found = [one for one in self.issues.values() if wanted in (None, one["user"]["login"])]
        found = found[::-1] if query["direction"] == ["desc"] else found
        page, size = int(query["page"][0]), int(query["per_page"][0])
        return 200, found[(page - 1) * size : page * size]

    def _one(self, id: int, change: Any) -> tuple[int, Any]:
        for comment in (one for comments in self.comments.values() for one in comments):
            if comment["id"] == id:
                if change is not None:
                    comment |= {"body": change["body"], "updated_at": _now(seconds=1)}
                return 200, comment
        return 404, {"message": "Not Found"}
