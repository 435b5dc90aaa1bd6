"""Advise on the layers of an image when it is pushed: what a rebuild costs, why, and which Dockerfile costs less.

From the registry alone: manifests and configurations, and no layer unless the policy asks for a deep look, which reads
each layer of the image's own Dockerfile once, and keeps none. The advice stands in the plan of the run
(`paydown advise` shows it), and, if the settings name a ticket system, in one ticket for each tag, which is kept up to
date. docs/advise-image-layers.md tells what is looked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from functions.advise_image_layers.advice import Advice, Limits
from functions.advise_image_layers.image import UnknownShape
from functions.advise_image_layers.looking import Looked, Outlook, Wishes, look
from functions.advise_image_layers.reading import Reader
from functions.advise_image_layers.report import LIMIT, report
from paydown.clients import aws
from paydown.clients.git import open_git
from paydown.clients.registry import open_registry
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.events import Event, ImagePushed
from paydown.inventory import Inventory, Tag
from paydown.ledger import Outcome, Run, open_ledger
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
    Hazard,
    NotYet,
    Population,
    Record,
    Seen,
    Unverified,
    Verified,
)
from paydown.tickets import Ticket, TicketNotFound, TicketSystem, open_tracker, plain
from paydown.tickets.github import GithubTickets, open_github
from paydown.toil import Toil, ToilSettings, handler_for

REMEMBERED = timedelta(days=90)
"""How far back the runs are read that tell which digest a tag had."""
RUNS = 5
PULLS = 5
"""Open pull requests of one commit that get the advice."""
PULL_MESSAGES = 3_000


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `min_saving_bytes` (in the registry, for each rebuild) and `min_saving_layers`: advice that saves less is not given.
    `max_upgrade_age_days`: an upgrade of packages in an older layer is called frozen. `platform`: which image of an
    index is looked at. `tracker`: the ticket system of the inventory that gets a ticket for each tag with advice.

    Of the Dockerfile at hand: `commits` of its repository are read to see how often files change (0: none);
    `hadolint`: the least level of what it finds that is told, or `off`; `pull_requests`: the open ones of the image's
    commit get the advice as a comment.

    `deep_look`: look into the layers of the image's own Dockerfile, up to `max_bytes` of them, unpacked.
    """

    min_saving_bytes: Annotated[int, Field(ge=0)] = 1_000_000
    min_saving_layers: Annotated[int, Field(ge=1, le=100)] = 2
    max_upgrade_age_days: Annotated[int, Field(ge=0, le=3_650)] = 30
    platform: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+/[a-z0-9]+$")] = "linux/amd64"
    tracker: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    commits: Annotated[int, Field(ge=0, le=500)] = 100
    hadolint: Literal["off", "error", "warning", "info", "style"] = "warning"
    pull_requests: bool = True
    deep_look: bool = False
    max_bytes: Annotated[int, Field(ge=1_000_000, le=4_000_000_000)] = 1_000_000_000


class PublishAdvice(Action):
    """Say what could be better in an image. `object` is its name, as `registry/repository:tag`.

    `digest` is what was looked at, and `compared` what it replaced (empty: not known). `text` is for people;
    `dockerfile` follows what is no question, and is empty if nothing is to be changed.

    `source`, `path` and `revision`: where the lines of the advice are; `pulls_in`: the ticket system that has the pull
    requests of that commit. Without `advice` it ends what was said before: there is nothing to advise any more, and of
    the pull requests only those `told` before get to know.
    """

    hazard: Hazard = Hazard.NONE
    digest: str
    compared: str = ""
    text: str
    advice: tuple[Advice, ...]
    dockerfile: str = ""
    source: str = ""
    path: str = ""
    revision: str = ""
    pulls_in: str = ""
    told: tuple[str, ...] = ()


