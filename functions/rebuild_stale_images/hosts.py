"""Builds on Docker hosts: in the background wherever that is possible.

A host that is reached over SSM runs the documents of this folder by its agent, with its own login. One that is reached
by a socket runs them in containers of the image that the policy names; if it names none, the engine is asked to build
and to push in the foreground, each within the time of one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from functions.rebuild_stale_images.jobs import LABEL, Job
from functions.rebuild_stale_images.settings import DockerHost
from paydown.clients import aws
from paydown.clients.bases import open_runner
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.command_documents import read_document
from paydown.clients.docker_builds import BuildHost, open_builds
from paydown.clients.docker_hosts.builds import CALL_SECONDS, BuildFailed, Context, TooLong
from paydown.clients.docker_hosts.logins import Login
from paydown.clients.docker_hosts.rebuilds import BUILD_DOCUMENT, PUSH_DOCUMENT, RebuildHost, Recipe
from paydown.clients.registry import credentials_of, pulling
from paydown.errors import PermanentError
from paydown.inventory import Host, Inventory, Ssm

DOCUMENTS = Path(__file__).resolve().parent / "documents"
_PLACE = re.compile(r"[A-Za-z0-9._/-]+")


class HostBuilds:
    """The Docker hosts of the inventory, as builders. All raise RetryableError and PermanentError."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def start(self, job: Job, by: DockerHost) -> Build:
        """Begin with a build; in the foreground it is over then, and may have FAILED."""
        if not self._background(by):
            return self._build(job, by)
        try:
            self._rebuilds(job, by).start(job.mark, self._recipe(job, by), self._login(by, lambda: self._pulling(job)))
        except PermanentError as error:  # of this host or image: the others go on
            return Build(BuildState.FAILED, by.host, str(error))
        return Build(BuildState.RUNNING, by.host)

    def find(self, job: Job, by: DockerHost) -> Build:
        """How far a build is. What is built is pushed; what got lost on its way to the host is begun."""
        if not self._background(by):
            return self._push(job, by)
        try:
            host = self._rebuilds(job, by)
            seen = host.read(job.mark)
            if seen.pushed and not seen.running:
                return Build(BuildState.DONE, by.host)
            if seen.failed:
                return Build(BuildState.FAILED, by.host, f"{by.host}: {seen.told(seen.failed, self._hidden(job, by))}")
            if seen.killed:
                why = f"it was killed, or its {by.minutes} minutes were over"
                return Build(BuildState.FAILED, by.host, f"{by.host}: {seen.told(why, self._hidden(job, by))}")
            if seen.image and not seen.running:
                host.push(job.mark, job.image, self._login(by, lambda: self._pushing(job)))
            elif not seen.begun:
                host.start(job.mark, self._recipe(job, by), self._login(by, lambda: self._pulling(job)))
        except PermanentError as error:
            return Build(BuildState.FAILED, by.host, str(error))
        return Build(BuildState.RUNNING, by.host)

    def made(self, job: Job, by: DockerHost) -> list[str]:
        """The ids of the images that were built for a job."""
        if not self._background(by):
            return self._engine(by).built(LABEL, job.mark)
        image = self._rebuilds(job, by).read(job.mark).image
        return [image] if image else []

    def refusal(self, job: Job, by: DockerHost) -> str:
        """Why a host cannot build it as policy and inventory stand; empty if it can."""
        try:
            self._context(job)
            self._host(by)
            if self._background(by):
                asked = {"Mark": [job.mark], **self._recipe(job, by).parameters}
                read_document(DOCUMENTS, BUILD_DOCUMENT).check(asked)
                read_document(DOCUMENTS, PUSH_DOCUMENT).check({"Mark": [job.mark], "Name": [job.image]})
        except PermanentError as error:
            return str(error)
        return ""

    def manner(self, by: DockerHost) -> str:
        """How it is built, for a person."""
        host = self._host(by)
        if isinstance(host.reach, Ssm):
            return f"built and pushed by {host.name} with its own login"
        if by.builder:
            return f"built and pushed in containers of {by.builder}, which get the engine of {host.name}"
        return (
            f"built by {host.name} in the foreground: a build or push that takes more than {CALL_SECONDS:.0f} s is "
            "stopped, as the policy names no `builder` image"
        )

    # -- in the background --------------------------------------------------------------------------------------------

    def _background(self, by: DockerHost) -> bool:
        return bool(by.builder) or isinstance(self._host(by).reach, Ssm)

    def _rebuilds(self, job: Job, by: DockerHost) -> RebuildHost:
        runner = open_runner(
            self._host(by),
            documents=DOCUMENTS,
            builder=by.builder,
            mark=f"paydown run {job.run_id} {job.mark[:8]}",  # builds of one run begin side by side
            observing=False,
            credentials=lambda: pulling(by.builder, self._inventory, aws.secret),
        )
        return RebuildHost(runner)

    def _recipe(self, job: Job, by: DockerHost) -> Recipe:
        context = self._context(job)
        return Recipe(context.remote, context.dockerfile, by.minutes * 60, by.free_mib)

    def _login(self, by: DockerHost, known: Callable[[], Login]) -> Login | None:
        """What goes along with a command; None where the host's own login has to do."""
        return None if isinstance(self._host(by).reach, Ssm) else known() or None

    def _hidden(self, job: Job, by: DockerHost) -> Iterable[str]:
        """Passwords that a log might show."""
        login = self._login(by, lambda: self._pulling(job)) or {}
        return [one["password"] for one in login.values()]

    # -- in the foreground --------------------------------------------------------------------------------------------

    def _build(self, job: Job, by: DockerHost) -> Build:
        host = self._engine(by)
        found = host.built(LABEL, job.mark)
        if not found:
            try:
                made = host.build(
                    self._context(job),
                    tag=job.image,
                    labels={LABEL: job.mark},
                    credentials=self._pulling(job),
                )
            except BuildFailed as error:
                return Build(BuildState.FAILED, by.host, str(error))
            except TooLong as error:
                return Build(BuildState.FAILED, by.host, f"{error}: with a `builder` image it may take longer")
            found = [made]
        host.tag(found[0], job.image)
        return Build(BuildState.RUNNING, by.host)

    def _push(self, job: Job, by: DockerHost) -> Build:
        host = self._engine(by)
        found = host.built(LABEL, job.mark)
        if not found:
            return Build(BuildState.ABSENT, by.host)
        host.tag(found[0], job.image)
        try:
            host.push(job.image, credentials_of(job.registry, aws.secret, operator=True))
        except TooLong:
            return Build(BuildState.RUNNING, by.host)  # the next push goes on where this one was
        return Build(BuildState.DONE, by.host)

    def _engine(self, by: DockerHost) -> BuildHost:
        return open_builds(self._host(by))

    # -- what and where -----------------------------------------------------------------------------------------------

    def _context(self, job: Job) -> Context:
        """The git repository that the inventory names as the image's source."""
        sources = self._inventory.sources_of(job.registry.name, job.repository)
        if len(sources) != 1:
            raise PermanentError(f"the inventory has {len(sources)} sources of {job.image}, not one")
        source = sources[0]
        if source.secret:
            raise PermanentError(
                f"{source.name} wants credentials, and an engine gets none for a source: a workflow can"
            )
        if not source.url.endswith(".git"):
            raise PermanentError(f"the address of {source.name} must end with .git, so that an engine clones it")
        folder = source.context.rstrip("/")
        folder = "" if folder == "." else folder
        dockerfile = source.dockerfile.removeprefix(f"{folder}/") if folder else source.dockerfile
        if folder and not _PLACE.fullmatch(folder):
            raise PermanentError(f"{source.name}: the folder {folder[:80]!r} cannot be named to an engine")
        place = f"#{job.ref}:{folder}" if job.ref or folder else ""
        return Context(remote=f"{source.url}{place.rstrip(':')}", dockerfile=dockerfile)

    def _host(self, by: DockerHost) -> Host:
        return self._inventory.host(by.host)

    def _pushing(self, job: Job) -> Login:
        """The credentials with which an image is pushed."""
        found = credentials_of(job.registry, aws.secret, operator=True)
        return {job.registry.name: found} if found else {}

    def _pulling(self, job: Job) -> Login:
        """The credentials with which base images are pulled, by registry."""
        holding = [one for one in self._inventory.registries if one.bases or one.uid == job.registry.uid]
        found = {one.name: credentials_of(one, aws.secret) for one in holding}
        return {name: one for name, one in found.items() if one}
