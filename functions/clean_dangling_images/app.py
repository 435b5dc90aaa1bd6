"""Give back the disk space that builds take on Docker hosts: images that dangle, and what else the policy names.

Never an image that a container uses. docs/docker-hosts.md tells operators how hosts are reached, what may go and when,
and how the bytes are measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from functions.clean_dangling_images.choosing import for_pressure, heights, ours, outlived
from functions.clean_dangling_images.settings import Settings
from paydown.clients.docker import Disk, DockerHost, Fate, Image, Kind, Leftover, Listing, Removal, Stock, open_host
from paydown.events import DiskPressure, Event, ImagePushed, Sweep
from paydown.inventory import Host, Inventory
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
    Step,
    Unverified,
    Verified,
)
from paydown.toil import Scene, Toil, handler_for

__all__ = ["Settings", "handler"]

BATCH = 50
"""Things in one command: with a fifth of a second each, they are done well within its time."""

AGAIN = timedelta(seconds=30)
SHOWN_DIRECTORIES = 20


class RemoveImage(Action):
    """Remove one dangling image, and the untagged ones that only it was built upon. `object` is the image's id."""

    hazard: Hazard = Hazard.DISRUPTIVE  # a rebuild need not give the same bytes
    precondition: str = "dangling"


class RemoveOldImage(Action):
    """Remove one image with its tags. `object` is its id, the precondition its names, joined by `+`."""

    hazard: Hazard = Hazard.DESTRUCTIVE  # raised here: less for one that a registry has had


class RemoveContainer(Action):
    """Remove one container that ended. `object` is its id, the precondition when it ended. Its volumes stay."""

    hazard: Hazard = Hazard.DISRUPTIVE


class RemoveVolume(Action):
    """Remove one volume that no container has. `object` is its name, the precondition when it was made."""

    hazard: Hazard = Hazard.DESTRUCTIVE


class RemoveCacheRecord(Action):
    """Remove one record of BuildKit's cache. `object` is its id, the precondition when a build last used it."""

    hazard: Hazard = Hazard.DISRUPTIVE  # the next build takes longer


VERBS: dict[Kind, type[Action]] = {
    Kind.IMAGE: RemoveOldImage,
    Kind.CONTAINER: RemoveContainer,
    Kind.VOLUME: RemoveVolume,
    Kind.CACHE: RemoveCacheRecord,
}
KINDS = {verb: kind for kind, verb in VERBS.items()}