class AdviseImageLayers(Toil[Tag]):
    """One run per push and tag."""

    listens_to = (ImagePushed,)
    does = (PublishAdvice,)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Tag]:
        """The tag, if its registry is declared and has the repository among its own."""
        if not isinstance(event, ImagePushed) or event.tag is None:
            return []
        found = inventory.tag(event.registry, event.repository, event.tag)
        return [found] if found else []

    def plan(self, target: Tag) -> Draft | NotYet:
        """Read the image and the one before it, and say what could be better. The tag counts as it is now."""
        repository = target.repository
        reader = Reader(open_registry(repository.registry, aws.secret), repository, self.settings.platform)
        try:
            image = reader.image(target.tag)
        except NotThere:
            return Draft(why="the image is gone")
        except UnknownShape as why:
            return Draft(why=f"no advice on this image: {why}")
        earlier = self._earlier(target)
        sources = self.inventory.sources_of(repository.registry.name, repository.name)
        under = _hash([self.settings.model_dump(mode="json"), [one.model_dump(mode="json") for one in sources]])
        # Who observed or failed has told nobody: what they saw is advised on.
        last = next((run for run in earlier if _seen(run, "digest")), None)
        done = last is not None and last.status is Outcome.VERIFIED
        if last and done and (_seen(last, "digest"), _seen(last, "under")) == (image.digest, under):
            return Draft.of(why="this image was looked at already", image=image.digest, run=last.id)
        before = reader.before(image, self._known(earlier), target.tag)
        outlook = look(
            target.ref.partition("/")[2],
            (image, before),
            reader,
            sources,
            lambda source: open_git(source, aws.secret),
            self._wishes(),
            self.now(),
        )
        seen = {**outlook.seen, "under": under}
        if outlook.findings.advice:
            return Draft.of([self._action(outlook)], **seen)
        seen["advice"] = []
        if stale := self._stale(earlier):
            return Draft.of([self._ending(outlook, stale)], **seen)
        return Draft.of(why="nothing to advise", **seen)

    def _wishes(self) -> Wishes:
        limits = Limits(
            self.settings.min_saving_bytes,
            self.settings.min_saving_layers,
            timedelta(days=self.settings.max_upgrade_age_days),
        )
        deep = self.settings.max_bytes if self.settings.deep_look else 0
        return Wishes(limits, self.settings.commits, self.settings.hadolint, deep)

    def _action(self, outlook: Outlook) -> PublishAdvice:
        looked, findings = outlook.looked, outlook.findings
        found = looked.found
        told = [one.model_dump() for one in findings.advice]
        return PublishAdvice(
            object=looked.name,
            precondition=f"advice {_hash([looked.image.digest, told, findings.dockerfile])} is not told",
            digest=looked.image.digest,
            compared=looked.before.digest if looked.before else "",
            text=report(looked, findings),
            advice=findings.advice,
            dockerfile=findings.dockerfile,
            source=found.url if found else "",
            path=found.path if found else "",
            revision=found.revision if found else "",
            pulls_in=self._pulls_in(looked),
            note=", ".join(dict.fromkeys(one.rule for one in findings.advice)),
        )

    def _ending(self, outlook: Outlook, stale: Run) -> PublishAdvice:
        """One edit of what was told before."""
        looked = outlook.looked
        return PublishAdvice(
            object=looked.name,
            precondition=f"the end of what run {stale.id} advised is not told",
            digest=looked.image.digest,
            compared=looked.before.digest if looked.before else "",
            text=plain(f"{looked.name}: nothing to advise since {looked.image.digest}."),
            advice=(),
            revision=looked.found.revision if looked.found else "",
            pulls_in=self._pulls_in(looked),
            told=tuple(map(str, _seen(stale, "pull_requests") or ())),
            note="nothing to advise any more",
        )

    def _pulls_in(self, looked: Looked) -> str:
        found = looked.found
        pulls = found.source.tracker if found and found.source and found.revision else None
        return pulls if pulls and self.settings.pull_requests else ""

    def _stale(self, earlier: Sequence[Run]) -> Run | None:
        """The newest run that told something, if its advice stands in a ticket or on pull requests still."""
        last = next((run for run in earlier if run.status is Outcome.VERIFIED), None)
        if last is None or not _seen(last, "advice"):
            return None
        ticket = _seen(last, "ticket") and self.settings.tracker
        return last if ticket or _seen(last, "pull_requests") else None

    def _earlier(self, target: Tag) -> list[Run]:
        """The runs on this tag before this one, the newest first."""
        now = self.now()
        history = open_ledger().history
        entries = history.begun(now - REMEMBERED, now, toil=self.name, target=target.uid, limit=RUNS + 1, older=False)
        return [run for run in history.runs(entries) if run.id != self.run_id]

    def _known(self, earlier: Sequence[Run]) -> list[str]:
        """The digests that earlier runs saw under this tag, the newest first."""
        found = [_seen(run, "digest") for run in earlier]
        return list(dict.fromkeys(one for one in found if isinstance(one, str)))[:RUNS]

    def population(self, target: Tag) -> Population | None:
        """None: nothing is touched but our own ticket."""
        return None

    def apply(self, action: PublishAdvice, target: Tag) -> Applied:
        """Write the ticket of the tag, if there is to be one, and the pull requests; the journal has the advice."""
        wrote: dict[str, Any] = {"advice": len(action.advice)}
        text, marker = ticket_text(action), _marker(target)
        if pulls := self._pulls(action):
            for number in pulls[1]:
                pulls[0].edit_comment(number, text, marker)
            wrote["pull_requests"] = list(pulls[1])
        tracker = self._tracker()
        if tracker is None:
            return Done(wrote)
        if not action.advice:
            known = tracker.find(marker)
            if known:
                tracker.edit_comment(known, text, marker)
            return Done({**wrote, "ticket": known or ""})
        title = f"Paydown: advice on {target.ref.partition('/')[2]}"
        ticket = tracker.create(title, "Advice on the layers of this image stands in the comment below.", marker)
        tracker.edit_comment(ticket, text, marker)
        tracker.reopen(ticket)
        return Done({**wrote, "ticket": ticket})

    def verify(self, target: Tag, record: Record) -> Seen:
        """The ticket says what was advised."""
        [step] = record.done()
        action = step.action
        if not isinstance(action, PublishAdvice):
            raise TypeError(f"{action.verb()} is no action of {self.name}")
        evidence = {
            **record.before,
            "advice": [f"{one.rule} {one.number}" for one in action.advice],
            "saves_bytes": max((one.saves_bytes for one in action.advice), default=0),
        }
        lines = ticket_text(action).splitlines()
        if pulls := self._pulls(action):
            evidence["pull_requests"] = list(pulls[1])
            for number in pulls[1]:
                if not _says(pulls[0].read(number, messages=PULL_MESSAGES), lines):
                    return Unverified(f"pull request {number} does not carry the advice", evidence)
        tracker = self._tracker()
        if tracker is None:
            return Verified(evidence, {"advice": len(action.advice)})
        ticket = tracker.find(_marker(target))
        if ticket is None and not action.advice:
            return Verified(evidence, {"advice": 0})
        try:
            said = tracker.read(ticket, messages=50) if ticket else None
        except TicketNotFound:
            said = None
        if said is None or not _says(said, lines):
            return Unverified("the ticket does not carry the advice", evidence)
        return Verified({**evidence, "ticket": ticket}, {"advice": len(action.advice)})

    def _pulls(self, action: PublishAdvice) -> tuple[GithubTickets, tuple[str, ...]] | None:
        """The open pull requests of the image's commit; None where there are none to be asked for."""
        declared = self.inventory.tracker(action.pulls_in) if action.pulls_in else None
        if declared is None or declared.system != "github":
            return None
        tracker = open_github(declared, aws.secret)
        numbers = tracker.pull_requests(action.revision)[:PULLS]
        return tracker, tuple(one for one in numbers if action.advice or one in action.told)

    def _tracker(self) -> TicketSystem | None:
        if self.settings.tracker is None:
            return None
        declared = self.inventory.tracker(self.settings.tracker)
        if declared is None:
            raise PermanentError(f"the inventory has no tracker {self.settings.tracker}")
        return open_tracker(declared, aws.secret)


def ticket_text(action: PublishAdvice) -> str:
    """What the ticket says: the advice, and the proposed Dockerfile if there is room for it."""
    proposed = f"\n\nProposed Dockerfile:\n\n{action.dockerfile}" if action.dockerfile else ""
    text = f"{action.text}{proposed}"
    if len(text) > LIMIT:
        text = action.text
    return plain(f"{text}\n\nThe image: {action.digest}. All of it: paydown advise {action.object}")


def _says(ticket: Ticket, lines: list[str]) -> bool:
    return any(lines[0] in message.text and lines[-1] in message.text for message in ticket.messages)


def _seen(run: Run, name: str) -> Any:
    """What a run booked of what it looked at."""
    return run.evidence.get(name, run.before.get(name))


def _hash(said: Any) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _marker(target: Tag) -> str:
    """Of the ticket of a tag."""
    return f"paydown-run: advise-image-layers/{hashlib.sha256(target.uid.encode()).hexdigest()[:32]}"


handler = handler_for(AdviseImageLayers)
