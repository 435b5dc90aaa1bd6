"""What only the way over SSM has: documents, patterns, long output, and commands that do not end well."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local.ssm_agent.publish import publish_documents
from paydown.clients import aws
from paydown.clients.docker import Fate, open_host
from paydown.clients.docker_hosts import ssm
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Host, Ssm
from tests.real.docker_engine import BUCKET, STACK, Engine
from tests.real.ssm_standin import DARK_INSTANCE, INSTANCE, SsmStandIn

LIST, REMOVE = f"{STACK}-ListDanglingImages", f"{STACK}-RemoveDanglingImages"


def another(instance_id: str) -> Host:
    return Host(uid=instance_id, name="other", reach=Ssm(via="ssm", instance_id=instance_id))


def swap(monkeypatch: pytest.MonkeyPatch, folder: Path, *script: str, seconds: int = 28) -> None:
    """Make the listing document of a stack of its own run this script."""
    step = {"action": "aws:runShellScript", "name": "list"}
    step["inputs"] = {"timeoutSeconds": str(seconds), "runCommand": list(script)}  # type: ignore[assignment]  # JSON
    (folder / "list_dangling_images.json").write_text(json.dumps({"schemaVersion": "2.2", "mainSteps": [step]}))
    stack = f"swapped-{time.monotonic_ns()}"
    publish_documents(aws.client("ssm"), stack, folder)
    monkeypatch.setenv("PAYDOWN_STACK", stack)


def test_the_comment_tells_who_asked(engine: Engine, over_ssm: Host) -> None:
    open_host(over_ssm, observing=True, mark="paydown run 1f0c").list_images()
    invocations = aws.client("ssm").list_command_invocations(InstanceId=INSTANCE)["CommandInvocations"]
    assert "paydown run 1f0c" in [one["Comment"] for one in invocations]


def test_output_beyond_24000_characters_comes_through_s3(engine: Engine, over_ssm: Host) -> None:
    count = 120  # at some 290 characters for each
    ids = engine.rebuilt("app:1", count)
    listing = open_host(over_ssm, observing=True).list_images()
    assert {image.id for image in listing.dangling} == set(ids)
    keys = [one["Key"] for one in aws.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(key.startswith("docker-hosts/") and key.endswith("/awsrunShellScript/list/stdout") for key in keys)


def test_long_output_without_a_bucket_is_refused_and_not_taken_for_all(
    engine: Engine, over_ssm: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYDOWN_OUTPUT_BUCKET")
    engine.rebuilt("app:1", 120)
    with pytest.raises(PermanentError, match="PAYDOWN_OUTPUT_BUCKET"):
        open_host(over_ssm, observing=True).list_images()


@pytest.mark.parametrize(
    "value", ["sha256:" + "0" * 63, "app:1", "sha256:" + "0" * 64 + "\n", "$(touch /tmp/x)", "'; reboot; '"]
)
def test_only_image_ids_get_into_the_script(over_ssm: Host, value: str) -> None:
    with pytest.raises(PermanentError, match="InvalidParameters"):
        open_host(over_ssm, observing=False).remove_images([value])


def test_the_listing_takes_no_parameters(over_ssm: Host) -> None:
    with pytest.raises(ClientError, match="InvalidParameters"):
        aws.client("ssm").send_command(InstanceIds=[INSTANCE], DocumentName=LIST, Parameters={"ImageIds": ["x"]})


def test_no_image_is_begun_when_the_document_s_time_is_up(
    engine: Engine, over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (image,) = engine.rebuilt("app:1", 1)
    content = aws.client("ssm").get_document(Name=REMOVE)["Content"]
    assert "+ 18))" in content
    (tmp_path / "remove_dangling_images.json").write_text(content.replace("+ 18))", "+ 0))"))
    publish_documents(aws.client("ssm"), "hasty", tmp_path)
    monkeypatch.setenv("PAYDOWN_STACK", "hasty")
    (removal,) = open_host(over_ssm, observing=False).remove_images([image])
    assert removal.fate is Fate.SKIPPED
    assert image in engine.images()


def test_an_unknown_instance_is_worth_another_try(over_ssm: Host) -> None:
    with pytest.raises(RetryableError, match="does not know i-00000000"):
        open_host(another("i-00000000"), observing=True).list_images()


def test_a_missing_document_is_a_permanent_fault(over_ssm: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYDOWN_STACK", "elsewhere")
    with pytest.raises(PermanentError, match="elsewhere-ListDanglingImages: InvalidDocument"):
        open_host(over_ssm, observing=True).list_images()


def test_without_a_stack_the_documents_have_no_name(over_ssm: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYDOWN_STACK")
    with pytest.raises(PermanentError, match="PAYDOWN_STACK"):
        open_host(over_ssm, observing=True).list_images()


def test_an_engine_that_is_down_is_worth_another_try(over_ssm: Host) -> None:
    host = open_host(another(DARK_INSTANCE), observing=False)
    with pytest.raises(RetryableError, match=r"the Docker engine does not answer: .*nothing\.sock"):
        host.list_images()
    with pytest.raises(RetryableError, match="the Docker engine does not answer"):
        host.remove_images(["sha256:" + "0" * 64])


def test_a_host_without_docker_is_a_permanent_fault(
    over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = json.loads(aws.client("ssm").get_document(Name=LIST)["Content"])
    swap(monkeypatch, tmp_path, "PATH=/nowhere", *content["mainSteps"][0]["inputs"]["runCommand"])
    with pytest.raises(PermanentError, match="the docker command is not installed"):
        open_host(over_ssm, observing=True).list_images()


def test_a_command_that_runs_too_long_is_stopped_there(
    over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    swap(monkeypatch, tmp_path, "sleep 60", seconds=1)
    with pytest.raises(RetryableError, match="ExecutionTimedOut"):
        open_host(over_ssm, observing=True).list_images()


def test_a_command_that_still_runs_at_our_limit_is_looked_at_later(
    over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    swap(monkeypatch, tmp_path, "sleep 25")
    monkeypatch.setattr(ssm, "COMMAND_SECONDS", 5.0)
    with pytest.raises(RetryableError, match="is InProgress after 5 s"):
        open_host(over_ssm, observing=True).list_images()


def test_a_script_that_fails_says_why(over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    swap(monkeypatch, tmp_path, "echo no such luck >&2", "exit 3")
    with pytest.raises(RetryableError, match="Failed: no such luck"):
        open_host(over_ssm, observing=True).list_images()


def test_nonsense_is_a_permanent_fault(over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    swap(monkeypatch, tmp_path, "echo info nonsense", "echo paydown-end")
    with pytest.raises(PermanentError, match="makes no sense"):
        open_host(over_ssm, observing=True).list_images()


def test_ssm_that_does_not_answer_is_worth_another_try(
    over_ssm: Host, monkeypatch: pytest.MonkeyPatch, ssm_agent: SsmStandIn
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9")
    aws.forget()
    with pytest.raises(RetryableError, match="AWS does not answer"):
        open_host(over_ssm, observing=True).list_images()


@pytest.mark.parametrize("removed", [False, True], ids=["there", "removed meanwhile"])
def test_a_container_that_cannot_be_looked_at_fails_the_listing_unless_it_is_gone(
    engine: Engine, over_ssm: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, removed: bool
) -> None:
    kept, hidden = engine.container(engine.image("app:1")), engine.container(engine.image("app:2", content=b"2"))
    image = engine.docker("container", "inspect", "--format", "{{.Image}}", kept)
    docker = shutil.which("docker")
    (tmp_path / "bin").mkdir()
    # As an engine that fails for one of many: the command tells of the others, and ends with 1.
    then = f"{docker} container rm {hidden} >/dev/null" if removed else ":"
    others = f'{then}; for one; do shift; [ "$one" = {hidden} ] || set -- "$@" "$one"; done; {docker} "$@"; exit 1'
    fails = f'case "$*" in "container inspect"*{hidden}*) {others} ;; esac'
    (tmp_path / "bin/docker").write_text(f'#!/bin/sh\n{fails}\nexec {docker} "$@"\n')
    (tmp_path / "bin/docker").chmod(0o755)
    content = json.loads(aws.client("ssm").get_document(Name=LIST)["Content"])
    swap(monkeypatch, tmp_path, f"PATH={tmp_path}/bin:$PATH", *content["mainSteps"][0]["inputs"]["runCommand"])
    host = open_host(over_ssm, observing=True)
    if removed:
        assert host.list_images().used == {image}
    else:
        with pytest.raises(RetryableError, match=f"container {hidden} cannot be looked at"):
            host.list_images()