class CleanDanglingImages(Toil[Host]):
    """One run per event and host."""

    listens_to = (ImagePushed, DiskPressure, Sweep)
    does = (RemoveImage, *VERBS.values())
    Settings = Settings
    batch = BATCH

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._hosts: dict[str, DockerHost] = {}

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Host]:
        """The hosts that build the pushed repository, the one whose disk is full, or all."""
        match event:
            case ImagePushed():
                return inventory.hosts_that_build(event.registry, event.repository)
            case DiskPressure():
                return inventory.hosts_named(event.host)
            case Sweep():
                return inventory.hosts
        return []

    def plan(self, target: Host) -> Draft | NotYet:
        """What is old enough; on disk pressure only as much as is needed. `NotYet` while all images are younger."""
        host = self._host(target)
        stock = host.list_leftovers() if self._by_marks or self.settings.leftovers else None
        disk = stock.disk if stock and self._by_marks else None
        if disk and disk.percent < self.settings.disk_high:
            why = f"the disk is {disk.percent} % full, below the high mark of {self.settings.disk_high} %"
            return Draft.of(why=why, disk_percent=disk.percent, free_bytes=disk.free)
        listing = host.list_images()
        candidates = ours(listing, self.settings, self.inventory.promoted_digests)
        old = sorted((image for image in candidates if self._wait(image, listing) <= timedelta()), key=_age)
        young = [image for image in candidates if self._wait(image, listing) > timedelta()]
        leftovers = outlived(stock, self.settings) if stock else []
        if young and not old and not leftovers:
            waits = [self._wait(image, listing) for image in young]
            # A full disk cannot wait for the last of them; otherwise one clean-up serves them all.
            wait = min(waits) if self._pressed else max(waits)
            return NotYet(self.now() + wait, f"{len(young)} dangling images are younger than {self.settings.min_age} s")
        return self._draft(listing, stock, disk, old, leftovers, len(young))

    def _draft(
        self,
        listing: Listing,
        stock: Stock | None,
        disk: Disk | None,
        old: Sequence[Image],
        leftovers: Sequence[Leftover],
        young: int,
    ) -> Draft:
        """The stages: dangling images, whatever else, and the build cache from its tops down."""
        plain = [one for one in leftovers if _hazard(one) is not Hazard.DESTRUCTIVE]
        # What a person must allow would hold up all the rest: it waits for a run of its own.
        others = plain if old or plain else list(leftovers)
        images, need = list(old), disk.excess(self.settings.disk_low) if disk else 0
        if stock and disk:
            images, others = for_pressure(old, others, stock.unique, need)
        images = images[: self.settings.limit]
        others = others[: self.settings.limit - len(images)]
        cache = [one for one in others if one.kind is Kind.CACHE]
        rest = [one for one in others if one.kind is not Kind.CACHE]
        stages = [
            *_blocks([RemoveImage(object=image.id, note=_note(image, listing)) for image in images], disk),
            *_blocks([_action(one, listing.clock) for one in rest], disk),
            *([_action(one, listing.clock) for one in stage] for stage in heights(cache)),
        ]
        more: dict[str, Any] = {}
        if disk:
            estimate = sum(stock.unique.get(image.id, 0) for image in images) if stock else 0
            estimate += sum(one.size for one in others)
            later = len(old) + len(leftovers) - len(images) - len(others)
            more = {"disk_percent": disk.percent, "needed_bytes": need, "estimated_bytes": estimate, "later": later}
        if stock:
            more["leftovers"] = dict(sorted(Counter(one.kind.value for one in others).items()))
        unused = [image for image in listing.dangling if image.id not in listing.used]
        labelled = [image for image in unused if self.settings.labels.items() <= image.labels.items()]
        why = (
            "those that dangle are in use, were pulled, lack the labels, or are kept by one"
            if listing.dangling
            else "no image dangles"
        )
        return Draft.of(
            *stages,
            why=f"the disk is {disk.percent} % full, and nothing may be removed by policy: {why}" if disk else why,
            storage_driver=listing.driver,
            data_root=listing.root,
            dangling=len(listing.dangling),
            used=len(listing.dangling) - len(unused),
            unlabelled=len(unused) - len(labelled),
            pulled=0 if self.settings.pulled else sum(image.pulled for image in labelled),
            young=young,
            left=len(old) - len(images),
            free_bytes=listing.free,
            **more,
        )

    def population(self, target: Host) -> Population | None:
        """None: it takes no host out of service, and removes nothing that a container uses."""
        return None

    def apply(self, action: Action, target: Host) -> Applied:
        """Remove one thing."""
        return self.apply_batch([action], target)[0]

    def apply_batch(self, actions: Sequence[Action], target: Host) -> Sequence[Applied]:
        """Remove some things with one command for images that dangle, and one for the rest."""
        host = self._host(target)
        if self._by_marks and (disk := host.read_disk()) and disk.excess(self.settings.disk_low) <= 0:
            return [Moot(f"the disk is {disk.percent} % full: it is below the low mark") for _ in actions]
        ids = [action.object for action in actions if isinstance(action, RemoveImage)]
        keys = [_key(action) for action in actions if not isinstance(action, RemoveImage)]
        dangling = iter(host.remove_images(ids) if ids else ())
        others = iter(host.remove_leftovers(keys) if keys else ())
        return [
            self._applied(next(dangling if isinstance(action, RemoveImage) else others), action) for action in actions
        ]

    def verify(self, target: Host, record: Record) -> Seen:
        """What was removed is gone: no such image dangles, or is there at all unless it was built again since."""
        host = self._host(target)
        listing = host.list_images()
        evidence = _evidence(record, listing)
        # Where a full disk made it stop, a step whose answer was lost may not have happened, unless its image is gone.
        done = [step for step in record.done() if step.evidence or not self._by_marks or _gone(step, listing)]
        removed = {step.action.object for step in done if isinstance(step.action, RemoveImage)}
        keys = {_key(step.action) for step in done if not isinstance(step.action, RemoveImage)}
        dangling = {image.id: image for image in listing.dangling}
        there = removed & listing.present
        still = sorted(id for id in there if id in dangling and not self._new(dangling[id], record))
        if keys:
            stock = host.list_leftovers()
            still += sorted(one.id for one in stock.leftovers if one.key in keys)
        if still:
            total = len(removed) + len(keys)
            return Unverified(f"{len(still)} of {total} {_things(keys)} are still there, such as {still[0]}", evidence)
        counts = Counter("cache_records" if kind is Kind.CACHE else f"{kind.value}s" for kind, _, _ in keys)
        counts["images"] += len(removed)
        if self._by_marks and (disk := host.read_disk()):
            evidence["disk_percent"] = disk.percent
            if disk.percent >= self.settings.disk_high:
                return Unverified(f"the disk is still {disk.percent} % full{_at_an_end(record)}", evidence)
        return Verified({**evidence, "built_again": len(there)}, {"bytes": evidence["bytes"], **counts})

    @property
    def _pressed(self) -> bool:
        return isinstance(self.event, DiskPressure)

    @property
    def _by_marks(self) -> bool:
        """Whether this run is asked to free a disk, and the policy says how full that may be."""
        return self._pressed and self.settings.disk_high is not None

    def _host(self, target: Host) -> DockerHost:
        """The host, opened once: it learns the sizes of layers, and need not ask for them again."""
        if target.uid not in self._hosts:
            mark = f"paydown run {self.run_id}"
            self._hosts[target.uid] = open_host(target, observing=self.observing, mark=mark)
        return self._hosts[target.uid]

    def _wait(self, image: Image, listing: Listing) -> timedelta:
        """How long until the image is old enough, by the host's own clock."""
        return timedelta(seconds=self.settings.min_age) - (listing.clock - image.since)

    def _applied(self, removal: Removal, action: Action) -> Applied:
        match removal.fate:
            case Fate.REMOVED:
                evidence: dict[str, Any] = {"bytes": removal.freed, "exact": removal.exact}
                if isinstance(action, RemoveImage | RemoveOldImage):
                    evidence |= {
                        "layers": removal.layers,
                        "parents": removal.parents,
                        "directories": list(removal.directories[:SHOWN_DIRECTORIES]),
                    }
                return Done(evidence)
            case Fate.ABSENT:
                return Moot("it is gone already")
            case Fate.TAGGED | Fate.USED | Fate.CHANGED:
                return Moot(removal.why)
        return NotYet(self.now() + (timedelta() if removal.fate is Fate.SKIPPED else AGAIN), removal.why)

    @staticmethod
    def _new(image: Image, record: Record) -> bool:
        """Whether an image of the same content was built or tagged after the removal."""
        return image.since > record.applied_at


