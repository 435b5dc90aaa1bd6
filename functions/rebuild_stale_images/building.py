"""One image's build, by whoever builds it: begun once, and looked up by what it carries.

What a builder is told is the image's name, in characters that no shell knows, and a hash of the run.
"""

from __future__ import annotations

from functions.rebuild_stale_images.hosts import HostBuilds
from functions.rebuild_stale_images.jobs import LABEL, Job, job_of
from functions.rebuild_stale_images.settings import CodeBuild, DockerHost, Workflow
from functions.rebuild_stale_images.standing import Image
from paydown.clients import aws, codebuild
from paydown.clients.codebuild import Build, BuildState
from paydown.clients.workflows import Workflow as WorkflowApi
from paydown.inventory import Inventory

__all__ = ["LABEL", "Builders", "Job", "job_of"]


class Builders:
    """Those who build. All raise RetryableError and PermanentError."""

    def __init__(self, inventory: Inventory) -> None:
        self._hosts = HostBuilds(inventory)

    def start(self, job: Job) -> Build:
        """Begin with a build. One that a host does in the foreground is over then: it may have FAILED."""
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
                return self._hosts.start(job, by)

    def find(self, job: Job) -> Build:
        """How far a build is. A host pushes what it built."""
        match job.builder.by:
            case CodeBuild(project=project):
                return codebuild.find(project, job.mark)
            case Workflow() as by:
                return self._workflow(by).find(job.mark)
            case DockerHost() as by:
                return self._hosts.find(job, by)

    def overtaken(self, job: Job, image: Image, previous: str) -> bool:
        """Whether somebody else pushed while a host built: its push would put an older image in the place of theirs.

        `image` is what the tag is now, `previous` the digest for which the build was begun.
        """
        if not isinstance(job.builder.by, DockerHost) or image.digest == previous:
            return False
        return not (image.digests | image.configs).intersection(self._hosts.made(job, job.builder.by))

    def refusal(self, job: Job) -> str:
        """Why a job cannot be done as policy and inventory stand; empty if it can."""
        return self._hosts.refusal(job, job.builder.by) if isinstance(job.builder.by, DockerHost) else ""

    def manner(self, job: Job) -> str:
        """What somebody who looks at the plan must know of how it is built; empty if nothing."""
        return self._hosts.manner(job.builder.by) if isinstance(job.builder.by, DockerHost) else ""

    def _workflow(self, by: Workflow) -> WorkflowApi:
        return WorkflowApi(by.url, by.file, by.secret, aws.secret)


def _variables(job: Job) -> dict[str, str]:
    return {"PAYDOWN_IMAGE": job.image, "PAYDOWN_NO_CACHE": "true"}
