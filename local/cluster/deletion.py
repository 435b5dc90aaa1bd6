"""Deleting: at once, gracefully (pods on a node), or when the last finalizer is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.cluster import kinds
from local.cluster.api import Api, Options, Query
from local.cluster.clock import stamp
from local.cluster.failures import bad_request, conflict, forbidden, success
from local.cluster.kinds import Resource
from local.cluster.store import Object

# These answer a deletion with the object, the others with a Status.
_SHOW_DELETED = frozenset({"Pod", "PersistentVolume", "PersistentVolumeClaim", "ServiceAccount", "Service"})


def delete(
    api: Api, resource: Resource, namespace: str, name: str, how: Mapping[str, Any], dry_run: bool = False
) -> Object:
    """Delete one object as DeleteOptions say; returns the object, or a Status. Raises ApiError 404, 409."""
    with api.store.lock:
        item = api.get(resource, namespace, name)
        check_preconditions(resource, item, how)
        if resource.kind == "Namespace" and name in {"default", "kube-system", "kube-public"}:
            raise forbidden("namespaces", name, "this namespace may not be deleted")
        left = mark_or_remove(api, resource, item, how, dry_run=dry_run)
        if resource.kind in _SHOW_DELETED or left is not None:
            return left if left is not None else item
        return success(name=name, group=resource.group, kind=resource.plural, uid=item["metadata"]["uid"])


def delete_collection(
    api: Api, resource: Resource, namespace: str, query: Query, how: Mapping[str, Any], dry_run: bool = False
) -> Object:
    """Delete what a query selects; returns the list of it."""
    with api.store.lock:
        found = api.listing(resource, namespace, query)
        for item in found["items"]:
            mark_or_remove(api, resource, item, how, dry_run=dry_run)
        return found


def check_preconditions(resource: Resource, item: Object, how: Mapping[str, Any]) -> None:
    """Raises ApiError 409 when the object is not the one that the caller means."""
    wanted = how.get("preconditions") or {}
    metadata = item["metadata"]
    for field, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) and wanted[field] != metadata[field]:
            differ = f"{word} in precondition: {wanted[field]}, {word} in object meta: {metadata[field]}"
            raise conflict(resource.plural, metadata["name"], f"Precondition failed: {differ}", resource.group)


def mark_or_remove(
    api: Api, resource: Resource, item: Object, how: Mapping[str, Any], *, dry_run: bool = False
) -> Object | None:
    """Delete an object that was read under the store's lock; returns what is left of it, None when it is gone."""
    grace = _grace(resource, item, how)
    metadata = dict(item["metadata"])
    if grace and "deletionTimestamp" in metadata and metadata.get("deletionGracePeriodSeconds", 0) <= grace:
        return item
    _release_dependents(api, item, how, dry_run=dry_run)
    stays = grace or metadata.get("finalizers") or _namespace_holds(resource, item)
    if dry_run:
        return item
    if not stays:
        api.store.remove(resource, item)
        return None
    if "deletionTimestamp" in metadata and metadata.get("deletionGracePeriodSeconds") == grace:
        return item
    metadata["deletionTimestamp"] = stamp(api.now() + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    if "generation" in metadata:
        metadata["generation"] += 1
    marked = {**item, "metadata": metadata}
    if resource.kind == "Namespace":
        marked["status"] = {**item.get("status", {}), "phase": "Terminating"}
    return api.store.put(resource, marked)


def _grace(resource: Resource, item: Object, how: Mapping[str, Any]) -> int:
    """Seconds until the kubelet may take the pod out; 0 for everything that no kubelet runs."""
    if resource.kind != "Pod":
        return 0
    asked = how.get("gracePeriodSeconds")
    if asked is not None and (not isinstance(asked, int) or asked < 0):
        raise bad_request(f"invalid gracePeriodSeconds: {asked!r}")
    finished = item.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    if not item["spec"].get("nodeName") or finished:
        return 0
    return int(item["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)


def _namespace_holds(resource: Resource, item: Object) -> bool:
    return resource.kind == "Namespace" and bool(item["spec"].get("finalizers"))


def _release_dependents(api: Api, item: Object, how: Mapping[str, Any], *, dry_run: bool) -> None:
    """With propagationPolicy Orphan the dependents stay, without their owner; otherwise the collector takes them."""
    if how.get("propagationPolicy") != "Orphan" or dry_run:
        return
    uid = item["metadata"]["uid"]
    for resource in kinds.served(api.definitions()):
        for dependent in api.store.all(resource, item["metadata"].get("namespace", "")):
            owners = dependent["metadata"].get("ownerReferences") or []
            if any(owner.get("uid") == uid for owner in owners):
                kept = [owner for owner in owners if owner.get("uid") != uid]
                changed = {**dependent, "metadata": {**dependent["metadata"], "ownerReferences": kept}}
                api.commit(resource, dependent, changed, Options("garbage-collector"))
