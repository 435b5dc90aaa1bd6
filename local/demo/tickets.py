"""A person who writes tickets in the local Roundup, and reads what became of them."""

from __future__ import annotations

import base64
import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from local.roundup import AUTOMATION_USER, PERSON, Roundup


@dataclass(frozen=True)
class Person:
    """The tracker's ordinary user, over REST."""

    tracker: Roundup

    def write(self, title: str, text: str) -> str:
        """A new ticket; its id."""
        message = self._call("POST", "msg", {"content": text})["id"]
        return str(self._call("POST", "issue", {"title": title, "messages": [message]})["id"])

    def read(self, ticket: str) -> dict[str, Any]:
        """`status` and `comments` (those of Paydown) of a ticket."""
        issue = self._call("GET", f"issue/{ticket}?@verbose=2")["attributes"]
        comments = []
        for message in issue["messages"]:
            read = self._call("GET", f"msg/{message['id']}?@verbose=3")["attributes"]
            if (read["author"] or {}).get("username") == AUTOMATION_USER:
                comments.append(str(read["content"]["data"] if isinstance(read["content"], dict) else read["content"]))
        return {"status": (issue["status"] or {}).get("name"), "comments": comments}

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        secret = base64.b64encode(f"{PERSON}:{self.tracker.passwords[PERSON]}".encode()).decode()
        headers = {
            "Authorization": f"Basic {secret}",
            "X-Requested-With": "demo",
            "Origin": self.tracker.url.rsplit("/", 2)[0],
            "Referer": self.tracker.url,
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.tracker.url}rest/data/{path}"
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 -- loopback
            return json.load(answer)["data"]
