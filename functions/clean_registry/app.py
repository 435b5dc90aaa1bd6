"""Delete from a registry the manifests that nothing refers to: no tag, no index, no signature, no cluster, no host.

docs/clean-registry.md tells operators what counts as a reference, when a manifest is old, and how the bytes come back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from functions.clean_registry.graph import Node, below, freed, stages, taken
from functions.clean_registry.holdings import Holdings, can_list, open_holdings
from functions.clean_registry.survey import Survey, in_use, oldest, survey
from paydown.clients.registry_storage import Refused
from paydown.clients.web import NotThere
from paydown.errors import PaydownError, RetryableError
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
"""What led nowhere before, as far as a run notes it to compare afterwards."""
TAGS_TOLD = 20
"""Tags that evidence names."""
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
                return [found] if found is not None and can_list(found.registry) and not named else []
            case Sweep():
                named_ones = (
                    inventory.repository(registry.name, name)
                    for registry in inventory.registries
                    if can_list(registry)
                    for name in sorted(set(registry.repositories))
                    if not _WILD & set(name)
                )
                return [one for one in named_ones if one is not None]
        return []

    def plan(self, target: Repository) -> Draft:
        """The manifests that nothing has referred to for long enough."""
        holdings = self._holdings(target)
        if why := holdings.left_to():
            return Draft.of(why=why)
        seen = survey(target, holdings)
        age = oldest(self.now(), self.settings.min_age)
        loose = seen.loose(age, frozenset())
        if loose:
            # Clusters and hosts are asked only if there is something to ask them about.
            loose = seen.loose(age, self._in_use())
        order = [
            digest
            for stage in stages(seen.nodes, loose)
            for digest in sorted(stage, key=lambda it: (seen.revisions[it].since, it))
        ]
        chosen = set(order[: self.settings.limit])
        gone = freed(seen.nodes, loose)
        return Draft.of(
            *(
                [_delete(seen, digest, loose, gone, self.now()) for digest in stage]
                for stage in stages(seen.nodes, chosen)
            ),
            why="each manifest is tagged, referred to, in use, or young",
            manifests=len(seen.nodes),
            tags=len(seen.tags),
            untagged=len(seen.nodes.keys() - set(seen.tags.values())),
            left=len(order) - len(chosen),
            bytes=sum(freed(seen.nodes, chosen).values()),
            told_bytes=seen.told_bytes(),
            missing=sorted(seen.missing())[:TAGS_NOTED],
            dead=sorted(seen.dead)[:TAGS_NOTED],
        )

    def population(self, target: Repository) -> Population | None:
        """None: what nothing refers to serves nobody."""
        return None

    def apply(self, action: DeleteManifest, target: Repository) -> Applied:
        """Delete one."""
        return self.apply_batch([action], target)[0]

    def apply_batch(self, actions: Sequence[DeleteManifest], target: Repository) -> Sequence[Applied]:
        """Look at the whole repository again, and delete those that are still free."""
        holdings = self._holdings(target)
        seen = survey(target, holdings)
        loose = seen.loose(oldest(self.now(), self.settings.min_age), self._in_use())
        gone = freed(seen.nodes, loose)
        results: dict[str, Applied] = {}
        free: list[str] = []
        for action in actions:
            if action.object not in seen.nodes:
                results[action.object] = Moot("it is gone already")
            elif action.object not in loose:
                results[action.object] = Moot("something refers to it, uses it, or pushed it again")
            elif _hazard(seen, action.object, loose, gone).rank > action.hazard.rank:
                results[action.object] = Moot("it is the last to name one of its blobs now")
            else:
                free.append(action.object)
        deadline = time.monotonic() + BATCH_SECONDS
        tally = _Tally(seen, loose)
        for first in range(0, len(free), holdings.at_once):
            some = free[first : first + holdings.at_once]
            if time.monotonic() > deadline:
                results |= dict.fromkeys(some, NotYet(self.now(), "time was up before its turn"))
            else:
                results |= {it: self._result(it, error, tally) for it, error in holdings.delete(some).items()}
        if done := {it: result for it, result in results.items() if isinstance(result, Done)}:
            # The registry deletes what a tag was put on since the look, too: that must not go unnoticed.
            last, result = list(done.items())[-1]
            results[last] = Done({**result.evidence, **_tags_lost(seen, done.keys() | tally.gone, holdings)})
        return [results[action.object] for action in actions]

    def _result(self, digest: str, error: PaydownError | None, tally: _Tally) -> Applied:
        match error:
            case None:
                return Done(tally.deleted(digest))
            case NotThere():
                return Moot("it is gone already")
            case Refused():
                return Moot(str(error))
            case RetryableError():
                return NotYet(self.now() + AGAIN, str(error))
        raise error

    def verify(self, target: Repository, record: Record) -> Seen:
        """What was deleted answers 404, each tag still leads somewhere, and no tagged index lost a child."""
        holdings = self._holdings(target)
        deleted = {step.action.object for step in record.done()}
        seen = survey(target, holdings)
        there = holdings.present(deleted)
        again = {it for it in there if it in seen.revisions and seen.revisions[it].pushed > record.applied_at}
        evidence = {
            "manifests": len(deleted) + sum(int(step.evidence.get("taken_along", 0)) for step in record.done()),
            "bytes": sum(int(step.evidence.get("bytes", 0)) for step in record.done()),
            "kept": len(record.steps) - len(deleted),
            "pushed_again": len(again),
            "tags_before": record.before["tags"],
            "tags_after": len(seen.tags),
            "manifests_left": len(seen.nodes),
            "left": record.before["left"],
            "told_bytes_before": record.before.get("told_bytes", 0),
            "told_bytes_after": seen.told_bytes(),
            "tags_lost": sorted({tag for step in record.done() for tag in step.evidence.get("tags_lost", ())}),
        }
        unread = [step.evidence["tags_unread"] for step in record.done() if "tags_unread" in step.evidence]
        if still := sorted(there - again):
            return Unverified(f"{len(still)} of {len(deleted)} manifests are still there, such as {still[0]}", evidence)
        if lost := sorted(seen.missing() - set(record.before["missing"])):
            return Unverified(f"a tagged index or tag leads to what is not there, such as {lost[0]}", evidence)
        if tags := [tag for tag in evidence["tags_lost"] if tag not in seen.tags]:
            text = f"{len(tags)} tags went while manifests were deleted, such as {tags[0]}: push what they pointed to"
            return Unverified(text, evidence)
        if dead := sorted(seen.dead - set(record.before.get("dead", ()))):
            return Unverified(f"{len(dead)} tags are listed and lead nowhere, such as {dead[0]}", evidence)
        if unread:
            return Unverified(f"whether a tag went with what was deleted is not known: {unread[0]}", evidence)
        return Verified(evidence, {"manifests": evidence["manifests"], "bytes": evidence["bytes"]})

    def _holdings(self, target: Repository) -> Holdings:
        return open_holdings(target, operator=not self.observing)

    def _in_use(self) -> frozenset[str]:
        if self._uses is None or time.monotonic() > self._uses[0]:
            self._uses = (time.monotonic() + USES_SECONDS, in_use(self.inventory, self.run_id))
        return self._uses[1]


class _Tally:
    """Counts what comes free as manifests are deleted, one after the other."""

    def __init__(self, seen: Survey, loose: set[str]) -> None:
        self._seen, self._loose = seen, loose
        self._holders = Counter(blob for one in seen.nodes.values() for blob in _names(one))
        self.gone: set[str] = set()

    def deleted(self, digest: str) -> dict[str, int]:
        """What went with this one: its blobs that nobody names any more, and what a registry takes along."""
        self.gone.add(digest)
        along = taken(self._seen.nodes, self._loose, self.gone) if self._seen.cascades else set()
        self.gone |= along
        bytes_ = 0
        for it in (digest, *along):
            sizes = _names(self._seen.nodes[it])
            self._holders.subtract(sizes.keys())
            bytes_ += sum(size for blob, size in sizes.items() if not self._holders[blob])
        return {"bytes": bytes_, **({"taken_along": len(along)} if along else {})}


def _delete(seen: Survey, digest: str, loose: set[str], gone: Mapping[str, int], now: datetime) -> DeleteManifest:
    node, going = seen.nodes[digest], _going(seen, digest, loose)
    mine = sum(size for it in going for blob, size in _names(seen.nodes[it]).items() if blob in gone)
    what = f"index of {len(node.children)}" if node.children else "image"
    along = f", and the registry deletes {len(going) - 1} with it that nothing else lists" if len(going) > 1 else ""
    days = (now - seen.revisions[digest].since) / timedelta(days=1)
    note = f"{what}, untouched for {days:.1f} days; frees up to {mine / 1e6:.1f} MB{along}"
    return DeleteManifest(object=digest, hazard=_hazard(seen, digest, loose, gone), note=note)


def _hazard(seen: Survey, digest: str, loose: set[str], gone: Mapping[str, int]) -> Hazard:
    blobs = (blob for it in _going(seen, digest, loose) for blob in seen.nodes[it].blobs)
    return Hazard.DESTRUCTIVE if any(blob in gone for blob in blobs) else Hazard.DISRUPTIVE


def _going(seen: Survey, digest: str, loose: set[str]) -> set[str]:
    """What goes when this is deleted, at the most."""
    return below(seen.nodes, loose, digest) if seen.cascades else {digest}


def _names(node: Node) -> dict[str, int]:
    """The blobs that go with a manifest if nothing else names them, with their sizes; its own content is one."""
    return {**node.blobs, node.digest: node.size}


def _tags_lost(seen: Survey, deleted: Set[str], holdings: Holdings) -> dict[str, Any]:
    """The tags that went since `seen`, but for those that only said to what something deleted was attached."""
    try:
        left = holdings.tag_names()
    except PaydownError as error:
        return {"tags_unread": str(error)}
    expected = {tag for tag in seen.attachments if seen.tags[tag] in deleted}
    lost = sorted(seen.tags.keys() - expected - left)
    return {"tags_lost": lost[:TAGS_TOLD]} if lost else {}


handler = handler_for(CleanRegistry)
