"""Rebuild the images that stand on an old base image, or hold a frozen upgrade that is too old, in their order.

docs/rebuild-stale-images.md tells operators how images are matched with bases and builders, and what ends a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from functions.rebuild_stale_images.actions import FinishBuild, Rebuild, StartBuild
from functions.rebuild_stale_images.building import Builders, Job, job_of
from functions.rebuild_stale_images.memory import hopeless, kept, note, remembered, remembering
from functions.rebuild_stale_images.reading import read
from functions.rebuild_stale_images.settings import Settings
from functions.rebuild_stale_images.standing import Findings, Image, depth, findings, is_frozen, stands_on
from functions.rebuild_stale_images.survey import survey
from paydown.clients import aws
from paydown.clients.codebuild import BuildState
from paydown.clients.registry import RegistryApi, open_registry
from paydown.errors import PermanentError
from paydown.events import Event, ImagePushed, Sweep
from paydown.inventory import Inventory, Registry
from paydown.ledger import open_ledger
from paydown.plan import Applied, Done, Draft, Moot, NotYet, Population, Record, Seen, Unverified, Verified
from paydown.toil import Pace, Toil, handler_for

__all__ = ["RebuildStaleImages", "Settings", "handler"]

LOOK_AGAIN = timedelta(seconds=20)
SHOWN = 20
REASON = 2_000
"""Characters of what a build said that stand in the outcome."""
REMEMBERED = timedelta(days=90)
RUNS = 5


class RebuildStaleImages(Toil[Registry]):
    """One run per registry, when a base image was pushed or a schedule fired."""

    listens_to = (ImagePushed, Sweep)
    does = (StartBuild, FinishBuild)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Registry]:
        """Every registry: a base may have images in each. Of pushes, those count that are to a repository of bases."""
        if isinstance(event, ImagePushed):
            registry = inventory.registry(event.registry)
            if registry is None or event.repository not in registry.bases:
                return ()
        return inventory.registries

    def plan(self, target: Registry) -> Draft:
        """What is stale, with what stands on it, in stages: the builds of one begin when those before have ended."""
        settings: Settings = self.settings
        if not settings.builders:
            return Draft(why="the settings name nobody who builds")
        history = open_ledger().history
        now = self.now()
        entries = history.begun(now - REMEMBERED, now, toil=self.name, target=target.uid, limit=RUNS, older=False)
        known = remembered(run for run in history.runs(entries) if run.id != self.run_id)
        seen = survey(target, self.inventory, settings, self._open, known.bases)
        jobs = {name: self._job(target, name) for name in seen.ours}
        refused = {name: why for name, job in jobs.items() if job and (why := self._builders.refusal(job))}
        ours = [name for name, job in jobs.items() if job and name not in refused]
        age = timedelta(days=settings.frozen_days)
        found = findings(seen.images, seen.told, ours, now, age)
        in_vain = kept(known.in_vain, seen.images)
        if skipped := hopeless(found, seen.images, in_vain, now, age):
            refused |= skipped
            found = findings(seen.images, seen.told, [name for name in ours if name not in skipped], now, age)
        order = [name for stage in found.stages for name in stage]
        chosen = set(order[: settings.most])
        before: dict[str, Any] = {
            "images": len(seen.ours),
            "left": seen.left + len(order) - len(chosen),
            "circular": list(found.circular[:SHOWN]),
            "refused": dict(sorted(refused.items())[:SHOWN]),
            "bases": remembering(seen.images, found.standing),
            "in_vain": in_vain,
        }
        stages: list[list[Rebuild]] = []
        for stage in found.stages:
            mine = [name for name in stage if name in chosen]
            stages += [
                [self._action(kind, name, seen.images, found, chosen, jobs[name]) for name in mine]
                for kind in self.does
            ]
        rest = f"{len(refused)} are refused, and each other image" if refused else "each image"
        return Draft.of(*stages, why=f"{rest} stands on its base as that is now", **before)

    def population(self, target: Registry) -> Population | None:
        """None: what runs goes on with the image that it has. How much one run rebuilds is limited by `most`."""
        return None

    def pace(self) -> Pace:
        """Builds of one stage begin together."""
        return Pace(parallel=4)

    def apply(self, action: StartBuild | FinishBuild, target: Registry) -> Applied:
        """Begin with a build, or look how far it is."""
        job = self._job(target, action.object)
        if job is None:
            return Moot("the settings name nobody who builds it any more")
        image = self._read(action.object)
        if image is None:
            return Moot("it is gone")
        if isinstance(action, StartBuild):
            if image.digest != action.digest:
                return Moot(f"it is {image.digest} meanwhile")
            if why := self._base_behind(action):
                return Moot(why)
            begun = self._builders.start(job)
            if begun.state is BuildState.FAILED:
                return Moot(f"the build failed: {begun.log}")
            return Done({"build": begun.name, "run": job.mark})
        return self._finish(action, job, image)

    def verify(self, target: Registry, record: Record) -> Seen:
        """Each image is another one, and stands on its base as the registry has it now."""
        steps = [step for step in record.steps if isinstance(step.action, FinishBuild)]
        said = {step.action.object: step.why for step in record.steps if isinstance(step.action, StartBuild)}
        problems: dict[str, str] = {}
        rebuilt: dict[str, str] = {}
        stands_on: dict[str, str] = {}
        in_vain: dict[str, Any] = {}
        for step in steps:
            action = step.action
            assert isinstance(action, FinishBuild)  # noqa: S101 -- as chosen above
            image, base = self._read(action.object), self._read(action.base) if action.base else None
            why = "it is gone" if image is None else self._fault(action, image, base)
            if step.evidence.get("fault"):
                it = step.evidence
                in_vain[action.object] = note(it["image"], it["base"], it["fault"], self.now())
            if image is not None and not why:
                rebuilt[action.object] = image.digest
                if base is not None:
                    stands_on[action.object] = f"{base.name}@{base.digest}"
            else:
                told = " · ".join(dict.fromkeys(filter(None, (why, said.get(action.object, ""), step.why))))
                problems[action.object] = told[:REASON]
        evidence = {
            "rebuilt": dict(sorted(rebuilt.items())[:SHOWN]),
            "previous": {name: digest for name, digest in self._previous(steps).items() if name in rebuilt},
            "stands_on": dict(sorted(stands_on.items())[:SHOWN]),
            "in_vain": in_vain,
            **{name: record.before[name] for name in ("images", "left", "circular", "refused")},
        }
        if not problems:
            return Verified(evidence, {"images": len(rebuilt)})
        evidence["failed"] = dict(sorted(problems.items())[:SHOWN])
        text = "; ".join(f"{name}: {why}" for name, why in sorted(problems.items())[:SHOWN])
        return Unverified(f"{len(problems)} of {len(steps)} images: {text}"[:REASON], evidence)

    # -- one image ----------------------------------------------------------------------------------------------------

    def _finish(self, action: FinishBuild, job: Job, image: Image) -> Applied:
        again = self.now() + LOOK_AGAIN
        if image.digest == action.digest and (why := self._base_behind(action)):
            return Moot(why)  # so its build was not begun
        if self._builders.overtaken(job, image, action.digest):
            return Moot(f"it is {image.digest} meanwhile: what others pushed is not replaced by an older build")
        build = self._builders.find(job)
        match build.state:
            case BuildState.FAILED:
                return Moot(f"the build failed: {build.log}"[:REASON])
            case BuildState.RUNNING:
                return NotYet(again, f"{build.name} builds {job.image}")
            case BuildState.ABSENT if image.digest != action.digest:
                return Moot(f"it is {image.digest} meanwhile, and no build of this run is known")
            case BuildState.ABSENT if job.builder.by.via == "host":
                return Moot("nothing was built")
            case BuildState.ABSENT:
                return NotYet(again, f"no build of {job.image} is listed that carries {job.mark}")
        made = self._read(action.object)
        if made is None:
            return Moot("the build succeeded, but it is gone")
        base = self._read(action.base) if action.base else None
        seen = {"image": made.digest, "previous": action.digest, "build": build.name}
        seen |= {"base": base.digest if base else "", "fault": self._fault(action, made, base)}
        return Done({name: text for name, text in seen.items() if text or name == "base"})

    def _fault(self, action: Rebuild, image: Image, base: Image | None) -> str:
        """Why an image is not as the plan wants it, with its base as that is now; empty if it is."""
        if image.digest == action.digest:
            return "the tag is the same image as before"
        if action.base and (base is None or not stands_on(image, base)):
            return f"its layers do not begin with those of {action.base}"
        if action.frozen and is_frozen(image, base, self.now(), timedelta(days=self.settings.frozen_days)):
            return f"it holds an upgrade that is older than {self.settings.frozen_days} days"
        return ""

    def _base_behind(self, action: Rebuild) -> str:
        """Why the base is not as far as this build needs it; empty if it is."""
        if not action.waits:
            return ""
        base = self._read(action.base)
        if base is None or base.digest == action.base_digest:
            return f"its base {action.base} was not rebuilt"
        return ""

    def _action(
        self,
        kind: type[Rebuild],
        name: str,
        images: dict[str, Image],
        found: Findings,
        chosen: set[str],
        job: Job | None,
    ) -> Rebuild:
        image, standing = images[name], found.standing.get(name)
        base = images[standing.base] if standing else None
        waits = base is not None and base.name in chosen
        below = f" on {depth(image, base.now | base.earlier)} layers of {base.name}" if base else ""
        why = "an upgrade in it is too old" if name in found.frozen else "its base is another one now"
        what = "is not built" if kind is StartBuild else "is not pushed"
        manner = self._builders.manner(job) if job and kind is StartBuild else ""
        return kind(
            object=name,
            precondition=f"it is {image.digest}, and a build of it {what}",
            digest=image.digest,
            base=base.name if base else "",
            base_digest=base.digest if base else "",
            waits=waits,
            frozen=name in found.frozen,
            note="; ".join(filter(None, (f"{why}{below}", manner))),
        )

    @staticmethod
    def _previous(steps: Iterable[Any]) -> dict[str, str]:
        return {step.action.object: step.action.digest for step in steps}

    # -- who and where ------------------------------------------------------------------------------------------------

    @property
    def _builders(self) -> Builders:
        return Builders(self.inventory)

    def _job(self, target: Registry, name: str) -> Job | None:
        registry, _, rest = name.partition("/")
        repository, _, tag = rest.rpartition(":")
        builder = self.settings.builder(f"{registry}/{repository}", tag)
        return job_of(target, repository, tag, builder, self.run_id) if builder else None

    def _read(self, name: str) -> Image | None:
        """An image of an inventory's registry, by its whole name."""
        host, _, rest = name.partition("/")
        registry = self.inventory.registry(host)
        if registry is None:
            raise PermanentError(f"{host} is no registry of the inventory any more")
        repository, _, tag = rest.rpartition(":")
        return read(self._open(registry), registry.name, repository, tag)

    @staticmethod
    def _open(registry: Registry) -> RegistryApi:
        return open_registry(registry, aws.secret)


handler = handler_for(RebuildStaleImages)
