"""What the API server does with objects: read, create, replace, patch; without HTTP and without acting by itself."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.cluster import defaults, fields, kinds, patches, selectors, validation
from local.cluster.clock import Names, stamp
from local.cluster.failures import ApiError, already_exists, bad_request, conflict, expired, forbidden, not_found
from local.cluster.kinds import NAMESPACES, Resource
from local.cluster.store import Object, Store

_KEPT_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_KEPT_PAGES = 64


@dataclass(frozen=True)
class Options:
    """How a write is meant: who writes (the field manager), whether it is a rehearsal, and on which subresource."""

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    subresource: str = ""


PLAIN = Options()


@dataclass(frozen=True)
class Query:
    """What a list or watch selects."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    proceed: str = ""


@dataclass
class Api:
    """The API server over a store."""

    store: Store = field(default_factory=Store)
    names: Names = field(default_factory=Names)
    now: Callable[[], float] = time.time
    _pages: OrderedDict[str, tuple[int, list[Object]]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.create_system_namespaces()

    def create_system_namespaces(self) -> None:
        """The namespaces that every cluster has, where they are missing."""
        for name in _SYSTEM_NAMESPACES:
            if not self.store.get(NAMESPACES, "", name):
                self.create(NAMESPACES, "", {"metadata": {"name": name}}, Options("kube-apiserver"))

    # -- reading

    def definitions(self) -> list[Object]:
        """The custom resource definitions."""
        return self.store.all(kinds.DEFINITIONS)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object of this name. Raises ApiError 404."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource.plural, name, resource.group)
        return found

    def listing(self, resource: Resource, namespace: str = "", query: Query | None = None) -> Object:
        """A list object: what the query selects, page by page when it sets a limit."""
        query = query or Query()
        with self.store.lock:
            if query.proceed:
                revision, items = self._next_page(query.proceed)
            else:
                select = self.selector(resource, namespace, query)
                revision = self.store.revision
                items = [item for item in self.store.all(resource, namespace) if select(item)]
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if query.limit and len(items) > query.limit:
            metadata["continue"] = self._keep_page(revision, items[query.limit :])
            if not query.labels and not query.fields:
                metadata["remainingItemCount"] = len(items) - query.limit
            items = items[: query.limit]
        listed = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        return {**listed, "items": items}

    def selector(self, resource: Resource, namespace: str, query: Query) -> Callable[[Object], bool]:
        """A test whether an object belongs to a list or watch. Raises ApiError 400 for a selector that is refused."""
        labels = selectors.parse_labels(query.labels)
        try:
            terms = selectors.parse_fields(query.fields, resource.fields)
        except ApiError as error:
            what = f"{resource.group}/{resource.version}, Resource={resource.plural}"
            raise bad_request(
                f'Unable to find "{what}" that match label selector "{query.labels}", '
                f'field selector "{query.fields}": {error.message}'
            ) from error

        def selects(item: Object) -> bool:
            metadata = item["metadata"]
            if namespace and metadata.get("namespace", "") != namespace:
                return False
            return selectors.matches(labels, metadata.get("labels")) and selectors.matches_fields(terms, item)

        return selects

    def _keep_page(self, revision: int, rest: list[Object]) -> str:
        """Remember the rest of a list as it was, as a real server does, and give the token for it."""
        token = base64.urlsafe_b64encode(json.dumps({"rv": revision, "id": self.names.suffix(12)}).encode()).decode()
        self._pages[token] = revision, rest
        while len(self._pages) > _KEPT_PAGES:
            self._pages.popitem(last=False)
        return token

    def _next_page(self, token: str) -> tuple[int, list[Object]]:
        if token in self._pages:
            return self._pages[token]
        try:
            json.loads(base64.urlsafe_b64decode(token))["rv"]
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise bad_request("continue key is not valid") from error
        raise expired("The provided continue parameter is too old to display a consistent list result.")

    # -- writing

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Mapping[str, Any],
        options: Options = PLAIN,
        *,
        own_fields: bool = True,
    ) -> Object:
        """Store a new object. Raises ApiError 400, 403, 404 (no such namespace), 409 or 422."""
        item = self._readable(resource, namespace, body)
        metadata = item["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        with self.store.lock:
            self._check_namespace(resource, namespace, metadata.get("name", ""))
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = metadata["generateName"] + self.names.suffix()
            for name in ("managedFields", *_KEPT_METADATA):
                metadata.pop(name, None)
            metadata.update(uid=self.names.uid(), creationTimestamp=stamp(self.now()))
            if resource.generation or resource.kind == "Pod":
                metadata["generation"] = 1
            status = defaults.first_status(resource, item.pop("status", None))
            if status is not None:
                item["status"] = status
            defaults.fill(resource, item)
            defaults.admit(resource, item)
            validation.check(resource, item)
            if self.store.get(resource, namespace, metadata["name"]):
                raise already_exists(resource.plural, metadata["name"], resource.group)
            if own_fields:
                fields.record_update(None, item, options.manager, "", stamp(self.now()))
            if options.dry_run:
                return item
            return self.store.put(resource, item)

    def update(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], options: Options = PLAIN
    ) -> Object:
        """Replace an object (or its subresource). Raises ApiError 404, 409 for a stale resourceVersion, 422."""
        item = self._readable(resource, namespace, body)
        given = item["metadata"].setdefault("name", name)
        if given != name:
            raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
        with self.store.lock:
            return self.commit(resource, self.get(resource, namespace, name), item, options)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], Any],
        options: Options = PLAIN,
    ) -> Object:
        """Replace an object by `change(object)`, in one step. Raises what `update` raises."""
        with self.store.lock:
            old = self.get(resource, namespace, name)
            item = self._readable(resource, namespace, change(old))
            if item["metadata"].get("name") != name:
                raise bad_request("the name of the object cannot be changed")
            return self.commit(resource, old, item, options)

    def set_status(self, resource: Resource, item: Object, status: Mapping[str, Any], manager: str) -> Object:
        """Replace the status of an object that was read just now; nothing happens when it is the same."""
        changed = {**item, "status": {**item.get("status", {}), **status}}
        return self.commit(resource, item, changed, Options(manager, subresource="status"))

    def commit(
        self, resource: Resource, old: Object, item: Object, options: Options, *, own_fields: bool = True
    ) -> Object:
        """Admit and store `item` in place of `old`. Hold the store's lock. An unchanged object keeps its version."""
        metadata = dict(item["metadata"])
        before = old["metadata"]
        _check_version(resource, before, metadata)
        metadata.update({key: before[key] for key in _KEPT_METADATA if key in before})
        for key in _KEPT_METADATA:
            if key not in before:
                metadata.pop(key, None)
        item = {**item, "metadata": {**metadata, "resourceVersion": before["resourceVersion"]}}
        item = self._isolate(resource, old, item, options.subresource)
        if own_fields:
            item["metadata"].pop("managedFields", None)
            if _same(old, {**item, "metadata": {**item["metadata"], **_ownership(before)}}):
                return old
        defaults.fill(resource, item)
        if options.subresource == "status":
            validation.check_status(resource, item)
        else:
            validation.check(resource, item, old if options.subresource != "binding" else None)
        if own_fields:
            fields.record_update(old, item, options.manager, options.subresource, stamp(self.now()))
        if item.get("spec") != old.get("spec") and "generation" in before:
            item["metadata"]["generation"] = before["generation"] + 1
        if options.dry_run or _same(old, item):
            return item if options.dry_run else old
        if self._may_go(item):
            return self.store.remove(resource, item)
        return self.store.put(resource, item)

    @staticmethod
    def _may_go(item: Object) -> bool:
        """Whether a deleted object only waited for its last finalizer."""
        metadata = item["metadata"]
        waits = metadata.get("deletionGracePeriodSeconds", 0) or metadata.get("finalizers")
        finalizers = item.get("spec", {}).get("finalizers") if item.get("kind") == "Namespace" else None
        return bool(metadata.get("deletionTimestamp")) and not waits and not finalizers

    @staticmethod
    def _isolate(resource: Resource, old: Object, item: Object, subresource: str) -> Object:
        """Status writes change only the status; other writes never do."""
        if "status" not in resource.subresources:
            return item
        if subresource == "status":
            metadata = {**old["metadata"]}
            if resource.kind in {"Node", "Pod"}:  # their status writers may also label and annotate
                for name in ("labels", "annotations"):
                    if name in item["metadata"]:
                        metadata[name] = item["metadata"][name]
            return {**old, "metadata": metadata, "status": item.get("status", {})}
        isolated = {name: value for name, value in item.items() if name != "status"}
        return {**isolated, "status": old["status"]} if "status" in old else isolated

    def _readable(self, resource: Resource, namespace: str, body: Any) -> Object:
        """A deep copy of a body with its type and place filled in. Raises ApiError 400 if they contradict the URL."""
        if not isinstance(body, Mapping) or not isinstance(body.get("metadata", {}), Mapping):
            raise bad_request("the object provided is unrecognized")
        given = body.get("apiVersion") or resource.api_version, body.get("kind") or resource.kind
        if given != (resource.api_version, resource.kind):
            raise bad_request(
                f"the API version in the data ({given[0]}, Kind={given[1]}) does not match the expected API version "
                f"({resource.api_version}, Kind={resource.kind})"
            )
        item = {**copy.deepcopy(dict(body)), "apiVersion": resource.api_version, "kind": resource.kind}
        metadata = item["metadata"] = dict(item.get("metadata") or {})
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise bad_request("the namespace of the object does not match the namespace sent on the request")
        else:
            metadata.pop("namespace", None)
        for path, _, value in validation.wrong_types(item) if not resource.custom else ():
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: '
                f"cannot unmarshal {type(value).__name__} into Go struct field {path}"
            )
        return item

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self.get(NAMESPACES, "", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource.plural, name, why, resource.group)


