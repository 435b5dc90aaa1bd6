"""The stand-in answers as SSM's own service model says, runs scripts for real, and keeps what they wrote."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser
from botocore.validate import ParamValidator

from local.ssm_agent.commands import Invocation
from local.ssm_agent.documents import SsmError
from local.ssm_agent.service import Service

MODEL = botocore.session.get_session().get_service_model("ssm")
ONE, TWO = "i-0123456789abcdef0", "i-0fedcba9876543210"


def content(*script: str, seconds: int = 20, **parameters: Any) -> str:
    inputs = {"runCommand": list(script), "timeoutSeconds": str(seconds)}
    steps = [{"action": "aws:runShellScript", "name": "go", "inputs": inputs}]
    return json.dumps({"schemaVersion": "2.2", "description": "d", "parameters": parameters, "mainSteps": steps})


class Caller:
    """Calls the service as boto3 would: inputs, outputs and error codes are held against the service model."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, operation: str, **request: Any) -> dict[str, Any]:
        model = MODEL.operation_model(operation)
        report = ParamValidator().validate(request, model.input_shape)
        assert not report.has_errors(), report.generate_report()
        try:
            answer = self.service.call(operation, request)
        except SsmError as error:
            known = {shape.name for shape in model.error_shapes}
            if error.code in known:
                raise
            raise AssertionError(f"{operation} never answers {error.code}") from error
        unknown = set(answer) - set(model.output_shape.members)
        assert not unknown
        raw = {"body": json.dumps(answer).encode(), "headers": {}, "status_code": 200}
        parsed: dict[str, Any] = create_parser("json").parse(raw, model.output_shape)
        assert len(_leaves(parsed)) == len(_leaves(answer)), "a field that the model does not know is lost"
        return parsed


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, one in value.items() if key != "ResponseMetadata" for leaf in _leaves(one)]
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, list) else [value]


@pytest.fixture
def uploads() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def service(tmp_path: Path, uploads: list[tuple[str, str, str]]) -> Iterator[Service]:
    instances = tmp_path / "instances.json"
    instances.write_text(json.dumps({ONE: {"WHO": "one"}, TWO: {"WHO": "two"}}))

    def put(bucket: str, key: str, path: Path) -> None:
        uploads.append((bucket, key, path.read_text()))

    made = Service(tmp_path / "state", instances, lag=0.0, put_object=put)
    yield made
    made.stop()


@pytest.fixture
def call(service: Service) -> Caller:
    return Caller(service)


def ended(call: Caller, command: str, instance: str = ONE) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        invocation = call("GetCommandInvocation", CommandId=command, InstanceId=instance)
        if invocation["Status"] not in ("Pending", "InProgress"):
            return invocation
        time.sleep(0.02)
    raise AssertionError(f"{invocation['Status']} after 20 s")


def run(call: Caller, *script: str, **request: Any) -> dict[str, Any]:
    call("CreateDocument", Name="doc-1", Content=content(*script))
    sent = call("SendCommand", InstanceIds=[ONE], DocumentName="doc-1", **request)["Command"]
    return ended(call, sent["CommandId"])


def refused(code: str, do: Callable[[], object]) -> None:
    with pytest.raises(SsmError) as caught:
        do()
    assert caught.value.code == code


def test_a_script_runs_for_real(call: Caller) -> None:
    seen = run(call, "echo $WHO $AWS_SSM_INSTANCE_ID", "echo oh >&2", Comment="paydown run 1")
    assert (seen["Status"], seen["StatusDetails"], seen["ResponseCode"]) == ("Success", "Success", 0)
    assert seen["StandardOutputContent"] == f"one {ONE}\n"
    assert seen["StandardErrorContent"] == "oh\n"
    assert (seen["Comment"], seen["PluginName"], seen["StandardOutputUrl"]) == ("paydown run 1", "go", "")


def test_each_instance_has_its_own_environment(call: Caller) -> None:
    call("CreateDocument", Name="doc-1", Content=content("echo $WHO"))
    sent = call("SendCommand", InstanceIds=[ONE, TWO], DocumentName="doc-1")["Command"]
    assert [ended(call, sent["CommandId"], one)["StandardOutputContent"] for one in (ONE, TWO)] == ["one\n", "two\n"]
    listed = call("ListCommandInvocations", CommandId=sent["CommandId"])["CommandInvocations"]
    assert [one["InstanceId"] for one in listed] == [ONE, TWO]


def test_a_script_that_fails(call: Caller) -> None:
    seen = run(call, "exit 11")
    assert (seen["Status"], seen["ResponseCode"]) == ("Failed", 11)


