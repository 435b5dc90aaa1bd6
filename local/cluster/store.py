"""The objects of the cluster, their versions, and the history that watches read.

An object that is stored is never changed in place: every write puts a new one. So readers need no copies, and what they
hold stays as it was.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cluster.kinds import Resource

Object = dict[str, Any]
HISTORY = 20_000


@dataclass(frozen=True)
class Change:
    """One write: `before` is None for a creation, `after` is the object's last form for a deletion."""

    revision: int
    type: str
    key: tuple[str, str]
    before: Object | None
    after: Object


class Store:
    """Objects by resource, namespace and name. Take `lock` for a read that a write must follow."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.revision = 100
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._oldest = self.revision

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object of this name, or None."""
        return self._objects.get(resource.key, {}).get((namespace, name))

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of a resource (of one namespace, unless it is ""), ordered by namespace and name."""
        with self.lock:
            held = self._objects.get(resource.key, {})
            return [held[place] for place in sorted(held) if not namespace or place[0] == namespace]

    def put(self, resource: Resource, item: Object) -> Object:
        """Store a new or changed object under the next revision; returns it as stored."""
        with self.changed:
            metadata = item["metadata"]
            place = metadata.get("namespace", ""), metadata["name"]
            held = self._objects.setdefault(resource.key, {})
            before = held.get(place)
            after = {**item, "metadata": {**metadata, "resourceVersion": str(self.revision + 1)}}
            held[place] = after
            self._log("MODIFIED" if before else "ADDED", resource, before, after)
            return after

    def remove(self, resource: Resource, item: Object) -> Object:
        """Take an object out; returns its last form, under the revision of its removal."""
        with self.changed:
            metadata = item["metadata"]
            before = self._objects[resource.key].pop((metadata.get("namespace", ""), metadata["name"]))
            after = {**item, "metadata": {**metadata, "resourceVersion": str(self.revision + 1)}}
            self._log("DELETED", resource, before, after)
            return after

    def _log(self, kind: str, resource: Resource, before: Object | None, after: Object) -> None:
        self.revision += 1
        if len(self._history) == HISTORY:
            self._oldest = self._history[0].revision
        self._history.append(Change(self.revision, kind, resource.key, before, after))
        self.changed.notify_all()

    def since(self, revision: int) -> list[Change] | None:
        """The changes after a revision, oldest first; None when they are no longer kept."""
        with self.lock:
            if revision < self._oldest:
                return None
            found: deque[Change] = deque()
            for change in reversed(self._history):
                if change.revision <= revision:
                    break
                found.appendleft(change)
            return list(found)

    def dump(self) -> dict[str, Any]:
        """Everything as JSON-ready data; `load` is the way back."""
        with self.lock:
            objects = [
                {"group": group, "resource": plural, "items": list(held.values())}
                for (group, plural), held in self._objects.items()
            ]
            return {"revision": self.revision, "objects": objects}

    def load(self, data: Mapping[str, Any]) -> None:
        """Replace everything by what `dump` gave; the history starts anew, so older watches must list again."""
        with self.changed:
            self.revision = self._oldest = int(data["revision"])
            self._history.clear()
            self._objects = {
                (part["group"], part["resource"]): {
                    (item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in part["items"]
                }
                for part in data["objects"]
            }
            self.changed.notify_all()

    def clear(self) -> None:
        """Forget every object. Revisions go on, and watches from before must list again."""
        self.load({"revision": self.revision + 1, "objects": []})


def write_json(path: Path, data: Any) -> None:
    """Write a whole JSON file or nothing, whenever the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(data), encoding="utf-8")
    partial.replace(path)
