"""Propose, try and offer smaller images: a compiled program alone, with the few files that it needs.

When an image is pushed, its layers are read once from the registry. A static program makes an image of its own, which
is run beside the original and gets a tag of its own if nothing tells them apart; for a dynamic one, the Dockerfile is
proposed that would make it static. docs/shrink-image.md tells what is looked at, and what a trial shows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from functions.shrink_image.actions import NEVER, OfferImage, PublishProposal, offered, result, ticket_text
from functions.shrink_image.dockerfile import from_image, from_source
from functions.shrink_image.looking import Looked, look
from functions.shrink_image.made import Made
from functions.shrink_image.original import Original, image_id
from functions.shrink_image.report import LIMIT, megabytes, report, short
from functions.shrink_image.settings import Settings, Trial
from functions.shrink_image.trying import Compared, tried
from paydown.clients import aws
from paydown.clients.archives import Unreadable
from paydown.clients.docker_builds import open_trials
from paydown.clients.registry import RegistryApi, credentials_of, open_registry
from paydown.clients.registry_content import TAG
from paydown.clients.web import NotThere
from paydown.errors import PermanentError, RetryableError
from paydown.events import Event, ImagePushed
from paydown.inventory import Host, Inventory, Ssm, Tag
from paydown.ledger import Outcome, open_ledger
from paydown.plan import (
    Applied,
    Done,
    Draft,
    Moot,
    NotYet,
    Population,
    Record,
    Seen,
    Undone,
    Unverified,
    Verified,
)
from paydown.tickets import TicketNotFound, TicketSystem, open_tracker, plain
from paydown.toil import Toil, handler_for

__all__ = ["Settings", "handler"]

PLAN_SECONDS = 22.0
"""How long the layers are read for a plan."""
READ_SECONDS = 22.0
"""And again by a worker that has only the plan."""
AT_ONCE_SECONDS = 6.0
"""What was read again in this time is tried in the same call: together they stay below `ACTION_SECONDS`."""
TRY_NEXT = timedelta(seconds=1)
REMEMBERED = timedelta(days=90)
RUNS = 5
TAGS = 200
"""Other tags that are asked whether they lead to an image before it is taken back."""


class ShrinkImage(Toil[Tag]):
    """One run per push and tag."""

    listens_to = (ImagePushed,)
    does = (OfferImage, PublishProposal)
    Settings = Settings

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._last: Looked | None = None

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Tag]:
        """The tag, if its registry is declared and has the repository among its own."""
        if not isinstance(event, ImagePushed) or event.tag is None:
            return []
        found = inventory.tag(event.registry, event.repository, event.tag)
        return [found] if found else []

    def plan(self, target: Tag) -> Draft:
        """Read the image, and say what it could be. The tag counts as it is now."""
        api = self._api(target)
        try:
            looked = self._look(api, target, target.tag, PLAN_SECONDS)
        except NotThere:
            return Draft(why="the image is gone")
        except Unreadable as why:
            return Draft(why=short(f"no smaller image of this: {why}"))
        self._last = looked
        seen: dict[str, Any] = {
            "digest": looked.original.digest,
            "bytes": looked.original.size,
            "saves_bytes": looked.saves,
            "static": looked.program.static,
        }
        if looked.saves < max(1, self.settings.min_saving_bytes):
            return Draft.of(why=f"a smaller image would save {megabytes(max(0, looked.saves))}", **seen)
        if (
            looked.made
            and image_id(api, target.repository.name, self._tag(target, looked.original)) == looked.made.image_id
        ):
            return Draft.of(why="the smaller image is offered already", **seen)
        hindered = [*looked.hindered, *self._hindrances(api, target, looked)]
        offers = [] if hindered or looked.made is None else [self._offer(target, looked)]
        proposal = self._proposal(target, looked, hindered)
        seen["said"] = _hash([action.identity for action in (*offers, proposal)])
        if self._said_before(target, seen["said"]):
            return Draft.of(why="this was looked at already", **seen)
        return Draft.of(offers, [proposal], **seen)

    def population(self, target: Tag) -> Population | None:
        """None: the original is not touched, and a trial is shut in."""
        return None

    def apply(self, action: OfferImage | PublishProposal, target: Tag) -> Applied:
        """Try and offer, or write the ticket."""
        return self._offered(action, target) if isinstance(action, OfferImage) else self._published(action, target)

    def verify(self, target: Tag, record: Record) -> Seen:
        """A tag that was put leads to what was tried, and the ticket says what came of it."""
        evidence = {**record.before}
        [told] = [step.action for step in record.steps if isinstance(step.action, PublishProposal)]
        tried = [(step, step.action) for step in record.steps if isinstance(step.action, OfferImage)]
        booked = {"proposals": 1}
        for step, action in tried:
            evidence |= {"offered": action.object if offered(step) else "", "trial": result([step])}
            evidence |= {"passing": True} if step.evidence.get("passing") else {}
            if offered(step):
                if image_id(self._api(target), target.repository.name, action.tag) != action.image_id:
                    return Unverified(f"{action.object} does not lead to what was offered", evidence)
                booked |= {"images": 1, "bytes": told.saves_bytes}
        tracker = self._tracker()
        if tracker is None:
            return Verified(evidence, booked)
        try:
            ticket = tracker.find(_marker(target))
            said = tracker.read(ticket, messages=50).messages if ticket else ()
        except TicketNotFound:
            ticket, said = None, ()
        lines = ticket_text(told, result(record.steps)).splitlines()
        if not any(lines[0] in message.text and lines[-1] in message.text for message in said):
            return Unverified("the ticket does not carry the proposal", evidence)
        return Verified({**evidence, "ticket": ticket}, booked)

    def undo(self, action: Any, target: Tag) -> Undone:
        """Take the tag away again, if it still leads to what was offered and nothing else does."""
        if not isinstance(action, OfferImage):
            return Moot(f"{action.verb()} leaves nothing behind")
        api, repository = self._api(target), target.repository.name
        if api.digest(repository, action.tag) != action.manifest:
            return Moot("the tag does not lead to what was offered any more")
        promoted = {one for it in self.inventory.promotions for one in (it.digest, it.previous)}
        if action.manifest in promoted:
            return Moot("it was promoted meanwhile")
        others = [tag for tag in api.tags(repository) if tag != action.tag]
        if len(others) > TAGS or any(api.digest(repository, tag) == action.manifest for tag in others):
            return Moot("another tag may lead to it")
        api.delete_manifest(repository, action.manifest)
        return Done({"tag": action.object})

    def _offered(self, action: OfferImage, target: Tag) -> Applied:
        api = self._api(target)
        there = image_id(api, target.repository.name, action.tag)
        if there is not None:
            return Moot("it is offered already" if there == action.image_id else f"{NEVER}: {action.object} is there")
        looked = self._looked(api, target, action.digest)
        if not isinstance(looked, Looked):
            return looked
        made = looked.made
        host = next((host for host in self._hosts(target) if host.uid == action.host), None)
        if made is None or made.image_id != action.image_id or host is None:
            return _not_offered("the settings, the inventory or Paydown itself changed meanwhile")
        try:
            compared = self._tried(host, target, looked)
        except PermanentError as error:
            return _not_offered(f"it could not be tried: {error}", passing=True)
        if compared.why:
            return _not_offered(compared.why)
        for digest, content in made.blobs.items():
            if not api.has_blob(target.repository.name, digest):
                api.upload_blob(target.repository.name, digest, [content])
        if image_id(api, target.repository.name, action.tag) not in (None, made.image_id):
            return Moot(f"{NEVER}: {action.object} is there")
        api.put_manifest(target.repository.name, action.tag, made.manifest)
        seen = {"offered": True, "commands": len(self._trial(target).commands), "bytes": made.size}
        return Done({**seen, "alive": list(compared.alive)} if compared.alive else seen)

    def _looked(self, api: RegistryApi, target: Tag, digest: str) -> Looked | Done | NotYet:
        """What the plan saw, read again by a worker that has only the plan."""
        if self._last is not None and self._last.original.digest == digest:
            return self._last
        began = time.monotonic()
        try:
            self._last = self._look(api, target, digest, READ_SECONDS)
        except (NotThere, Unreadable) as error:
            if time.monotonic() - began >= READ_SECONDS:
                raise RetryableError(f"the original was not read again in {READ_SECONDS:.0f} s") from error
            return _not_offered(f"the original cannot be read any more: {error}")
        if time.monotonic() - began > AT_ONCE_SECONDS:
            return NotYet(self.now() + TRY_NEXT, "the original was read again, and is tried next")
        return self._last

    def _tried(self, host: Host, target: Tag, looked: Looked) -> Compared:
        """Both on a host. Raises PermanentError if they cannot be tried there."""
        name = f"{_name(target)}@{looked.original.digest}"
        login = credentials_of(target.repository.registry, aws.secret)  # those that only read
        mark = f"shrink_image {self.run_id}"
        return tried(open_trials(host), looked.original, _existing(looked), self._trial(target), name, login, mark)

    def _published(self, action: PublishProposal, target: Tag) -> Applied:
        """Write the ticket of the tag, if there is to be one; the journal has the proposal already."""
        tracker = self._tracker()
        if tracker is None:
            return Done({"saves_bytes": action.saves_bytes})
        title = f"Paydown: a smaller image of {target.ref.partition('/')[2]}"
        ticket = tracker.create(title, "What a smaller image takes stands in the comment below.", _marker(target))
        tracker.edit_comment(ticket, ticket_text(action, self._trial_result()), _marker(target))
        tracker.reopen(ticket)
        return Done({"saves_bytes": action.saves_bytes, "ticket": ticket})

    def _trial_result(self) -> str:
        """What came of the trial, which another worker may have made: the journal knows."""
        ledger = open_ledger()
        run = ledger.runs.get(self.run_id)
        if run is None or not run.executed:
            return ""
        verbs = {one.verb(): one for one in self.does}
        return result(ledger.journal.read(run, run.executed[-1], verbs))

    def _look(self, api: RegistryApi, target: Tag, reference: str, seconds: float) -> Looked:
        until = time.monotonic() + seconds
        name = _name(target)
        return look(api, target.repository.name, reference, name=name, settings=self.settings, until=until)

    def _hindrances(self, api: RegistryApi, target: Tag, looked: Looked) -> list[str]:
        """What stands against an offer of an image that could be made."""
        if looked.made is None:
            return [] if looked.program.static else ["its program is not static"]
        tag, found = self._tag(target, looked.original), []
        if not TAG.fullmatch(tag) or tag == target.tag:
            found.append("its tag would be too long")
        elif image_id(api, target.repository.name, tag) is not None:
            found.append(f"{NEVER}: {_name(target)}:{tag} is there")
        if not self._trial(target).commands:
            found.append("the settings name no command to try it with (trials)")
        if not self.inventory.hosts_that_build(target.repository.registry.name, target.repository.name):
            found.append("the inventory names no Docker host that builds it, to try it on")
        elif not self._hosts(target):
            found.append("the hosts that build it are reached over SSM, where nothing is tried")
        return found

    def _offer(self, target: Tag, looked: Looked) -> OfferImage:
        made, tag = _existing(looked), self._tag(target, looked.original)
        return OfferImage(
            object=f"{_name(target)}:{tag}",
            precondition=f"no such tag yet, for {made.image_id}",
            tag=tag,
            digest=looked.original.digest,
            image_id=made.image_id,
            manifest=made.manifest.digest,
            host=self._hosts(target)[0].uid,
            note=f"{megabytes(made.size)} instead of {megabytes(looked.original.size)}",
        )

    def _proposal(self, target: Tag, looked: Looked, hindered: Sequence[str]) -> PublishProposal:
        name = target.ref.partition("/")[2]
        made_up = sorted(looked.needs.accounts.keys() - looked.needs.files.keys())
        paths = sorted(looked.needs.files)
        if looked.program.static:
            dockerfile = from_image(looked.original, _name(target), sorted({*paths, looked.path}), made_up)
        else:
            dockerfile = from_source(looked.original, _name(target), looked.path, looked.tools, paths, made_up)
        text = report(name, looked, hindered)
        return PublishProposal(
            object=name,
            precondition=f"proposal {_hash([looked.original.digest, text, dockerfile])} is not told",
            digest=looked.original.digest,
            text=text,
            dockerfile=dockerfile if len(dockerfile) <= LIMIT else "",
            saves_bytes=looked.saves,
            note=f"saves {megabytes(looked.saves)}",
        )

    def _said_before(self, target: Tag, said: str) -> bool:
        """Whether a run on the same tag ended with just this, and not for a reason that may be gone by now."""
        now = self.now()
        history = open_ledger().history
        entries = history.begun(now - REMEMBERED, now, toil=self.name, target=target.uid, limit=RUNS + 1, older=False)
        ended = [run for run in history.runs(entries) if run.id != self.run_id and run.status is Outcome.VERIFIED]
        return bool(ended) and ended[0].before.get("said") == said and not ended[0].evidence.get("passing")

    def _hosts(self, target: Tag) -> list[Host]:
        """The hosts that build it and on which it can be tried."""
        found = self.inventory.hosts_that_build(target.repository.registry.name, target.repository.name)
        return [host for host in found if not isinstance(host.reach, Ssm)]

    def _trial(self, target: Tag) -> Trial:
        found: Trial = self.settings.trial(_name(target))
        return found

    def _tag(self, target: Tag, original: Original) -> str:
        digest = original.digest.partition(":")[2][:12]
        return str(self.settings.tag).replace("{tag}", target.tag).replace("{digest}", digest)

    def _api(self, target: Tag) -> RegistryApi:
        return open_registry(target.repository.registry, aws.secret, operator=not self.observing)

    def _tracker(self) -> TicketSystem | None:
        if self.settings.tracker is None:
            return None
        declared = self.inventory.tracker(self.settings.tracker)
        if declared is None:
            raise PermanentError(f"the inventory has no tracker {self.settings.tracker}")
        return open_tracker(declared, aws.secret)


def _existing(looked: Looked) -> Made:
    """The smaller image, where there surely is one."""
    if looked.made is None:
        raise TypeError("no image was made of what is not static")
    return looked.made


def _not_offered(why: str, *, passing: bool = False) -> Done:
    """`passing`: the reason lies in the host, and may be gone the next time."""
    return Done({"offered": False, "why": plain(why), **({"passing": True} if passing else {})})


def _name(target: Tag) -> str:
    return f"{target.repository.registry.name}/{target.repository.name}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _marker(target: Tag) -> str:
    """Of the ticket of a tag."""
    return f"paydown-run: shrink-image/{hashlib.sha256(target.uid.encode()).hexdigest()[:32]}"


handler = handler_for(ShrinkImage)
