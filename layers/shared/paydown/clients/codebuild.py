"""AWS CodeBuild: one build of a project, found again by the run that it carries.

https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html: a repeat with the same token within five
minutes is the same build. Later it is looked up by the variable `PAYDOWN_RUN`, which is in the description of a build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from paydown.clients import aws
from paydown.clients.docker_hosts.builds import LINES, Log
from paydown.errors import PermanentError, RetryableError

RUN = "PAYDOWN_RUN"


class BuildState(StrEnum):
    """How far a build is. ABSENT: nobody knows of it (yet)."""

    ABSENT = "absent"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Build:
    """A build: how far it is, what it is called there, and of one that failed the last lines of its log."""

    state: BuildState
    name: str = ""
    log: str = ""


def start(project: str, run: str, variables: Mapping[str, str], version: str = "") -> str:
    """Begin with a build of `version` (a branch, tag or commit; empty: the project's own) without cache; its id."""
    asked: dict[str, Any] = {
        "projectName": project,
        "idempotencyToken": run,
        "environmentVariablesOverride": [
            {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in {**variables, RUN: run}.items()
        ],
        "cacheOverride": {"type": "NO_CACHE"},
    }
    if version:
        asked["sourceVersion"] = version
    with aws.translated(f"CodeBuild project {project}"):
        return str(aws.client("codebuild").start_build(**asked)["build"]["id"])


def find(project: str, run: str) -> Build:
    """The newest build of a project that carries this run, among its last hundred."""
    client = aws.client("codebuild")
    with aws.translated(f"CodeBuild project {project}"):
        ids = client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")["ids"][:100]
        builds = client.batch_get_builds(ids=ids)["builds"] if ids else []
    for one in sorted(builds, key=lambda build: ids.index(build["id"])):
        variables = one.get("environment", {}).get("environmentVariables", [])
        if any(it.get("name") == RUN and it.get("value") == run for it in variables):
            return _build(one)
    return Build(BuildState.ABSENT)


def _build(one: Mapping[str, Any]) -> Build:
    match one.get("buildStatus"):
        case "SUCCEEDED":
            return Build(BuildState.DONE, one["id"])
        case "IN_PROGRESS":
            return Build(BuildState.RUNNING, one["id"])
    return Build(BuildState.FAILED, one["id"], f"{one.get('buildStatus')}: {_log(one)}")


def _log(one: Mapping[str, Any]) -> str:
    """The last lines of its log; where they cannot be read, what its phases say."""
    log = Log()
    for phase in one.get("phases") or ():
        for context in phase.get("contexts") or ():
            log.add(str(context.get("message") or ""))
    where = one.get("logs") or {}
    group, stream = where.get("groupName"), where.get("streamName")
    if group and stream:
        try:
            with aws.translated(f"the log of {one['id']}"):
                found = aws.client("logs").get_log_events(
                    logGroupName=group, logStreamName=stream, limit=LINES, startFromHead=False
                )
            for event in found["events"]:
                log.add(str(event.get("message") or ""))
        except (PermanentError, RetryableError) as error:
            log.add(str(error))
    return str(log)