def test_a_script_that_takes_too_long_is_killed_with_its_children(call: Caller, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    def alive() -> bool:
        with contextlib.suppress(BlockingIOError):
            return os.read(pipe, 1) != b""  # at its end: nobody is left who has it open for writing
        return True

    script = f"exec 3> {tmp_path}/pipe; sleep 60 & sleep 60"
    call("CreateDocument", Name="doc-1", Content=content(script, seconds=1))
    sent = call("SendCommand", InstanceIds=[ONE], DocumentName="doc-1")["Command"]
    seen = ended(call, sent["CommandId"])
    assert (seen["Status"], seen["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive()
    os.close(pipe)


def test_output_is_cut_in_the_answer_and_whole_in_the_bucket(call: Caller, uploads: list[tuple[str, str, str]]) -> None:
    seen = run(call, "seq 1 10000", "seq 1 4000 >&2", OutputS3BucketName="bucket-1", OutputS3KeyPrefix="p")
    assert len(seen["StandardOutputContent"]) == 24_000
    assert seen["StandardOutputContent"].endswith("\n---Output truncated---")
    assert len(seen["StandardErrorContent"]) == 8_000
    key = f"p/{seen['CommandId']}/{ONE}/awsrunShellScript/go/stdout"
    assert seen["StandardOutputUrl"] == f"https://s3.us-east-1.amazonaws.com/bucket-1/{key}"
    assert ("bucket-1", key, "".join(f"{number}\n" for number in range(1, 10001))) in uploads


def test_a_script_that_ends_while_it_is_asked_about_is_told_of_as_one_or_the_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ending(Invocation):
        """It ends when its end is asked for."""

        def __getattribute__(self, name: str) -> Any:
            if name == "ended":
                self.code, self.status = 0, "Success"
            return super().__getattribute__(name)

    ending = Ending("c", ONE, "d", "go", "", 1, Path(), {}, status="InProgress")
    monkeypatch.setitem(service._invocations, ("c", ONE), ending)
    answer = service.call("GetCommandInvocation", {"CommandId": "c", "InstanceId": ONE})
    assert (answer["Status"], answer["ResponseCode"]) in {("InProgress", -1), ("Success", 0)}


def test_an_invocation_is_unknown_at_first(service: Service, call: Caller) -> None:
    service._lag = 60
    call("CreateDocument", Name="doc-1", Content=content("true"))
    command = call("SendCommand", InstanceIds=[ONE], DocumentName="doc-1")["Command"]["CommandId"]
    refused("InvocationDoesNotExist", lambda: call("GetCommandInvocation", CommandId=command, InstanceId=ONE))
    service._lag = 0.05
    time.sleep(0.1)
    assert ended(call, command)["Status"] == "Success"


def test_what_is_refused(call: Caller) -> None:
    call("CreateDocument", Name="doc-1", Content=content("true"))

    def send(**request: Any) -> Callable[[], object]:
        return lambda: call("SendCommand", **{"InstanceIds": [ONE], "DocumentName": "doc-1", **request})

    refused("InvalidInstanceId", send(InstanceIds=["i-00000000000000000"]))
    refused("InvalidDocument", send(DocumentName="doc-2"))
    refused("InvalidParameters", send(Parameters={"A": ["b"]}))
    refused("InvalidDocument", lambda: call("DescribeDocument", Name="doc-2"))
    refused("DocumentAlreadyExists", lambda: call("CreateDocument", Name="doc-1", Content=content("true")))
    refused("DuplicateDocumentContent", lambda: call("UpdateDocument", Name="doc-1", Content=content("true")))
    unknown = "01234567-89ab-cdef-0123-456789abcdef"
    refused("InvocationDoesNotExist", lambda: call("GetCommandInvocation", CommandId=unknown, InstanceId=ONE))


def test_what_the_service_would_refuse_before_the_model_does(service: Service) -> None:
    service.call("CreateDocument", {"Name": "doc-1", "Content": content("true")})
    request = {"InstanceIds": [ONE], "DocumentName": "doc-1"}
    refused("ValidationException", lambda: service.call("SendCommand", {**request, "TimeoutSeconds": 29}))
    refused("ValidationException", lambda: service.call("SendCommand", {**request, "Comment": "x" * 101}))
    refused("ValidationException", lambda: service.call("SendCommand", {"DocumentName": "doc-1"}))
    refused("UnknownOperationException", lambda: service.call("DeleteEverything", {}))


def test_documents_have_versions_and_outlive_the_service(call: Caller, service: Service, tmp_path: Path) -> None:
    call("CreateDocument", Name="doc-1", Content=content("true"))
    updated = call("UpdateDocument", Name="doc-1", Content=content("false"))["DocumentDescription"]
    assert (updated["DocumentVersion"], updated["HashType"]) == ("2", "Sha256")
    again = Caller(Service(tmp_path / "state", tmp_path / "instances.json"))
    assert again("DescribeDocument", Name="doc-1")["Document"] == updated
    kept = json.loads(again("GetDocument", Name="doc-1")["Content"])
    assert kept["mainSteps"][0]["inputs"]["runCommand"] == ["false"]


def test_stopping_kills_what_still_runs(call: Caller, service: Service) -> None:
    call("CreateDocument", Name="doc-1", Content=content("sleep 60"))
    command = call("SendCommand", InstanceIds=[ONE], DocumentName="doc-1")["Command"]["CommandId"]
    while call("GetCommandInvocation", CommandId=command, InstanceId=ONE)["Status"] == "Pending":
        time.sleep(0.02)
    service.stop()
    assert ended(call, command)["Status"] == "Failed"
