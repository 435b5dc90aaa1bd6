"""Refresh base images of one's own: bootstrapped when a package has changed, tested, compared, pushed as `current`.

docs/refresh-base-image.md tells operators what a build host needs, what is compared, and what ends a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from functions.refresh_base_image import in_ecr
from functions.refresh_base_image import strays as looking
from functions.refresh_base_image.actions import BuildBase, CheckBase, ListStrays, PushBase, TagBase
from functions.refresh_base_image.back import point_back, take_back
from functions.refresh_base_image.comparing import SHOWN, Changes, differing, unexpected
from functions.refresh_base_image.published import CURRENT, LARGEST_CONFIG, annotated, notes_for, published
from functions.refresh_base_image.settings import Base, Settings
from paydown.clients import aws
from paydown.clients.base_contents import Candidate, Contents, candidate_name
from paydown.clients.bases import BuildHost, needs_builder, open_build_host
from paydown.clients.registry import RegistryApi, open_registry, pulling
from paydown.clients.registry_ecr import refusal
from paydown.errors import PermanentError
from paydown.events import Event, Sweep, utc
from paydown.inventory import Inventory, Registry, Repository, Ssm
from paydown.ledger import Outcome, open_ledger
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
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

__all__ = ["RefreshBaseImage", "Settings", "handler"]

DOCUMENTS = Path(__file__).resolve().parent / "documents"
LOOK_AGAIN = timedelta(seconds=15)
DAY = "%Y%m%d"
REMEMBERED = timedelta(days=90)
TOLD = (Outcome.VERIFIED, Outcome.SKIPPED)
"""What was told, or said again to be as it was told; what is only observed is told to nobody."""


class RefreshBaseImage(Toil[Repository | Registry]):
    """One run per sweep and base; and one per registry, for what stands on no base."""

    listens_to = (Sweep,)
    does = (BuildBase, CheckBase, PushBase, TagBase, ListStrays)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Repository | Registry]:
        """The repositories that the inventory calls bases; and, if there are any, every registry."""
        found = (
            inventory.repository(registry.name, name) for registry in inventory.registries for name in registry.bases
        )
        bases = [one for one in found if one is not None]
        return [*bases, *inventory.registries] if bases else []

    def plan(self, target: Repository | Registry) -> Draft | NotYet:
        """What is to be done if a package of the base, or its recipe, is not as it was."""
        if isinstance(target, Registry):
            return self._plan_strays(target)
        base = self._base(target)
        if base is None:
            return Draft(why=f"the settings do not say how {_name(target)} is made")
        host = self.inventory.host(base.host)
        over_socket = not isinstance(host.reach, Ssm)
        if over_socket and not base.builder:
            return Draft(why=needs_builder(host), code="invalid_settings")
        # The dated tag is put twice: on what the engine pushed, and on the same with its annotations.
        if refused := refusal(target, (self.now().strftime(DAY), CURRENT)):
            return Draft(why=f"{_name(target)}: {refused}", code="invalid_settings")
        packages = self._builder(base).packages(base.recipe)
        api = self._api(target)
        last = published(api, target.name, CURRENT)
        if last and last.packages == packages and last.recipe == base.digest:
            return Draft.of(why="no package changed since the current base", packages=len(packages), digest=last.digest)
        key = key_of(base, packages)
        tag = self._free_tag(api.tags(target.name))
        dated, now = f"{_name(target)}:{tag}", last.digest if last else ""
        changes = Changes.between(last.packages if last else {}, packages)
        note = changes.note if last else f"the first one, of {len(changes.added)} packages"
        if over_socket:
            note += f"; in containers of {base.builder}, which get the engine of {host.name} and may mount"
        return Draft.of(
            [BuildBase(object=_name(target), precondition=f"{key} is not built", key=key, note=note)],
            [CheckBase(object=_name(target), precondition=f"{key} is not compared with {now or 'anything'}", key=key)],
            [PushBase(object=dated, precondition=f"{tag} is free", key=key)],
            [
                TagBase(
                    object=f"{_name(target)}:{CURRENT}",
                    precondition=f"it is {now or 'not there'}",
                    key=key,
                    dated=tag,
                    previous=now,
                    packages=packages,
                )
            ],
            key=key,
            tag=tag,
            digest=now,
            host=host.name,
            packages=len(packages),
            **changes.shown(),
        )

    def population(self, target: Repository | Registry) -> Population | None:
        """None: a base serves nobody by itself, and what was built on the last one goes on with it."""
        return None

    def apply(self, action: Action, target: Repository | Registry) -> Applied:
        """One step."""
        match action:
            case ListStrays():
                return Done({"images": len(action.images)})
            case BuildBase() if isinstance(target, Repository):
                return self._build(action, target, self._settled(target))
            case CheckBase() if isinstance(target, Repository):
                return self._check(action, target, self._settled(target))
            case PushBase() if isinstance(target, Repository):
                return self._push(action, target, self._settled(target))
            case TagBase() if isinstance(target, Repository):
                return self._tag(action, target, self._settled(target))
        raise TypeError(f"{action.verb()} is no action for {target.ref}")

    def undo(self, action: Action, target: Repository | Registry) -> Undone:
        """The last base is `current` again, what was pushed for it goes, and so does the candidate."""
        if not isinstance(target, Repository):
            return Moot("nothing was changed")
        match action:
            case BuildBase():
                base = self._base(target)
                if base is None:
                    return Moot("the settings do not name its build host any more")
                if self._builder(base).forget(action.key):
                    return Done({"forgotten": action.key})
                return Moot("something is being done with the candidate; it is forgotten two days later")
            case PushBase():
                return take_back(self._api(target), target.name, action)
            case TagBase():
                return point_back(self._api(target), target.name, action)
        return Moot("nothing was changed")

    def verify(self, target: Repository | Registry, record: Record) -> Seen:
        """`current` is what was pushed by its date, and holds the packages that were planned."""
        if isinstance(target, Registry):
            return Verified({**record.before}, {})
        before = record.before
        evidence = {name: before[name] for name in ("tag", "host", "packages", "added", "removed", "changed")}
        for step in record.done():
            evidence |= step.evidence
        api = self._api(target)
        current = published(api, target.name, CURRENT)
        if current is None:
            return Unverified(f"{target.ref} has no {CURRENT}", evidence)
        evidence["digest"] = current.digest
        tagged = next((step.action for step in record.done() if isinstance(step.action, TagBase)), None)
        if tagged is None:
            return Verified(evidence, {})
        if api.digest(target.name, before["tag"]) != current.digest:
            return Unverified(f"{CURRENT} is not what was pushed as {before['tag']}", evidence)
        if current.packages != tagged.packages:
            return Unverified(f"{CURRENT} does not tell the packages that were planned", evidence)
        return Verified(evidence, {"bases": 1})

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _build(self, action: BuildBase, target: Repository, base: Base) -> Applied:
        builder = self._builder(base)
        candidate = builder.read(action.key)
        if candidate.diff_id and not candidate.running:
            return Done({"diff_id": candidate.diff_id, "image": candidate.image})
        self._raise_own_failure(candidate, target, base)
        if not candidate.running:
            builder.build(action.key, self.run_id, base.recipe)
        return NotYet(self.now() + LOOK_AGAIN, f"{base.host} bootstraps")

    def _check(self, action: CheckBase, target: Repository, base: Base) -> Applied:
        last = published(self._api(target), target.name, CURRENT)
        builder = self._builder(base)
        names = [candidate_name(action.key), *([f"{_name(target)}@{last.digest}"] if last else [])]
        found: list[Contents] = []
        for name in names:
            contents = builder.contents(name)
            if isinstance(contents, Contents):
                found.append(contents)
                continue
            self._raise_own_failure(contents, target, base)
            if not contents.running:
                of_host = name == names[0]  # the candidate is no registry's
                host = self.inventory.host(base.host)
                builder.unpack(name, self.run_id, None if of_host else in_ecr.login(target, host))
        if len(found) < len(names):
            return NotYet(self.now() + LOOK_AGAIN, f"{base.host} lists what is in them")
        new, old = found[0], found[1] if last else None
        if key_of(base, new.packages) != action.key:
            raise PermanentError("the mirror, or the settings, moved on while it was built: the next sweep plans anew")
        if problems := unexpected(new, old, base):
            more = f", and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise PermanentError(f"unexpected in the new base of {_name(target)}: {', '.join(problems[:SHOWN])}{more}")
        return Done(
            {
                "files": len(new.files),
                "files_changed": len(differing(new, old)) if old else 0,
                "privileged": sorted(path for path, entry in new.files.items() if entry.privileged)[:SHOWN],
            }
        )

    def _push(self, action: PushBase, target: Repository, base: Base) -> Applied:
        api, builder = self._api(target), self._builder(base)
        candidate = builder.read(action.key)
        if not candidate.diff_id:
            raise PermanentError(f"the candidate is not on {base.host} any more")
        last = published(api, target.name, CURRENT)
        if last and last.diff_ids == (candidate.diff_id,):
            return Moot(f"it has the bytes of the current base ({last.digest})")
        tag = action.object.rpartition(":")[2]
        there = published(api, target.name, tag)
        if there is not None:
            if there.config != candidate.image:
                raise PermanentError(f"{action.object} is another image meanwhile")
            return Done({"pushed": there.digest})
        self._raise_own_failure(candidate, target, base)
        if not candidate.running:
            builder.push(action.key, self.run_id, action.object, in_ecr.login(target, self.inventory.host(base.host)))
        return NotYet(self.now() + LOOK_AGAIN, f"{base.host} pushes {action.object}")

    def _tag(self, action: TagBase, target: Repository, base: Base) -> Applied:
        api = self._api(target)
        pushed = published(api, target.name, action.dated)
        if pushed is None:
            return Moot("nothing was pushed")
        current = published(api, target.name, CURRENT)
        now = current.digest if current else ""
        if current and current.config == pushed.config and now == pushed.digest:
            return Done({"digest": now})
        if now != action.previous:
            return Overridden(f"{action.object} became {now or 'nothing'} meanwhile")
        candidate = self._builder(base).read(action.key)
        if pushed.diff_ids != (candidate.diff_id,) or pushed.config != candidate.image:
            raise PermanentError(f"{action.dated} is not what was built and checked")
        created = utc(json.loads(api.blob(target.name, pushed.config, LARGEST_CONFIG))["created"])
        notes = notes_for(_name(target), action.dated, created, base.source, action.packages, base.digest)
        made = annotated(pushed, notes)
        for tag in (action.dated, CURRENT):
            api.put_manifest(target.name, tag, made)
        return Done({"digest": made.digest})

    def _raise_own_failure(self, candidate: Candidate, target: Repository, base: Base) -> None:
        """What an earlier run failed with is tried again."""
        if candidate.failed and candidate.failed[0] == self.run_id and not candidate.running:
            raise PermanentError(in_ecr.explained(candidate.failed[1], target, self.inventory.host(base.host)))

    # -- strays -------------------------------------------------------------------------------------------------------

    def _plan_strays(self, target: Registry) -> Draft:
        if not self.settings.strays:
            return Draft(why="the settings do not want images looked at")
        bases = looking.own_bases(self.inventory, self._open)
        found = looking.strays(target, self._open(target), bases, self.settings.strays)
        return looking.listing(target, found, len(bases), self._told(target))

    def _told(self, target: Registry) -> str:
        now = self.now()
        history = open_ledger().history
        entries = history.begun(now - REMEMBERED, now, toil=self.name, target=target.uid, limit=3, older=False)
        ended = (run for run in history.runs(entries) if run.id != self.run_id and run.status in TOLD)
        return next((str(run.evidence["told"]) for run in ended if run.evidence.get("told")), "")

    # -- who and where ------------------------------------------------------------------------------------------------

    def _base(self, target: Repository) -> Base | None:
        found: Base | None = self.settings.bases.get(_name(target))
        return found

    def _settled(self, target: Repository) -> Base:
        base = self._base(target)
        if base is None:
            raise PermanentError(f"the settings do not say how {_name(target)} is made")
        return base

    def _builder(self, base: Base) -> BuildHost:
        return open_build_host(
            self.inventory.host(base.host),
            documents=DOCUMENTS,
            builder=base.builder,
            mark=f"paydown run {self.run_id}",
            observing=self.observing,
            credentials=lambda: pulling(base.builder, self.inventory, aws.secret),
        )

    def _api(self, target: Repository) -> RegistryApi:
        return self._open(target.registry)

    def _open(self, registry: Registry) -> RegistryApi:
        return open_registry(registry, aws.secret, operator=not self.observing)

    def _free_tag(self, tags: Iterable[str]) -> str:
        """The day, and a number if that has a base already."""
        day, taken = self.now().strftime(DAY), set(tags)
        return next(tag for tag in (day, *(f"{day}.{number}" for number in range(1, 1_000))) if tag not in taken)


def key_of(base: Base, packages: Mapping[str, str]) -> str:
    """What a candidate is known by: a hash of its recipe and of the versions of its packages."""
    return hashlib.sha256(json.dumps([base.digest, sorted(packages.items())]).encode()).hexdigest()[:32]


def _name(target: Repository) -> str:
    return f"{target.registry.name}/{target.name}"


handler = handler_for(RefreshBaseImage)
