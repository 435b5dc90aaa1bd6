"""A CNCF Distribution registry, through its API: which tags it has, and which digests they point to.

Reading only. A registry that wants to know who asks says how in its 401: by Basic, or by a token that its authorisation
service gives for one repository (https://distribution.github.io/distribution/spec/auth/token/). What a registry names
is outside text, and becomes part of an address only if it has the form of a repository, a tag or a digest.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from paydown.clients.web import Answer, NotThere, Web
from paydown.errors import PermanentError
from paydown.inventory import Registry

PAGE = 100
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
"""What a tag may point to. A registry converts, and so tells another digest, for a client that does not take it."""

CATALOG = "registry:catalog:*"
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,128}")
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')
_WILD = frozenset("*?[")

Credentials = Mapping[str, str]


class RegistryApi:
    """One registry. Every method may raise RetryableError and PermanentError.

    `credentials` is asked when the registry wants them: `{"username", "password"}`, or empty for a stranger.
    """

    def __init__(self, url: str, credentials: Callable[[], Credentials]) -> None:
        self._web = Web(url, dict, {"Accept": "application/json"})
        self._prefix = urlsplit(url).path.rstrip("/")
        self._credentials = credentials
        self._authorised: dict[str, str] = {}

    def ping(self) -> None:
        """Make sure that it is a registry, and that it takes our credentials."""
        self._call("GET", "/v2/", "")

    def repositories(self, patterns: tuple[str, ...], after: str = "") -> Iterator[str]:
        """The repositories that match one of the patterns (`*`, `?`), in the registry's order, beyond `after`."""
        if not any(_WILD & set(pattern) for pattern in patterns):
            yield from (name for name in sorted(set(patterns)) if name > after)
            return
        query = {"n": PAGE, **({"last": after} if after else {})}
        for page in self._pages(f"/v2/_catalog?{urlencode(query)}", CATALOG):
            for name in _texts(page, "repositories", _REPOSITORY):
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    yield name

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; none when it is gone."""
        try:
            pages = list(self._pages(f"/v2/{_checked(repository)}/tags/list?n={PAGE}", _scope(repository)))
        except NotThere:
            return []
        return sorted({tag for page in pages for tag in _texts(page, "tags", _TAG)})

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest that a tag points to; None when it is gone."""
        path = f"/v2/{_checked(repository)}/manifests/{quote(tag, safe='')}"
        try:
            answer = self._call("HEAD", path, _scope(repository), {"Accept": MANIFESTS})
        except NotThere:
            return None
        found = answer.headers.get("docker-content-digest", "")
        if not _DIGEST.fullmatch(found):
            raise PermanentError(f"the registry tells no digest of {repository}:{tag}")
        return found

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
            following = self._next(answer.headers.get("link", ""))

    def _next(self, link: str) -> str | None:
        """The path of the next page, whatever host the link names: our credentials go to the one that we know."""
        found = _NEXT.search(link)
        if found is None:
            return None
        parts = urlsplit(found[1])
        path = parts.path.removeprefix(self._prefix)
        if not path.startswith("/v2/"):
            raise PermanentError("the registry's next page lies outside its API")
        return f"{path}?{parts.query}"

    def _call(self, method: str, path: str, scope: str, headers: Mapping[str, str] | None = None) -> Answer:
        known = self._authorised.get(scope)
        answer = self._ask(method, path, headers, known)
        if answer.status != 401:
            return answer
        # At first nobody knows what it wants, and a token lasts for minutes only.
        self._authorised[scope] = self._authorise(answer.headers.get("www-authenticate", ""), scope)
        answer = self._ask(method, path, headers, self._authorised[scope])
        if answer.status == 401:
            raise PermanentError(f"the registry at {self._web.base} does not accept our credentials")
        return answer

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None, authorisation: str | None) -> Answer:
        added = {"Authorization": authorisation} if authorisation else {}
        return self._web.call(method, path, headers={**(headers or {}), **added}, also=(401,))

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
        query = urlencode({"service": service, **({"scope": scope} if scope else {})})
        authority = Web(f"{parts.scheme}://{parts.netloc}", lambda: own, {"Accept": "application/json"})
        answer = authority.call("GET", f"{parts.path}?{'&'.join(filter(None, (parts.query, query)))}")
        found = answer.data.get("token") or answer.data.get("access_token") if isinstance(answer.data, dict) else None
        if not isinstance(found, str) or not found.isprintable():
            raise PermanentError("the registry's authorisation service gives no token")
        return found


def open_registry(registry: Registry, secret: Callable[[str], Any]) -> RegistryApi:
    """The client of a registry; nothing is sent before its first use. `secret` is `paydown.clients.aws.secret`."""

    def known() -> Credentials:
        if registry.secret is None:
            return {}
        content = secret(registry.secret)
        if not isinstance(content, dict) or not all(
            isinstance(content.get(it), str) for it in ("username", "password")
        ):
            raise PermanentError(f"the secret {registry.secret} must be a JSON object with username and password")
        return content

    return RegistryApi(registry.url, known)


def _texts(page: Mapping[str, Any], field: str, form: re.Pattern[str]) -> Iterator[str]:
    """The names in a page that have their form."""
    yield from (name for name in page.get(field) or () if isinstance(name, str) and form.fullmatch(name))


def _scope(repository: str) -> str:
    return f"repository:{repository}:pull"


def _checked(repository: str) -> str:
    if not _REPOSITORY.fullmatch(repository) or len(repository) > 255:
        raise PermanentError(f"{repository[:80]!r} is no name of a repository")
    return repository
