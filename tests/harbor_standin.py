"""One repository of Harbor on loopback, in the shapes which its API description documents (v2.0 of 2.8 and later).

The list of artifacts leaves out accessories (after it has been cut into pages), and what an index refers to while it
has no tag. Deleting takes along
accessories and, of an index, children that have neither a tag nor another index; what is referred to is refused (412).
The registry API asks for a token, as Harbor's does; the other one takes Basic.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.integration.http_server import HttpServer, answered

KNOWN = {"username": "robot$paydown", "password": "hush"}
BASIC = "Basic " + base64.b64encode(f"{KNOWN['username']}:{KNOWN['password']}".encode()).decode()
NEVER = "0001-01-01T00:00:00.000Z"


@dataclass
class Artifact:
    """A manifest, when it was pushed, its tags with the moment of each, and what it is attached to."""

    digest: str
    raw: bytes
    media_type: str
    pushed: datetime
    tags: dict[str, datetime] = field(default_factory=dict)
    subject: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def children(self) -> list[str]:
        return [one["digest"] for one in self.document.get("manifests") or ()]


class Harbor:
    """`artifacts` by digest; `immutable` are digests that a rule protects; `asked` is what was called."""

    def __init__(self, repository: str = "team/app") -> None:
        self.repository = repository
        self.artifacts: dict[str, Artifact] = {}
        self.immutable: set[str] = set()
        self.on_page: Any = lambda number: None
        self.http = HttpServer(self._respond)
        self.url = self.http.url

    @property
    def asked(self) -> list[tuple[str, str]]:
        return self.http.asked

    def close(self) -> None:
        self.http.close()

    def put(
        self,
        raw: bytes,
        media_type: str,
        digest: str,
        *,
        tags: Iterable[str] = (),
        age: timedelta = timedelta(),
        subject: str | None = None,
    ) -> str:
        """Push a manifest under these tags. `subject`: attached without its manifest saying so, as cosign does it."""
        at = datetime.now(UTC) - age
        for tag in tags:
            for other in self.artifacts.values():
                other.tags.pop(tag, None)
        attached = subject or (json.loads(raw).get("subject") or {}).get("digest")
        one = self.artifacts.setdefault(digest, Artifact(digest, raw, media_type, at, subject=attached))
        one.tags |= dict.fromkeys(tags, at)
        return digest

    def parents(self, digest: str) -> list[str]:
        return [one.digest for one in self.artifacts.values() if digest in one.children]

    def rows(self) -> list[Artifact]:
        """What pages are cut from, newest first; what is attached to something that is there is left out later."""
        found = [one for one in self.artifacts.values() if one.tags or not self.parents(one.digest)]
        return sorted(found, key=lambda one: one.pushed, reverse=True)

    def displayed(self, one: Artifact) -> bool:
        return one.subject not in self.artifacts

    def delete(self, digest: str, *, root: bool = True) -> int:
        one = self.artifacts[digest]
        if not root and (one.tags or self.parents(digest)):
            return 200
        if self.parents(digest) or digest in self.immutable:
            return 412
        del self.artifacts[digest]
        for other in list(self.artifacts.values()):
            if other.subject == digest and other.digest in self.artifacts:
                self.delete(other.digest)
        for child in one.children:
            if child in self.artifacts:
                self.delete(child, root=False)
        return 200

    def shape(self, one: Artifact, *, accessories: bool) -> dict[str, Any]:
        """An artifact as the API tells it."""
        document = one.document
        blobs = [*(document.get("layers") or ()), *([document["config"]] if document.get("config") else ())]
        attached = [it for it in self.artifacts.values() if it.subject == one.digest]
        return {
            "id": 1 + list(self.artifacts).index(one.digest),
            "type": "IMAGE",
            "digest": one.digest,
            "media_type": (document.get("config") or {}).get("mediaType", one.media_type),
            "manifest_media_type": one.media_type,
            "size": len(one.raw) + sum(blob["size"] for blob in blobs),
            "push_time": _said(one.pushed),
            "pull_time": NEVER,
            "tags": [
                {"id": 1, "name": name, "push_time": _said(at), "pull_time": NEVER, "immutable": False}
                for name, at in one.tags.items()
            ]
            or None,
            "references": [
                {"parent_id": 1, "child_id": 2, "child_digest": child, "platform": {"os": "linux"}}
                for child in one.children
            ]
            or None,
            "accessories": (
                [
                    {"id": 1, "digest": it.digest, "subject_artifact_digest": one.digest, "type": "signature.cosign"}
                    for it in attached
                ]
                if accessories and attached
                else None
            ),
        }

    def _respond(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        parts = urlsplit(handler.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        said = handler.headers["Authorization"]
        if parts.path == "/service/token":
            self._say(handler, *((200, {"token": "t0ken"}) if said == BASIC else (401, _errors("UNAUTHORIZED"))))
        elif parts.path.startswith("/v2/"):
            self._registry(handler, parts.path, said)
        elif said != BASIC:
            self._say(handler, 401, _errors("UNAUTHORIZED"))
        else:
            self._api(handler, parts.path, asked)

    def _registry(self, handler: BaseHTTPRequestHandler, path: str, said: str | None) -> None:
        if said != "Bearer t0ken":
            challenge = f'Bearer realm="{self.url}/service/token",service="harbor-registry"'
            answered(handler, 401, json.dumps(_errors("UNAUTHORIZED")).encode(), WWW_Authenticate=challenge)
            return
        one = self.artifacts.get(path.removeprefix(f"/v2/{self.repository}/manifests/"))
        if one is None:
            self._say(handler, 404, _errors("MANIFEST_UNKNOWN"))
        else:
            answered(handler, 200, one.raw, Content_Type=one.media_type, Docker_Content_Digest=one.digest)

    def _api(self, handler: BaseHTTPRequestHandler, path: str, asked: dict[str, str]) -> None:
        project, _, name = self.repository.partition("/")
        head, _, rest = path.removeprefix("/api/v2.0/projects/").partition("/repositories/")
        encoded, _, rest = rest.partition("/artifacts")
        digest = rest.removeprefix("/")
        accessories = asked.get("with_accessory") == "true"
        here = (head, unquote(unquote(encoded))) == (project, name) and "%2F" not in encoded
        if not here or (digest and digest not in self.artifacts):
            self._say(handler, 404, _errors("NOT_FOUND"))
        elif handler.command == "DELETE":
            status = self.delete(digest)
            answered(handler, status, b"" if status == 200 else json.dumps(_errors("PRECONDITION")).encode())
        elif digest:
            self._say(handler, 200, self.shape(self.artifacts[digest], accessories=accessories))
        else:
            number, size = int(asked["page"]), int(asked["page_size"])
            rows = self.rows()
            total = sum(map(self.displayed, rows))
            cut = [one for one in rows[(number - 1) * size : number * size] if self.displayed(one)]
            page = [self.shape(one, accessories=accessories) for one in cut]
            answered(handler, 200, json.dumps(page).encode(), X_Total_Count=str(total))
            self.on_page(number)

    def _say(self, handler: BaseHTTPRequestHandler, status: int, data: Any) -> None:
        answered(handler, status, json.dumps(data).encode(), Content_Type="application/json")


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _errors(code: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": code.lower()}]}
