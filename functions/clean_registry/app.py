"""Delete from a registry the manifests that nothing refers to: no tag, no index, no signature, no cluster, no host.

docs/clean-registry.md tells operators what counts as a reference, when a manifest is old, and how the bytes come back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from functions.clean_registry.graph import Node, freed, stages
from functions.clean_registry.survey import Survey, in_use, oldest, survey
from paydown.clients import aws
from paydown.clients.registry import RegistryApi, open_registry
from paydown.clients.web import NotThere
from paydown.errors import RetryableError
from paydown.events import Event, ImagePushed, Sweep
from paydown.inventory import Inventory, Repository
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
    Hazard,
    Moot,
    NotYet,
    Population,
    Record,
    Seen,
    Unverified,
    Verified,
)
from paydown.toil import Toil, ToilSettings, handler_for

BATCH = 20
"""Manifests between two looks at the repository. Distribution 2 looks at every tag for each that it deletes."""
BATCH_SECONDS = 15.0
"""No deletion is begun later than this after the look that found it to be free."""
USES_SECONDS = 60.0
"""For how long the answers of clusters and hosts hold."""
AGAIN = timedelta(seconds=30)
TAGS_NOTED = 2_000
"""Tags whose digests a run notes to compare afterwards; about 40 bytes each."""
_WILD = frozenset("*?[")


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `min_age`: seconds for which a manifest must have been without a tag, and not been pushed again. `limit`: the most
    manifests that one run deletes, those that refer to others first, then the oldest.
    """

    min_age: Annotated[int, Field(ge=3_600, le=315_360_000)] = 604_800
    limit: Annotated[int, Field(ge=1, le=2_000)] = 500


class DeleteManifest(Action):
    """Delete one manifest or index. `object` is its digest.

    Destructive while it alone names a blob: the registry may hold the only copy. Where others name all of its blobs,
    only the manifest itself cannot be restored.
    """

    hazard: Hazard = Hazard.DESTRUCTIVE
    precondition: str = "nothing refers to it"


