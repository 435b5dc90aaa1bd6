"""CodeBuild and GitHub Actions over the wire: a build is begun once, found again, and tells why it failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.rebuild_stale_images.building import Builders, Job, job_of
from functions.rebuild_stale_images.settings import Builder
from paydown.clients import aws, codebuild, workflows
from paydown.clients.codebuild import Build, BuildState
from paydown.errors import PermanentError
from paydown.inventory import Inventory, Registry
from tests.integration.codebuild_server import CodeBuild
from tests.integration.workflow_server import Actions

REGISTRY = Registry(uid="r", name="images.example:5000", url="https://images.example:5000")
SECRET = "paydown/workflows/images"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[CodeBuild]:
    server = CodeBuild()
    for name, value in (
        ("AWS_ENDPOINT_URL_CODEBUILD", server.url),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", server.url),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
    ):
        monkeypatch.setenv(name, value)
    aws.forget()
    yield server
    aws.forget()
    server.close()


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Actions]:
    server = Actions()
    monkeypatch.setattr("paydown.clients.aws._secrets", {SECRET: (float("inf"), {"token": "t0ken"})})
    yield server
    server.close()


def job(by: dict[str, str], run: str = "run-1", tag: str = "v1") -> Job:
    builder = Builder.model_validate({"images": "*", "tags": ["*"], "by": by})
    return job_of(REGISTRY, "team/app", tag, builder, run)


def test_a_project_is_built_without_cache_once_for_a_run(service: CodeBuild) -> None:
    builders, mine = Builders(Inventory()), job({"via": "codebuild", "project": "images", "ref": "{tag}"})
    assert builders.find(mine).state is BuildState.ABSENT
    for _ in range(2):
        assert builders.start(mine) == Build(BuildState.RUNNING, "images:1")
    [asked] = [asked for operation, asked in service.asked if operation == "StartBuild"]
    assert asked["cacheOverride"] == {"type": "NO_CACHE"}
    assert (asked["sourceVersion"], asked["idempotencyToken"]) == ("v1", mine.mark)
    given = {one["name"]: one["value"] for one in asked["environmentVariablesOverride"]}
    assert given == {
        "PAYDOWN_IMAGE": "images.example:5000/team/app:v1",
        "PAYDOWN_NO_CACHE": "true",
        "PAYDOWN_RUN": mine.mark,
    }
    builders.start(job({"via": "codebuild", "project": "images"}, run="run-2"))
    assert builders.find(mine) == Build(BuildState.RUNNING, "images:1")
    service.builds[0]["buildStatus"] = "SUCCEEDED"
    assert builders.find(mine) == Build(BuildState.DONE, "images:1")


def test_a_repeat_within_minutes_is_the_same_build_for_codebuild_itself(service: CodeBuild) -> None:
    assert codebuild.start("images", "a" * 40, {}) == codebuild.start("images", "a" * 40, {}) == "images:1"


def test_a_failed_build_tells_its_last_lines_and_no_secret(service: CodeBuild) -> None:
    builders, mine = Builders(Inventory()), job({"via": "codebuild", "project": "images"})
    builders.start(mine)
    service.lines = [f"line {number}" for number in range(40)] + ["docker login --password=hunter2", "exit status 1"]
    service.end("FAILED")
    found = builders.find(mine)
    assert found.state is BuildState.FAILED
    assert found.log.startswith("FAILED: line 30 | ")
    assert found.log.endswith("password=*** | exit status 1")


def test_a_project_that_is_not_there_is_said_to_be(service: CodeBuild) -> None:
    with pytest.raises(PermanentError, match="CodeBuild project other: ResourceNotFoundException"):
        Builders(Inventory()).start(job({"via": "codebuild", "project": "other"}))


def test_a_workflow_is_dispatched_once_for_a_run(actions: Actions) -> None:
    by = {"via": "workflow", "url": actions.url, "file": "rebuild.yml", "secret": SECRET, "ref": "release-{tag}"}
    builders, mine = Builders(Inventory()), job(by)
    assert builders.find(mine).state is BuildState.ABSENT
    for _ in range(2):
        assert builders.start(mine).state is BuildState.RUNNING
    image = "images.example:5000/team/app:v1"
    inputs = {"image": image, "paydown_run": mine.mark, "no_cache": "true"}
    assert actions.dispatches == [{"ref": "release-v1", "inputs": inputs}]
    assert actions.tokens == {"Bearer t0ken"}
    assert builders.find(mine) == Build(BuildState.RUNNING, "https://github.com/acme/images/actions/runs/1")
    actions.listed = False
    assert builders.find(mine).state is BuildState.ABSENT
    actions.listed = True
    actions.end("success")
    assert builders.find(mine).state is BuildState.DONE


@pytest.mark.parametrize(("named", "inputs"), [("fresh", {"fresh": "true"}), (None, {})])
def test_the_input_without_cache_is_called_as_the_policy_says(
    actions: Actions, named: str | None, inputs: dict[str, str]
) -> None:
    by = {"via": "workflow", "url": actions.url, "file": "rebuild.yml", "secret": SECRET, "no_cache": named}
    mine = job(by)
    Builders(Inventory()).start(mine)
    image = "images.example:5000/team/app:v1"
    assert [one["inputs"] for one in actions.dispatches] == [{"image": image, "paydown_run": mine.mark, **inputs}]


def test_a_failed_run_tells_which_step_it_was(actions: Actions) -> None:
    api = workflows.Workflow(actions.url, "rebuild.yml", SECRET, aws.secret)
    api.start("main", {"image": "i", "paydown_run": "b" * 40})
    actions.end("failure")
    found = api.find("b" * 40)
    assert found.state is BuildState.FAILED
    assert "job rebuild, step Build: failure" in found.log
    assert "Checkout" not in found.log


def test_a_run_is_found_behind_a_hundred_others(actions: Actions) -> None:
    api = workflows.Workflow(actions.url, "rebuild.yml", SECRET, aws.secret)
    for number in range(120):
        api.start("main", {"image": "i", "paydown_run": f"{number:040}"})
    assert api.find(f"{3:040}").name.endswith("/runs/4")


def test_what_github_refuses_is_told_without_the_token(actions: Actions) -> None:
    api = workflows.Workflow(actions.url, "rebuild.yml", SECRET, aws.secret)
    with pytest.raises(PermanentError, match="No ref found") as refused:
        api.start("gone", {"image": "i", "paydown_run": "c"})
    assert "t0ken" not in str(refused.value)
    with pytest.raises(PermanentError, match="no file of a workflow"):
        workflows.Workflow(actions.url, "../secrets.yml", SECRET, aws.secret)
    with pytest.raises(PermanentError, match="JSON object with a token"):
        workflows.Workflow(actions.url, "rebuild.yml", SECRET, lambda name: {"password": "x"}).find("d")
