"""One image's build, by whoever builds it: begun once, and looked up by what it carries.

What a builder is told is the image's name, in characters that no shell knows, and a hash of the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.rebuild_stale_images.settings import Builder, CodeBuild, DockerHost, Workflow
from functions.rebuild_stale_images.standing import Image
from paydown.clients import aws, codebuild
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.docker import BuildHost, open_builds
from paydown.clients.docker_hosts.builds import BuildFailed, Context, TooLong
from paydown.clients.registry import credentials_of
from paydown.clients.registry_content import REPOSITORY, TAG
from paydown.clients.workflows import Workflow as WorkflowApi
from paydown.errors import PermanentError
from paydown.inventory import Host, Inventory, Registry

LABEL = "paydown.rebuild"
REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}(:[0-9]{1,5})?")
_PLACE = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Job:
    """The build of one image in one run."""

    registry: Registry
    repository: str
    tag: str
    builder: Builder
    run_id: str

    @property
    def image(self) -> str:
        """`registry/repository:tag`."""
        return f"{self.registry.name}/{self.repository}:{self.tag}"

    @property
    def mark(self) -> str:
        """What the build carries: the same for the same run and image (hex)."""
        return hashlib.sha256(f"{self.run_id} {self.image}".encode()).hexdigest()[:40]

    @property
    def ref(self) -> str:
        """The branch or tag that is built; empty for what the builder has as its own."""
        return (self.builder.by.ref or "").replace("{tag}", self.tag)


def job_of(registry: Registry, repository: str, tag: str, builder: Builder, run_id: str) -> Job:
    """The build of an image. Raises PermanentError for a name that is none."""
    known = REGISTRY.fullmatch(registry.name) and REPOSITORY.fullmatch(repository) and TAG.fullmatch(tag)
    if not known:
        raise PermanentError(f"{registry.name}/{repository}:{tag}"[:120] + " is no name of an image")
    return Job(registry, repository, tag, builder, run_id)


class Builders:
    """Those who build. All raise RetryableError and PermanentError."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def start(self, job: Job) -> Build:
        """Begin with a build. A host's is over then: it may have FAILED."""
        match job.builder.by:
            case CodeBuild(project=project):
                known = codebuild.find(project, job.mark)
                if known.state is not BuildState.ABSENT:  # its token is known for five minutes only
                    return Build(BuildState.RUNNING, known.name)
                return Build(BuildState.RUNNING, codebuild.start(project, job.mark, _variables(job), job.ref))
            case Workflow() as by:
                api = self._workflow(by)
                if api.find(job.mark).state is BuildState.ABSENT:
                    without = {by.no_cache: "true"} if by.no_cache else {}
                    api.start(job.ref, {"image": job.image, "paydown_run": job.mark, **without})
                return Build(BuildState.RUNNING, f"{by.file} of {by.url}")
            case DockerHost() as by:
                return self._build(job, by)

    def find(self, job: Job) -> Build:
        """How far a build is. A host pushes what it built."""
        match job.builder.by:
            case CodeBuild(project=project):
                return codebuild.find(project, job.mark)
            case Workflow() as by:
                return self._workflow(by).find(job.mark)
            case DockerHost() as by:
                return self._push(job, by)

    def overtaken(self, job: Job, image: Image, previous: str) -> bool:
        """Whether somebody else pushed while a host built: its push would put an older image in the place of theirs.

        `image` is what the tag is now, `previous` the digest for which the build was begun.
        """
        if not isinstance(job.builder.by, DockerHost) or image.digest == previous:
            return False
        ours = self._engine(job.builder.by).built(LABEL, job.mark)
        return not (image.digests | image.configs).intersection(ours)

    def refusal(self, job: Job) -> str:
        """Why a job cannot be done as policy and inventory stand; empty if it can."""
        if not isinstance(job.builder.by, DockerHost):
            return ""
        try:
            self._context(job)
            host = self._host(job.builder.by)
        except PermanentError as error:
            return str(error)
        if job.registry.system == "ecr":
            return f"our role does not push to {job.registry.name}: CodeBuild or a workflow can"
        if host.reach.via == "ssm":
            return f"{host.ref} is reached over ssm: a host builds over tcp or unix only"
        return ""

    def _workflow(self, by: Workflow) -> WorkflowApi:
        return WorkflowApi(by.url, by.file, by.secret, aws.secret)

    # -- a Docker host ------------------------------------------------------------------------------------------------

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
            except (BuildFailed, TooLong) as error:
                return Build(BuildState.FAILED, by.host, str(error))
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
            host.push(job.image, self._credentials(job.registry, operator=True))
        except TooLong:
            return Build(BuildState.RUNNING, by.host)  # the next push goes on where this one was
        return Build(BuildState.DONE, by.host)

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
        folder = "" if source.context == "." else source.context
        dockerfile = source.dockerfile
        if folder:
            inside = dockerfile.startswith(f"{folder.rstrip('/')}/")
            dockerfile = dockerfile[len(folder.rstrip("/")) + 1 :] if inside else dockerfile
        if folder and not _PLACE.fullmatch(folder):
            raise PermanentError(f"{source.name}: the folder {folder[:80]!r} cannot be named to an engine")
        place = f"#{job.ref}:{folder}" if job.ref or folder else ""
        return Context(remote=f"{source.url}{place.rstrip(':')}", dockerfile=dockerfile)

    def _engine(self, by: DockerHost) -> BuildHost:
        return open_builds(self._host(by))

    def _host(self, by: DockerHost) -> Host:
        hosts = self._inventory.hosts_named(by.host)
        if len(hosts) != 1:
            raise PermanentError(f"the inventory has {len(hosts)} hosts that answer to {by.host}, not one")
        return hosts[0]

    def _pulling(self, job: Job) -> dict[str, Mapping[str, str]]:
        """The credentials with which base images are pulled, by registry."""
        holding = [one for one in self._inventory.registries if one.bases or one.uid == job.registry.uid]
        found = {one.name: self._credentials(one) for one in holding}
        return {name: one for name, one in found.items() if one}

    @staticmethod
    def _credentials(registry: Registry, *, operator: bool = False) -> Mapping[str, str]:
        found: Mapping[str, Any] = credentials_of(registry, aws.secret, operator=operator)
        return {"username": found["username"], "password": found["password"]} if found else {}


def _variables(job: Job) -> dict[str, str]:
    return {"PAYDOWN_IMAGE": job.image, "PAYDOWN_NO_CACHE": "true"}