class CleanRegistry(Toil[Repository]):
    """One run per event and repository."""

    listens_to = (ImagePushed, Sweep)
    does = (DeleteManifest,)
    Settings = Settings
    batch = BATCH

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._uses: tuple[float, frozenset[str]] | None = None

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Repository]:
        """A sweep: the repositories named in the inventory. A push: its own, if only a pattern covers it."""
        match event:
            case ImagePushed():
                found = inventory.repository(event.registry, event.repository)
                named = found is not None and event.repository in found.registry.repositories
                return [found] if found is not None and found.registry.storage and not named else []
            case Sweep():
                named_ones = (
                    inventory.repository(registry.name, name)
                    for registry in inventory.registries
                    if registry.storage is not None
                    for name in sorted(set(registry.repositories))
                    if not _WILD & set(name)
                )
                return [one for one in named_ones if one is not None]
        return []

    def plan(self, target: Repository) -> Draft:
        """The manifests that nothing has referred to for long enough."""
        seen = survey(target, self._api(target))
        age = oldest(self.now(), self.settings.min_age)
        loose = seen.loose(age, frozenset())
        if loose:
            # Clusters and hosts are asked only if there is something to ask them about.
            loose = seen.loose(age, self._in_use())
        order = [
            digest
            for stage in stages(seen.nodes, loose)
            for digest in sorted(stage, key=lambda it: (seen.since[it], it))
        ]
        chosen = set(order[: self.settings.limit])
        gone = freed(seen.nodes, loose)
        return Draft.of(
            *(
                [_delete(seen.nodes[digest], seen.since[digest], gone, self.now()) for digest in stage]
                for stage in stages(seen.nodes, chosen)
            ),
            why="each manifest is tagged, referred to, in use, or young",
            manifests=len(seen.nodes),
            tags=len(seen.tags),
            untagged=len(seen.nodes.keys() - set(seen.tags.values())),
            left=len(order) - len(chosen),
            bytes=sum(freed(seen.nodes, chosen).values()),
            missing=sorted(seen.missing())[:TAGS_NOTED],
            pointed={tag: _short(digest) for tag, digest in list(seen.tags.items())[:TAGS_NOTED]},
        )

    def population(self, target: Repository) -> Population | None:
        """None: what nothing refers to serves nobody."""
        return None

    def apply(self, action: DeleteManifest, target: Repository) -> Applied:
        """Delete one."""
        return self.apply_batch([action], target)[0]

    def apply_batch(self, actions: Sequence[DeleteManifest], target: Repository) -> Sequence[Applied]:
        """Look at the whole repository again, and delete those that are still free."""
        api = self._api(target)
        seen = survey(target, api)
        loose = seen.loose(oldest(self.now(), self.settings.min_age), self._in_use())
        gone = freed(seen.nodes, loose)
        holders = Counter(blob for one in seen.nodes.values() for blob in _names(one))
        deadline = time.monotonic() + BATCH_SECONDS
        results: list[Applied] = []
        for action in actions:
            node = seen.nodes.get(action.object)
            if node is None:
                results.append(Moot("it is gone already"))
            elif action.object not in loose:
                results.append(Moot("something refers to it, uses it, or pushed it again"))
            elif _hazard(node, gone).rank > action.hazard.rank:
                results.append(Moot("it is the last to name one of its blobs now"))
            elif time.monotonic() > deadline:
                results.append(NotYet(self.now(), "time was up before its turn"))
            else:
                results.append(self._deleted(api, target, node, holders))
        return results

    def _deleted(self, api: RegistryApi, target: Repository, node: Node, holders: Counter[str]) -> Applied:
        try:
            api.delete_manifest(target.name, node.digest)
        except NotThere:
            return Moot("it is gone already")
        except RetryableError as error:
            return NotYet(self.now() + AGAIN, str(error))
        sizes = _names(node)
        holders.subtract(sizes.keys())
        return Done({"bytes": sum(size for blob, size in sizes.items() if not holders[blob])})

    def verify(self, target: Repository, record: Record) -> Seen:
        """What was deleted answers 404, each tag still leads somewhere, and no tagged index lost a child."""
        api = self._api(target)
        deleted = {step.action.object for step in record.done()}
        seen = survey(target, api)
        there = {digest for digest in deleted if api.digest(target.name, digest) is not None}
        again = {digest for digest in there if digest in seen.since and seen.since[digest] > record.applied_at}
        evidence = {
            "manifests": len(deleted),
            "bytes": sum(int(step.evidence.get("bytes", 0)) for step in record.done()),
            "kept": len(record.steps) - len(deleted),
            "pushed_again": len(again),
            "tags_before": record.before["tags"],
            "tags_after": len(seen.tags),
            "manifests_left": len(seen.nodes),
            "left": record.before["left"],
        }
        if still := sorted(there - again):
            return Unverified(f"{len(still)} of {len(deleted)} manifests are still there, such as {still[0]}", evidence)
        if lost := sorted(seen.missing() - set(record.before["missing"])):
            return Unverified(f"a tagged index or tag leads to what is not there, such as {lost[0]}", evidence)
        if tags := _lost(record.before["pointed"], seen, {_short(digest) for digest in deleted}):
            return Unverified(f"{len(tags)} tags went with what was deleted, such as {tags[0]}", evidence)
        return Verified(evidence, {"manifests": len(deleted), "bytes": evidence["bytes"]})

    def _api(self, target: Repository) -> RegistryApi:
        return open_registry(target.registry, aws.secret, operator=not self.observing)

    def _in_use(self) -> frozenset[str]:
        if self._uses is None or time.monotonic() > self._uses[0]:
            self._uses = (time.monotonic() + USES_SECONDS, in_use(self.inventory, self.run_id))
        return self._uses[1]


def _delete(node: Node, since: datetime, gone: Mapping[str, int], now: datetime) -> DeleteManifest:
    mine = sum(size for blob, size in _names(node).items() if blob in gone)
    what = f"index of {len(node.children)}" if node.children else "image"
    days = (now - since) / timedelta(days=1)
    note = f"{what}, untouched for {days:.1f} days; frees up to {mine / 1e6:.1f} MB"
    return DeleteManifest(object=node.digest, hazard=_hazard(node, gone), note=note)


def _hazard(node: Node, gone: Mapping[str, int]) -> Hazard:
    return Hazard.DESTRUCTIVE if any(blob in gone for blob in node.blobs) else Hazard.DISRUPTIVE


def _names(node: Node) -> dict[str, int]:
    """The blobs that go with a manifest if nothing else names them, with their sizes; its own content is one."""
    return {**node.blobs, node.digest: node.size}


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def _lost(pointed: Mapping[str, str], seen: Survey, deleted: set[str]) -> list[str]:
    """The tags that pointed to something which this run deleted, and are gone."""
    return sorted(tag for tag, digest in pointed.items() if tag not in seen.tags and digest in deleted)


handler = handler_for(CleanRegistry)
