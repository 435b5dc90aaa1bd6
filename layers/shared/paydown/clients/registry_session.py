"""The way to a registry: who asks, lists that come in pages, and content of any length.

A registry that wants to know who asks says how in its 401: by Basic, or by a token that its authorisation service gives
for one repository (https://distribution.github.io/distribution/spec/auth/token/). Whatever host an answer names, our
credentials go to the one that we know.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from paydown.clients.web import Answer, Web
from paydown.errors import PermanentError

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 3
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')

Credentials = Mapping[str, str]
T = TypeVar("T")


class RegistrySession:
    """Calls to one registry, with our credentials when it wants them.

    `credentials` is asked then: `{"username", "password"}`, or empty for a stranger. A `scope` may be several, with a
    space between them.
    """

    def __init__(self, url: str, credentials: Callable[[], Credentials]) -> None:
        self._web = Web(url, dict, {"Accept": "application/json"})
        self._prefix = urlsplit(url).path.rstrip("/")
        self._credentials = credentials
        self._authorised: dict[str, str] = {}

    def _pages(self, path: str, scope: str) -> Iterator[Mapping[str, Any]]:
        seen = set()
        following: str | None = path
        while following is not None:
            if following in seen:
                raise PermanentError("the registry's pages go round in a circle")
            seen.add(following)
            answer = self._call("GET", following, scope)
            if not isinstance(answer.data, dict):
                raise PermanentError(f"{path.partition('?')[0]} has not the documented shape")
            yield answer.data
            link = _NEXT.search(answer.headers.get("link", ""))
            following = self._here(link[1], "next page") if link else None

    def _here(self, address: str, what: str) -> str:
        """The path of an address that the registry names, below its API."""
        parts = urlsplit(address)
        path = parts.path.removeprefix(self._prefix)
        if not path.startswith("/v2/"):
            raise PermanentError(f"the registry's {what} lies outside its API")
        return f"{path}?{parts.query}"

    def _call(
        self,
        method: str,
        path: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        def ask(added: Mapping[str, str]) -> Answer:
            return self._web.call(
                method, path, headers={**(headers or {}), **added}, content=content, also=(401, *also)
            )

        return self._answered(scope, ask, lambda answer: answer)

    def _flow(self, path: str, scope: str) -> Iterator[bytes]:
        """The bytes at `path`. A redirect is followed, without our credentials: content may lie in another place."""

        def ask(added: Mapping[str, str]) -> tuple[Answer, Iterator[bytes]]:
            return self._web.stream(path, added, also=(401, *REDIRECTS))

        answer, pieces = self._answered(scope, ask, lambda found: found[0])
        for _ in range(MOST_REDIRECTS):
            if answer.status not in REDIRECTS:
                return pieces
            parts = urlsplit(answer.headers.get("location", ""))
            if not parts.netloc:
                raise PermanentError("the registry redirects to no address")
            place = Web(f"{parts.scheme}://{parts.netloc}", dict, {}, speaks_json=False)
            answer, pieces = place.stream(f"{parts.path}?{parts.query}", also=REDIRECTS)
        if answer.status in REDIRECTS:
            raise PermanentError("the registry's redirects do not end")
        return pieces

    def _answered(self, scope: str, ask: Callable[[Mapping[str, str]], T], head: Callable[[T], Answer]) -> T:
        known = self._authorised.get(scope)
        found = ask({"Authorization": known} if known else {})
        if head(found).status != 401:
            return found
        # At first nobody knows what it wants, and a token lasts for minutes only.
        self._authorised[scope] = self._authorise(head(found).headers.get("www-authenticate", ""), scope)
        found = ask({"Authorization": self._authorised[scope]})
        if head(found).status == 401:
            raise PermanentError(f"the registry at {self._web.base} does not accept our credentials")
        return found

    def _authorise(self, challenge: str, scope: str) -> str:
        """What the header `Authorization` must say to answer a challenge."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return self._basic()
        asked = dict(_PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or not asked.get("realm"):
            raise PermanentError("the registry wants to know who asks, in a way that is not known here")
        return f"Bearer {self._token(asked['realm'], asked.get('service', ''), scope)}"

    def _basic(self) -> str:
        known = self._credentials()
        if not known:
            raise PermanentError("the registry wants credentials, and the inventory names no secret")
        return "Basic " + base64.b64encode(f"{known['username']}:{known['password']}".encode()).decode()

    def _token(self, realm: str, service: str, scope: str) -> str:
        parts = urlsplit(realm)
        own = {"Authorization": self._basic()} if self._credentials() else {}
        query = urlencode([("service", service), *(("scope", one) for one in scope.split())])
        authority = Web(f"{parts.scheme}://{parts.netloc}", lambda: own, {"Accept": "application/json"})
        answer = authority.call("GET", f"{parts.path}?{'&'.join(filter(None, (parts.query, query)))}")
        found = answer.data.get("token") or answer.data.get("access_token") if isinstance(answer.data, dict) else None
        if not isinstance(found, str) or not found.isprintable():
            raise PermanentError("the registry's authorisation service gives no token")
        return found
