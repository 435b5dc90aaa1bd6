"""Watches: the changes of a resource as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.cluster.api import Api, Query
from local.cluster.failures import ApiError, bad_request, expired
from local.cluster.kinds import Resource
from local.cluster.store import Change, Object

_DEFAULT_SECONDS = 1800.0
_BEAT_SECONDS = 5.0


@dataclass(frozen=True)
class Watch:
    """What a watch asks for. `seconds` bounds it; `initial` asks for all objects first, with a bookmark after them."""

    query: Query
    version: str = ""
    seconds: float = _DEFAULT_SECONDS
    initial: bool = False
    bookmarks: bool = False


def follow(
    api: Api, resource: Resource, namespace: str, watch: Watch, stopped: Callable[[], bool]
) -> Iterator[dict[str, Any] | None]:
    """The events of a watch until its time is over.

    None comes before each wait, so that the sender can flush, and notice a closed connection.

    Raises ApiError before the first event for a bad selector or version; a version that is too old is an ERROR event.
    """
    select = api.selector(resource, namespace, watch.query)
    fresh = watch.version in {"", "0"} or watch.initial
    if not fresh and not watch.version.isdigit():
        raise bad_request(f'invalid resource version "{watch.version}"')
    return _events(api, resource, watch, select, fresh, stopped)


def _events(
    api: Api,
    resource: Resource,
    watch: Watch,
    select: Callable[[Object], bool],
    fresh: bool,
    stopped: Callable[[], bool],
) -> Iterator[dict[str, Any] | None]:
    deadline = time.monotonic() + watch.seconds
    if fresh:
        with api.store.lock:
            seen = api.store.revision
            present = [item for item in api.store.all(resource) if select(item)]
        yield from ({"type": "ADDED", "object": item} for item in present)
        if watch.initial:
            yield _bookmark(resource, seen, {"k8s.io/initial-events-end": "true"})
    else:
        seen = int(watch.version)
    while not stopped():
        yield None
        with api.store.changed:
            if api.store.revision <= seen:
                left = deadline - time.monotonic()
                api.store.changed.wait(max(0.0, min(left, _BEAT_SECONDS)))
            changes, revision = api.store.since(seen), api.store.revision
        if changes is None:
            yield {"type": "ERROR", "object": _too_old(seen).status()}
            return
        for change in changes:
            if change.key == resource.key and (event := _event(change, select)):
                yield event
        seen = max(seen, revision)
        if time.monotonic() >= deadline:
            if watch.bookmarks:
                yield _bookmark(resource, seen, {})
            return


def _event(change: Change, select: Callable[[Object], bool]) -> dict[str, Any] | None:
    """The change as one watcher sees it: an object that leaves or enters its selection is deleted or added."""
    before = change.before is not None and select(change.before)
    after = change.type != "DELETED" and select(change.after)
    if before and after:
        return {"type": "MODIFIED", "object": change.after}
    if after:
        return {"type": "ADDED", "object": change.after}
    return {"type": "DELETED", "object": change.after} if before else None


def _bookmark(resource: Resource, revision: int, annotations: Mapping[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    shown = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return {"type": "BOOKMARK", "object": shown}


def _too_old(revision: int) -> ApiError:
    return expired(f"too old resource version: {revision}")
