"""Promote an image from one registry or repository to the next: the same bytes, by digest, when its facts hold.

docs/promote-image.md tells operators about routes, facts, what is recorded, and how to go back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.promote_image.copying import Place, attach, copy_blobs, copy_manifests, lost
from functions.promote_image.facts import Lack, Subject, found_too_bad, lacks, not_scanned
from functions.promote_image.image import Image, read_image
from functions.promote_image.scans import Scans
from functions.promote_image.settings import Route, Settings
from paydown.clients import aws
from paydown.clients.registry import open_registry
from paydown.clients.registry_ecr import refusal
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import Event, ImagePushed, ImageScanned, Severity, UndoRequested
from paydown.inventory import Inventory, Promotion, Repository, Tag
from paydown.ledger import Images
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
    Hazard,
    Moot,
    NotYet,
    Overridden,
    Population,
    Record,
    Seen,
    Undone,
    Unverified,
    Verified,
)
from paydown.toil import Toil, handler_for


class PromoteImage(Action):
    """Bring an image to a repository and let a tag point to it. `object` is REGISTRY/REPOSITORY:TAG@DIGEST.

    `previous` is what the tag points to before, None if there is no such tag.
    """

    hazard: Hazard = Hazard.REVERSIBLE
    stage: str
    registry: str
    repository: str
    tag: str
    digest: str
    previous: str | None
    referrers: bool
    findings_below: Severity | None

    @property
    def place(self) -> str:
        """The tag, in words."""
        return f"{self.registry}/{self.repository}:{self.tag}"


@dataclass(frozen=True)
class _Stand:
    """How things are at one destination: what is to be done there, or why nothing is."""

    action: PromoteImage | None = None
    why: str = ""
    overridden: bool = False


class PromoteImages(Toil[Tag]):
    """One run per event and tag of the source. It promotes what the tag points to when it looks, not what was told."""

    name = "promote_image"
    listens_to = (ImagePushed, ImageScanned)
    does = (PromoteImage,)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Tag]:
        """The tag that was pushed; those that a scan names."""
        match event:
            case ImagePushed(tag=str(tag)):
                tags: tuple[str, ...] = (tag,)
            case ImageScanned():
                tags = event.tags
            case _:
                return []
        found = (inventory.tag(event.registry, event.repository, tag) for tag in dict.fromkeys(tags))
        return [one for one in found if one is not None]

    @classmethod
    def learns(cls, event: Event, inventory: Inventory, images: Images, now: datetime) -> None:
        """A scan counts for every run about its image, and mostly comes after the push."""
        if isinstance(event, ImageScanned):
            place = inventory.repository(event.registry, event.repository)
            if place is not None:
                images.note_scan(place.uid, event, now)

    # -- plan ---------------------------------------------------------------------------------------------------------

    def plan(self, target: Tag) -> Draft | NotYet | Overridden:
        """The destinations whose tag does not point to the image yet, when the facts of its route hold."""
        route = self.settings.route(target)
        if route is None:
            return Draft.of(why="no route of the policy is for this tag")
        self._check(route)
        source = self._place(target.repository)
        digest = source.api.digest(source.repository, target.tag)
        if digest is None:
            return Draft.of(why="the tag is gone")
        # Since when it is there is counted by our clock, from what we saw: an event may say anything.
        subject = Subject(target.repository.uid, digest, self._images.seen(target.repository.uid, digest, self.now()))
        stands = [self._stand(route, target, subject, *one) for one in route.destinations(target, self.inventory)]
        overridden = [one.why for one in stands if one.overridden]
        actions = [one.action for one in stands if one.action is not None]
        if overridden and not actions:
            return Overridden("; ".join(overridden))
        if not actions:
            return Draft.of(why="; ".join(one.why for one in stands))
        try:
            image = read_image(source.api, source.repository, digest, attached=route.referrers or _signature(route))
        except NotThere as error:
            return Draft.of(why=f"{digest} is not whole in {target.repository.ref}: {error}")
        lacking = list(lacks(route.require, subject, image, self._scans(target), self.now()))
        if lacking:
            return _waits(route, lacking)
        more: dict[str, Any] = {"overridden": overridden} if overridden else {}
        return Draft.of(
            [action.model_copy(update={"note": _note(action, image)}) for action in actions],
            stage=route.stage,
            digest=digest,
            manifests=len(image.manifests),
            blobs=len(image.blobs),
            bytes=image.size,
            **more,
        )

    def _check(self, route: Route) -> None:
        longest = self.policy.toil(self.name).defer_seconds
        if route.require.soak_seconds >= longest:
            raise PermanentError(
                f"the route to {route.stage} soaks for {route.require.soak_seconds} s, and a run is put off for"
                f" {longest} s at most: raise defer_seconds"
            )

    def _stand(
        self, route: Route, target: Tag, subject: Subject, what: str, destination: Repository | None, tag: str
    ) -> _Stand:
        digest = subject.digest
        if destination is None:
            return _Stand(why=f"{what} is not in the inventory")
        registry = destination.registry
        if (destination.uid, tag) == (target.repository.uid, target.tag):
            return _Stand(why=f"{what}:{tag} is where it comes from")
        place = self._place(destination, writes=not self.observing)
        current = place.api.digest(place.repository, tag)
        if current == digest:
            return _Stand(why=f"{what}:{tag} points to it already")
        known = self.inventory.promoted(route.stage, registry.name, destination.name, tag)
        if known is not None and known.withdrawn == digest:
            return _Stand(why=f"{digest} was taken back from {what}:{tag}; a new image goes on, this one does not")
        if known is not None and known.digest == digest and known.last_seen is not None and known.source != "declared":
            text = f"{what}:{tag} was promoted to {digest}, and somebody has moved it to {current or 'nothing'} since"
            return _Stand(why=text, overridden=True)
        if known is not None and self._images.later(subject.place, known.digest, subject.since):
            return _Stand(why=f"{what}:{tag} was promoted to {known.digest}, which came later than this")
        if refused := refusal(destination, (tag,) if current else ()):
            return _Stand(why=f"{what}: {refused}")
        action = PromoteImage(
            object=f"{registry.name}/{destination.name}:{tag}@{digest}",
            precondition=f"the tag points to {current or 'nothing'}",
            asks=route.require.approval,
            stage=route.stage,
            registry=registry.name,
            repository=destination.name,
            tag=tag,
            digest=digest,
            previous=current,
            referrers=route.referrers,
            findings_below=route.require.findings_below,
        )
        return _Stand(action)

    def population(self, target: Tag) -> Population | None:
        """None: no member of any pool is down while a tag is moved."""
        return None

    # -- apply --------------------------------------------------------------------------------------------------------

    def apply(self, action: PromoteImage, target: Tag) -> Applied:
        """Copy what one call can of what is not there; when all of it is, move the tag."""
        to = self._destination(action)
        # A mount within one registry needs the right to read and to write at once.
        source = self._place(target.repository, writes=to.registry == target.repository.registry.uid)
        if (settled := self._settled(action, to)) is not None:
            return settled
        image = read_image(source.api, source.repository, action.digest, attached=action.referrers)
        if (held := self._held_back(action, target, image)) is not None:
            return held
        if left := copy_blobs(image, source, to):
            return NotYet(self.now(), f"{left} of {len(image.blobs)} blobs are left to be copied to {action.place}")
        copy_manifests(image, to)
        theirs = attach(image, to)
        if (settled := self._settled(action, to) or self._held_back(action, target, image)) is not None:
            return settled
        # Written down first, so that neither what is run nor what it goes back to is ever taken for garbage.
        self._record(action, digest=action.digest, previous=action.previous)
        to.api.put_manifest(to.repository, action.tag, image.root)
        self._record(action, digest=action.digest, previous=action.previous, last_seen=self.now())
        return Done({"tag": action.place, "digest": action.digest, "bytes": image.size, "attached_left": theirs})

    def _settled(self, action: PromoteImage, to: Place) -> Applied | None:
        """Why the tag must not be moved, or need not; None if it may."""
        current = to.api.digest(to.repository, action.tag)
        if current == action.digest:
            self._record(action, digest=action.digest, previous=action.previous, last_seen=self.now())
            return Moot("the tag points to it")
        if current != action.previous:
            return Moot(f"somebody else moved {action.place} to {current or 'nothing'} since this was planned")
        return None

    def _held_back(self, action: PromoteImage, target: Tag, image: Image) -> Moot | None:
        """What scans have told since this was planned."""
        if action.findings_below is None:
            return None
        scans = self._scans(target)
        why = found_too_bad(action.findings_below, image, scans) or not_scanned(image, scans)
        return Moot(f"findings_below: {why} since this was planned") if why else None

    # -- verify -------------------------------------------------------------------------------------------------------

    def verify(self, target: Tag, record: Record) -> Seen:
        """Each tag points to the image, whose manifests and blobs are all there: read back from the destination."""
        faults: list[str] = []
        evidence = {"promoted": 0, "manifests": 0, "blobs": 0, "bytes": 0}
        for step in record.steps:
            action = step.action
            if not isinstance(action, PromoteImage):
                continue
            to = self._destination(action)
            current = to.api.digest(to.repository, action.tag)
            if current != action.digest:
                why = f" ({step.why})" if step.why else ""
                faults.append(f"{action.place} points to {current or 'nothing'}, not to {action.digest}{why}")
                continue
            try:
                image = read_image(to.api, to.repository, action.digest, attached=action.referrers)
            except NotThere as error:
                faults.append(f"{action.place}: a manifest is missing ({error})")
                continue
            if gone := lost(image, to):
                faults.append(f"{action.place}: {len(gone)} blobs are missing, such as {gone[0]}")
                continue
            evidence["promoted"] += 1
            evidence["manifests"] += len(image.manifests)
            evidence["blobs"] += len(image.blobs)
            evidence["bytes"] += image.size
        if faults:
            return Unverified("; ".join(faults), evidence)
        return Verified(evidence, {"promotions": evidence["promoted"]})

    # -- undo ---------------------------------------------------------------------------------------------------------

    def undo(self, action: PromoteImage, target: Tag) -> Undone:
        """Let the tag point to what it pointed to before, if nobody has moved it since and that is still whole."""
        to = self._destination(action)
        current = to.api.digest(to.repository, action.tag)
        if action.previous is None:
            return Moot(f"there was no {action.place} before: delete the tag by hand if it must go")
        if current == action.previous:
            self._withdraw(action)
            return Done({"tag": action.place, "digest": action.previous})
        if current != action.digest:
            return Moot(f"somebody else moved {action.place} to {current or 'nothing'}")
        try:
            image = read_image(to.api, to.repository, action.previous)
        except NotThere:
            return Moot(f"{action.previous} is not whole in {action.registry}/{action.repository} any more")
        if gone := lost(image, to):
            return Moot(f"{action.previous} lacks {gone[0]}")
        to.api.put_manifest(to.repository, action.tag, image.root)
        if (now := to.api.digest(to.repository, action.tag)) != action.previous:
            return Moot(f"{action.place} points to {now or 'nothing'} after it was moved back")
        self._withdraw(action)
        return Done({"tag": action.place, "digest": action.previous})

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _withdraw(self, action: PromoteImage) -> None:
        # What is taken back because its run came to no end may go that way again.
        by_person = isinstance(self.event, UndoRequested) and self.event.by_a_person
        withdrawn = action.digest if by_person else None
        self._record(action, digest=action.previous, previous=action.digest, withdrawn=withdrawn, last_seen=self.now())

    def _record(self, action: PromoteImage, **said: object) -> None:
        if self.scene.promotions is None:
            raise PermanentError("there is no ledger to record a promotion in")
        promotion = Promotion.model_validate(
            {
                "stage": action.stage,
                "registry": action.registry,
                "repository": action.repository,
                "tag": action.tag,
                "source": f"promote_image, run {self.run_id}",
                **said,
            }
        )
        self.scene.promotions.record(promotion, self.now())

    def _destination(self, action: PromoteImage) -> Place:
        found = self.inventory.repository(action.registry, action.repository)
        if found is None:
            raise PermanentError(f"{action.registry}/{action.repository} left the inventory meanwhile")
        return self._place(found, writes=not self.observing)

    @staticmethod
    def _place(repository: Repository, *, writes: bool = False) -> Place:
        registry = repository.registry
        return Place(open_registry(registry, aws.secret, operator=writes), repository.name, registry.uid)

    def _scans(self, target: Tag) -> Scans:
        return Scans(self._images, target.repository)

    @property
    def _images(self) -> Images:
        if self.scene.images is None:
            raise PermanentError("there is no ledger that knows of images")
        return self.scene.images


def _waits(route: Route, lacking: list[Lack]) -> Draft | NotYet:
    why = f"not yet for {route.stage}: {'; '.join(map(str, lacking))}"
    moments = [one.until for one in lacking if one.until is not None]
    if len(moments) < len(lacking):
        return Draft.of(why=f"not for {route.stage}: {'; '.join(str(one) for one in lacking if one.until is None)}")
    return NotYet(max(moments), why)


def _signature(route: Route) -> bool:
    return route.require.signature


def _note(action: PromoteImage, image: Image) -> str:
    many = f", {len(image.manifests)} manifests" if len(image.manifests) > 1 else ""
    return f"{image.size / 1e6:.1f} MB{many}; instead of {action.previous or 'nothing'}"


handler = handler_for(PromoteImages)