def _age(image: Image) -> datetime:
    return image.since


def _blocks(actions: Sequence[Action], disk: Disk | None) -> list[Sequence[Action]]:
    """One stage; where the disk may make it stop, one for each command, so that the longest unused go first."""
    size = BATCH if disk else max(1, len(actions))
    return [actions[first : first + size] for first in range(0, len(actions), size)]


def _hazard(one: Leftover) -> Hazard:
    """An image that no registry is known to have may be the only one of its kind."""
    if one.kind is Kind.VOLUME or (one.kind is Kind.IMAGE and not one.pushed):
        return Hazard.DESTRUCTIVE
    return Hazard.DISRUPTIVE


def _action(one: Leftover, clock: datetime) -> Action:
    hours = (clock - one.since) / timedelta(hours=1)
    note = f"{one.size / 1e6:.1f} MB, untouched for {hours:.1f} h"
    return VERBS[one.kind](object=one.id, precondition=one.state, hazard=_hazard(one), note=note)


def _at_an_end(record: Record) -> str:
    """Why a disk that is still too full is left so; nothing where the plan should have been enough."""
    if record.before.get("estimated_bytes", 0) >= record.before.get("needed_bytes", 0):
        return ""
    if later := record.before.get("later", 0):
        return f"; {later} more things may be removed by policy, in runs of their own"
    return ", and nothing more may be removed by policy"


def _gone(step: Step, listing: Listing) -> bool:
    return isinstance(step.action, RemoveImage) and step.action.object not in listing.present


def _key(action: Action) -> tuple[Kind, str, str]:
    return KINDS[type(action)], action.object, action.precondition


def _things(keys: Iterable[Any]) -> str:
    return "things" if any(keys) else "images"


def _note(image: Image, listing: Listing) -> str:
    hours = (listing.clock - image.since) / timedelta(hours=1)
    known = f", was {image.digests[0]}" if image.digests else ""
    return f"{image.size / 1e6:.1f} MB with shared layers, {hours:.1f} h old{known}"


def _evidence(record: Record, listing: Listing) -> dict[str, Any]:
    """What was removed, what the disk got back, and where that lay."""
    steps = record.done()
    done = [step.evidence for step in steps]
    directories = [one for evidence in done for one in evidence.get("directories", ())]
    return {
        "images": sum(isinstance(step.action, RemoveImage | RemoveOldImage) for step in steps),
        "parents": sum(int(evidence.get("parents", 0)) for evidence in done),
        "bytes": sum(int(evidence.get("bytes", 0)) for evidence in done),
        "bytes_exact": all(bool(evidence.get("exact", False)) for evidence in done),
        "layers": sum(int(evidence.get("layers", 0)) for evidence in done),
        "kept": len(record.steps) - len(done),
        "storage_driver": listing.driver,
        "data_root": listing.root,
        "layer_directories": directories[:SHOWN_DIRECTORIES],
        "free_bytes_before": record.before.get("free_bytes"),
        "free_bytes_after": listing.free,
        "dangling_left": len(listing.dangling),
    }


handler = handler_for(CleanDanglingImages)
