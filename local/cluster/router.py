"""From a request to an answer: paths, bodies and query parameters of the Kubernetes API. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from local.cluster import apply, deletion, discovery, eviction, kinds, subresources, tables, watches
from local.cluster.admin import Admin
from local.cluster.api import Api, Options, Query, changer
from local.cluster.failures import ApiError, bad_request, no_such_path, unsupported_media_type
from local.cluster.kinds import Resource
from local.cluster.store import Object

_TRUE = frozenset({"1", "true", "True", "t"})
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes."""
        return self.query.get(name, "") in _TRUE

    def number(self, name: str) -> int | None:
        """A query parameter as a number, None when it is absent. Raises ApiError 400."""
        text = self.query.get(name, "")
        if text and not text.isdigit():
            raise bad_request(f'invalid value for {name}: "{text}"')
        return int(text) if text else None

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip()


@dataclass(frozen=True)
class Reply:
    """One HTTP answer: an object, plain text, or a stream of events."""

    code: int = 200
    body: Any = None
    stream: Iterator[Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What a path names."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass
class Router:
    """Answers requests over an Api; with a `token`, only those that carry it."""

    api: Api
    admin: Admin
    token: str = ""
    stopped: Callable[[], bool] = lambda: False

    def handle(self, request: Request) -> Reply:
        """The answer to a request; refusals become Status objects."""
        try:
            return self._answer(request)
        except ApiError as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return Reply(error.code, error.status(), headers=headers)

    def _answer(self, request: Request) -> Reply:
        path = request.path.rstrip("/") or "/"
        if path in {"/healthz", "/livez", "/readyz"}:
            return Reply(body="ok")
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if path.startswith("/_standin/"):
            return Reply(body=self.admin.handle(request.method, path, _decoded(request) if request.body else {}))
        parts = path.strip("/").split("/")
        place = self._place(parts)
        if place is None:
            if request.method != "GET":
                raise ApiError(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
            return Reply(body=discovery.describe(path, kinds.served(self.api.definitions())))
        return self._serve(place, request)

    def _place(self, parts: list[str]) -> Place | None:
        """What a path names, None for a discovery path. Raises ApiError 404 for a resource that is not served."""
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in kinds.NAMESPACES.subresources:
            namespace, rest = rest[1], rest[2:]
        resource = kinds.find(group, version, rest[0], self.api.definitions())
        if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
            raise no_such_path()
        name, subresource = [*rest[1:], "", ""][:2]
        if subresource and subresource not in resource.subresources:
            raise no_such_path()
        return Place(resource, namespace, name, subresource)

    def _serve(self, place: Place, request: Request) -> Reply:
        served = {
            "GET": self._read,
            "HEAD": self._read,
            "POST": self._create,
            "PUT": self._update,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }.get(request.method)
        if served is None or (request.method in {"PUT", "PATCH"} and not place.name):
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return served(place, request)

    # -- one method per verb

    def _read(self, place: Place, request: Request) -> Reply:
        resource, namespace = place.resource, place.namespace
        if place.subresource == "log":
            self.api.get(resource, namespace, place.name)
            return Reply(body="")
        if place.subresource == "scale":
            return Reply(body=subresources.scale(self.api, resource, namespace, place.name))
        if place.name and not request.flag("watch"):
            item = self.api.get(resource, namespace, place.name)
            return Reply(body=self._table(resource, [item], item["metadata"], request) or item)
        query = _query(request)
        if place.name:
            query = Query(query.labels, f"metadata.name={place.name}")
        if request.flag("watch"):
            return self._watch(resource, namespace, query, request)
        found = self.api.listing(resource, namespace, query)
        return Reply(body=self._table(resource, found["items"], found["metadata"], request) or found)

    def _watch(self, resource: Resource, namespace: str, query: Query, request: Request) -> Reply:
        watch = watches.Watch(
            query,
            version=request.query.get("resourceVersion", ""),
            initial=request.flag("sendInitialEvents"),
            bookmarks=request.flag("allowWatchBookmarks"),
            seconds=request.number("timeoutSeconds") or watches.Watch.seconds,
        )
        events = watches.follow(self.api, resource, namespace, watch, self.stopped)
        if "as=Table" in request.headers.get("accept", ""):
            events = self._as_tables(resource, events, request)
        return Reply(stream=events)

    def _as_tables(self, resource: Resource, events: Iterator[Any], request: Request) -> Iterator[Any]:
        for event in events:
            if event and event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                item = event["object"]
                shown = self._table(resource, [item], {"resourceVersion": item["metadata"]["resourceVersion"]}, request)
                yield {**event, "object": shown}
            else:
                yield event

    def _table(self, resource: Resource, items: list[Object], metadata: Object, request: Request) -> Object | None:
        if "as=Table" not in request.headers.get("accept", ""):
            return None
        shown = ("resourceVersion", "continue", "remainingItemCount")
        meta: Object = {key: metadata[key] for key in shown if key in metadata}
        return tables.table(resource, items, meta, request.query.get("includeObject", "Metadata"), self.api.now())

    def _create(self, place: Place, request: Request) -> Reply:
        body, options = _mapping(request), _options(place, request)
        resource, namespace = place.resource, place.namespace
        if place.subresource == "eviction":
            return Reply(201, eviction.evict(self.api, namespace, place.name, body, options.dry_run))
        if place.subresource == "binding":
            return Reply(201, subresources.bind(self.api, namespace, place.name, body, options))
        if place.name:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if resource.namespaced and not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        return Reply(201, self.api.create(resource, namespace, body, options))

    def _update(self, place: Place, request: Request) -> Reply:
        body, options = _decoded(request), _options(place, request)
        if place.subresource == "scale":
            return Reply(
                body=subresources.rescale(
                    self.api, place.resource, place.namespace, place.name, lambda _: body, options
                )
            )
        return Reply(body=self.api.update(place.resource, place.namespace, place.name, body, options))

    def _patch(self, place: Place, request: Request) -> Reply:
        body, options = _decoded(request), _options(place, request)
        if request.content_type == _APPLY and place.subresource != "scale":
            if not request.query.get("fieldManager"):
                raise bad_request(
                    "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
                )
            item, new = apply.apply(self.api, place.resource, place.namespace, place.name, body, options)
            return Reply(201 if new else 200, item)
        change = changer(request.content_type, body, place.resource)
        if place.subresource == "scale":
            return Reply(
                body=subresources.rescale(self.api, place.resource, place.namespace, place.name, change, options)
            )
        return Reply(body=self.api.patch(place.resource, place.namespace, place.name, change, options))

    def _delete(self, place: Place, request: Request) -> Reply:
        how = dict(_mapping(request)) if request.body else {}
        if (grace := request.number("gracePeriodSeconds")) is not None:
            how.setdefault("gracePeriodSeconds", grace)
        if "propagationPolicy" in request.query:
            how.setdefault("propagationPolicy", request.query["propagationPolicy"])
        dry_run = _options(place, request).dry_run or bool(how.get("dryRun"))
        resource, namespace = place.resource, place.namespace
        if place.name:
            return Reply(body=deletion.delete(self.api, resource, namespace, place.name, how, dry_run))
        return Reply(body=deletion.delete_collection(self.api, resource, namespace, _query(request), how, dry_run))


def _query(request: Request) -> Query:
    return Query(
        labels=request.query.get("labelSelector", ""),
        fields=request.query.get("fieldSelector", ""),
        limit=request.number("limit") or 0,
        proceed=request.query.get("continue", ""),
    )


def _options(place: Place, request: Request) -> Options:
    dry_run = request.query.get("dryRun", "")
    if dry_run not in {"", "All"}:
        raise bad_request(f'Invalid value: "{dry_run}": dryRun: supported values: "All"')
    agent = request.headers.get("user-agent", "unknown").partition("/")[0]
    manager = request.query.get("fieldManager") or agent or "unknown"
    return Options(manager, dry_run == "All", request.flag("force"), place.subresource)


def _mapping(request: Request) -> Mapping[str, Any]:
    """The body as an object. Raises ApiError 400, 415."""
    body = _decoded(request)
    if not isinstance(body, Mapping):
        raise bad_request("the object provided is unrecognized")
    return body


def _decoded(request: Request) -> Any:
    """The body as data. Raises ApiError 400 for what cannot be read, 415 for a format that is not spoken."""
    content_type = request.content_type
    if "protobuf" in content_type:
        raise unsupported_media_type(content_type, ["application/json", "application/yaml"])
    try:
        return yaml.safe_load(request.body) if "yaml" in content_type else json.loads(request.body or b"{}")
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"couldn't get version/kind; parse error: {error}") from error