def changer(content_type: str, body: Any, resource: Resource) -> Callable[[Object], Any]:
    """The patch that a request means, as a function for `Api.patch`. Raises ApiError 415 for an unknown kind."""
    if content_type == "application/json-patch+json":
        return lambda old: patches.json_patch(old, body)
    if content_type == "application/merge-patch+json":
        return lambda old: patches.merge_patch(old, body)
    if content_type == "application/strategic-merge-patch+json" and not resource.custom:
        return lambda old: patches.strategic_merge(old, body)
    known: Iterable[str] = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
    raise ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(f"application/{kind}" for kind in known),
    )


def _check_version(resource: Resource, before: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Raises ApiError 409 when a write means another object, or another version of it."""
    name = before["name"]
    if metadata.get("uid", before["uid"]) != before["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise conflict(resource.plural, name, why, resource.group)
    if (metadata.get("resourceVersion") or before["resourceVersion"]) != before["resourceVersion"]:
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(resource.plural, name, why, resource.group)


def _ownership(metadata: Mapping[str, Any]) -> Object:
    return {"managedFields": metadata["managedFields"]} if "managedFields" in metadata else {}


def _same(old: Object, item: Object) -> bool:
    return {**old, "metadata": None} == {**item, "metadata": None} and old["metadata"] == item["metadata"]
