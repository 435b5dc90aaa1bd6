"""Deploys template.yaml, unmodified, to an emulator; and the deployed stack as tests and the demo use it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from local.emulator import REGION, Emulator
from local.packages import addressed, build_all, load_template

BUCKET = "paydown-packages"
MODES = {"Off", "Observe", "Enforce"}
LOCAL = {
    "DeployDocuments": "false",  # the emulator rejects a stack with SSM documents
    "Scale": "small",  # each worker is a process that unpacks its layers
}


class DeployError(RuntimeError):
    """The stack could not be made or changed; the message carries the reasons of its failed resources."""


@dataclass
class Stack:
    """A deployed stack."""

    emulator: Emulator
    name: str

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The outputs of the stack by their names."""
        described = self.emulator.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    @cached_property
    def resources(self) -> dict[str, str]:
        """Physical ids by logical ids."""
        found = self.emulator.client("cloudformation").describe_stack_resources(StackName=self.name)
        return {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in found["StackResources"]}

    def webhook_url(self, sender: str) -> str:
        """Where `sender` posts its webhooks."""
        return f"{self.emulator.url}/_aws/execute-api/{self.outputs['ApiId']}/v1/webhooks/{sender}"

    @property
    def api_url(self) -> str:
        """The API's address, with its stage."""
        return f"{self.emulator.url}/_aws/execute-api/{self.outputs['ApiId']}/v1"

    def webhook_secret(self, sender: str) -> str:
        """The secret that the stack made for `sender`."""
        secrets = self.emulator.client("secretsmanager")
        value = secrets.get_secret_value(SecretId=f"{self.name}/webhooks/{sender}")["SecretString"]
        current: str = json.loads(value)["current"]
        return current

    def put_secret(self, name: str, value: Mapping[str, Any]) -> None:
        """Store `value` as the secret `<stack>/<name>`, such as `clusters/main/reader` or `trackers/roundup`."""
        secrets = self.emulator.client("secretsmanager")
        try:
            secrets.create_secret(Name=f"{self.name}/{name}", SecretString=json.dumps(value))
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=f"{self.name}/{name}", SecretString=json.dumps(value))

    def queue_url(self, toil: str) -> str:
        """The queue of a toil type."""
        url: str = self.emulator.client("sqs").get_queue_url(QueueName=f"{self.name}-toil-{toil}")["QueueUrl"]
        return url

    def put_event(self, detail_type: str, detail: Mapping[str, Any], source: str = "paydown") -> None:
        """Put one event on the default bus."""
        entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
        self.emulator.client("events").put_events(Entries=[entry])

    def invoke(self, logical_id: str, event: Mapping[str, Any] | None = None) -> Any:
        """Call a function and wait for its answer. Raises RuntimeError with its error."""
        answer = self.emulator.client("lambda").invoke(
            FunctionName=self.resources[logical_id], Payload=json.dumps(event or {}).encode()
        )
        payload = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise RuntimeError(f"{logical_id}: {payload}")
        return payload


def mode_parameters(template: Mapping[str, Any]) -> list[str]:
    """The parameters that switch the toil types of the template on."""
    return [
        name for name, parameter in template["Parameters"].items() if set(parameter.get("AllowedValues", ())) == MODES
    ]


def deploy(
    emulator: Emulator,
    name: str = "paydown",
    *,
    mode: str = "Enforce",
    parameters: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Stack:
    """Build what changed, and make or change the stack. All toil types get `mode`, but for what `parameters` says.

    Raises DeployError.
    """
    template = load_template()
    archives = build_all(template, progress)
    s3 = emulator.client("s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    present = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
    for archive in archives.values():
        if archive.name not in present:
            s3.put_object(Bucket=BUCKET, Key=archive.name, Body=archive.read_bytes())
    packaged = addressed(template, {package: f"s3://{BUCKET}/{archive.name}" for package, archive in archives.items()})
    values = {**LOCAL, **dict.fromkeys(mode_parameters(template), mode), **(parameters or {})}
    progress("deploying the template")
    # By its address, as `sam deploy` does: a template in the request itself may have 51,200 bytes at most.
    key = f"{name}-{time.time_ns()}.template"
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(packaged).encode())
    _apply(emulator, name, f"{emulator.url}/{BUCKET}/{key}", values)
    s3.delete_object(Bucket=BUCKET, Key=key)
    return Stack(emulator, name)


def _apply(emulator: Emulator, name: str, template_url: str, parameters: Mapping[str, str]) -> None:
    cloudformation = emulator.client("cloudformation")
    try:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError:
        status = None
    change = cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=f"change-{time.time_ns()}",
        ChangeSetType="UPDATE" if status and status != "REVIEW_IN_PROGRESS" else "CREATE",
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    made = _wait(lambda: cloudformation.describe_change_set(ChangeSetName=change["Id"]), "Status")
    if made["Status"] == "FAILED":
        if "didn't contain changes" in made.get("StatusReason", ""):
            return
        raise DeployError(made.get("StatusReason", "the change set failed"))
    cloudformation.execute_change_set(ChangeSetName=change["Id"])
    done = _wait(lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0], "StackStatus")
    if done["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event["ResourceStatus"].endswith("FAILED") and "ResourceStatusReason" in event
        ]
        raise DeployError("\n".join([done["StackStatus"], *reasons]))


def _wait(look: Callable[[], dict[str, Any]], field: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if not answer[field].endswith(("IN_PROGRESS", "PENDING")):
            return answer
        if time.monotonic() > deadline:
            raise DeployError(f"still {answer[field]} after {seconds:.0f} s")
        time.sleep(0.1)
