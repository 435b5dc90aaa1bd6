"""GitHub Actions: one run of a workflow that is started by hand, found again by the name that it bears.

https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event does not take a token of ours, so the
workflow must show its input in its `run-name`, and a run is looked up by that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from paydown.clients.codebuild import Build, BuildState
from paydown.clients.docker_hosts.builds import Log
from paydown.clients.web import Web
from paydown.errors import PermanentError

API_VERSION = "2022-11-28"
PAGES = 3
PAGE = 100
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml")


class Workflow:
    """A workflow's file in a repository, whose address in the API is `url` (`https://api.github.com/repos/O/N`)."""

    def __init__(self, url: str, file: str, secret: str, secrets: Callable[[str], Any]) -> None:
        if not FILE.fullmatch(file):
            raise PermanentError(f"{file[:80]!r} is no file of a workflow")
        self._file = file
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
        self._web = Web(url, lambda: _authorised(secret, secrets(secret)), headers)

    def start(self, ref: str, inputs: Mapping[str, str]) -> None:
        """Begin with a run at a branch or tag. It shows in the list of runs some seconds later."""
        path = f"/actions/workflows/{quote(self._file, safe='')}/dispatches"
        self._web.call("POST", path, {"ref": ref, "inputs": dict(inputs)})

    def find(self, run: str) -> Build:
        """The newest run whose name holds `run`."""
        for one in self._runs():
            if run in str(one.get("display_title") or one.get("name") or ""):
                return self._build(one)
        return Build(BuildState.ABSENT)

    def _runs(self) -> Iterator[Mapping[str, Any]]:
        path = f"/actions/workflows/{quote(self._file, safe='')}/runs?event=workflow_dispatch&per_page={PAGE}"
        for page in range(1, PAGES + 1):
            found = _listed(self._web.call("GET", f"{path}&page={page}").data, "workflow_runs")
            yield from found
            if len(found) < PAGE:
                return

    def _build(self, one: Mapping[str, Any]) -> Build:
        name = str(one.get("html_url") or one.get("id"))
        if one.get("status") != "completed":
            return Build(BuildState.RUNNING, name)
        if one.get("conclusion") == "success":
            return Build(BuildState.DONE, name)
        log = Log()
        log.add(f"{one.get('conclusion')}: {name}")
        jobs = self._web.call("GET", f"/actions/runs/{int(one['id'])}/jobs?per_page={PAGE}").data
        for job in _listed(jobs, "jobs"):
            for step in _listed(job, "steps"):
                if step.get("conclusion") not in ("success", "skipped", None):
                    log.add(f"job {job.get('name')}, step {step.get('name')}: {step.get('conclusion')}")
        return Build(BuildState.FAILED, name, str(log))


def _listed(data: Any, field: str) -> list[Mapping[str, Any]]:
    found = data.get(field) if isinstance(data, Mapping) else None
    if not isinstance(found, list):
        raise PermanentError(f"GitHub's {field} have not the documented shape")
    return [one for one in found if isinstance(one, Mapping)]


def _authorised(name: str, content: Any) -> dict[str, str]:
    token = content.get("token") if isinstance(content, Mapping) else None
    if not isinstance(token, str) or not token.isprintable() or not token:
        raise PermanentError(f"the secret {name} must be a JSON object with a token")
    return {"Authorization": f"Bearer {token}"}
