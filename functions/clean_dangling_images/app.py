"""Give back the disk space that rebuilt images leave behind on Docker hosts: remove images that dangle for a while.

Never one that a container uses, never one with a tag. docs/docker-hosts.md tells operators how hosts are reached, what
dangling and age mean, and how the bytes are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from paydown.clients.docker import DockerHost, Fate, Image, Listing, Removal, open_host
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
    Unverified,
    Verified,
)
from paydown.toil import Toil, ToilSettings, handler_for

BATCH = 50
"""Images in one command: with a fifth of a second each, they are done well within its time."""

AGAIN = timedelta(seconds=30)
SHOWN_DIRECTORIES = 20


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `min_age`: seconds for which an image must have dangled undisturbed: neither built nor tagged since. `limit`: the
    most images that one run removes, oldest first. `pulled`: also those that were pulled and lost their tag, or never
    had one here; somebody may use them by digest. `labels`: only images that were built with all of these labels.
    """

    min_age: Annotated[int, Field(ge=0, le=31_536_000)] = 3_600
    limit: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    pulled: bool = False
    labels: dict[str, str] = Field(default_factory=dict)


class RemoveImage(Action):
    """Remove one dangling image, and the untagged ones that only it was built upon. `object` is the image's id."""

    hazard: Hazard = Hazard.DISRUPTIVE  # a rebuild need not give the same bytes
    precondition: str = "dangling"


class CleanDanglingImages(Toil[Host]):
    """One run per event and host."""

    listens_to = (ImagePushed, DiskPressure, Sweep)
    does = (RemoveImage,)
    Settings = Settings
    batch = BATCH

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
        """The images that are old enough; `NotYet` while all that there are are younger."""
        listing = self._host(target).list_images()
        free = [image for image in listing.dangling if image.id not in listing.used]
        ours = [image for image in free if self.settings.labels.items() <= image.labels.items()]
        candidates = [image for image in ours if self.settings.pulled or not image.pulled]
        old = sorted((image for image in candidates if self._wait(image, listing) <= timedelta()), key=_age)
        young = [image for image in candidates if self._wait(image, listing) > timedelta()]
        if young and not old:
            waits = [self._wait(image, listing) for image in young]
            # A full disk cannot wait for the last of them; otherwise one clean-up serves them all.
            wait = min(waits) if isinstance(self.event, DiskPressure) else max(waits)
            return NotYet(self.now() + wait, f"{len(young)} dangling images are younger than {self.settings.min_age} s")
        chosen = old[: self.settings.limit]
        return Draft.of(
            [RemoveImage(object=image.id, note=_note(image, listing)) for image in chosen],
            why="those that dangle are in use, were pulled, or lack the labels"
            if listing.dangling
            else "no image dangles",
            storage_driver=listing.driver,
            data_root=listing.root,
            dangling=len(listing.dangling),
            used=len(listing.dangling) - len(free),
            unlabelled=len(free) - len(ours),
            pulled=len(ours) - len(candidates),
            young=len(young),
            left=len(old) - len(chosen),
            free_bytes=listing.free,
        )

    def population(self, target: Host) -> Population | None:
        """None: it takes no host out of service, and removes nothing that a container uses."""
        return None

    def apply(self, action: RemoveImage, target: Host) -> Applied:
        """Remove one image."""
        return self.apply_batch([action], target)[0]

    def apply_batch(self, actions: Sequence[RemoveImage], target: Host) -> Sequence[Applied]:
        """Remove some images with one command."""
        removals = self._host(target).remove_images([action.object for action in actions])
        return [self._applied(removal) for removal in removals]

    def verify(self, target: Host, record: Record) -> Seen:
        """The removed images are gone: none of them dangles, or is there at all unless it was built again since."""
        listing = self._host(target).list_images()
        done = record.done()
        removed = {step.action.object for step in done}
        dangling = {image.id: image for image in listing.dangling}
        evidence = _evidence(record, listing)
        there = removed & listing.present
        still = sorted(id for id in there if id in dangling and not self._new(dangling[id], record))
        if still:
            return Unverified(f"{len(still)} of {len(removed)} images are still there, such as {still[0]}", evidence)
        return Verified({**evidence, "built_again": len(there)}, {"bytes": evidence["bytes"], "images": len(removed)})

    def _host(self, target: Host) -> DockerHost:
        return open_host(target, observing=self.observing, mark=f"paydown run {self.run_id}")

    def _wait(self, image: Image, listing: Listing) -> timedelta:
        """How long until the image is old enough, by the host's own clock."""
        return timedelta(seconds=self.settings.min_age) - (listing.clock - image.since)

    def _applied(self, removal: Removal) -> Applied:
        match removal.fate:
            case Fate.REMOVED:
                return Done(
                    {
                        "bytes": removal.freed,
                        "exact": removal.exact,
                        "layers": removal.layers,
                        "parents": removal.parents,
                        "directories": list(removal.directories[:SHOWN_DIRECTORIES]),
                    }
                )
            case Fate.ABSENT:
                return Moot("it is gone already")
            case Fate.TAGGED | Fate.USED:
                return Moot(removal.why)
        return NotYet(self.now() + (timedelta() if removal.fate is Fate.SKIPPED else AGAIN), removal.why)

    @staticmethod
    def _new(image: Image, record: Record) -> bool:
        """Whether an image of the same content was built or tagged after the removal."""
        return image.since > record.applied_at


def _age(image: Image) -> Any:
    return image.since


def _note(image: Image, listing: Listing) -> str:
    hours = (listing.clock - image.since) / timedelta(hours=1)
    known = f", was {image.digests[0]}" if image.digests else ""
    return f"{image.size / 1e6:.1f} MB with shared layers, {hours:.1f} h old{known}"


def _evidence(record: Record, listing: Listing) -> dict[str, Any]:
    """What was removed, what the disk got back, and where that lay."""
    done = [step.evidence for step in record.done()]
    directories = [one for evidence in done for one in evidence.get("directories", ())]
    return {
        "images": len(done),
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
