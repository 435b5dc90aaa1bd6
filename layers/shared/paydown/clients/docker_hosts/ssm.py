"""A Docker host that is reached through SSM Run Command, with documents of our own.

What runs on the host stands in the documents, beside the toil type that they belong to. They take typed parameters
whose values must match a pattern, so nothing that anybody sends becomes part of a command. They need only a shell and
the
`docker` command there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from paydown.clients import aws
from paydown.clients.docker_hosts.model import Disk, Fate, Kind, Listing, Removal, Stock
from paydown.clients.docker_hosts.reading import one_line
from paydown.clients.docker_hosts.report import END, read_disk, read_listing, read_removals, read_stock
from paydown.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import GetCommandInvocationResultTypeDef

LIST_DOCUMENT = "ListDanglingImages"
REMOVE_DOCUMENT = "RemoveDanglingImages"
LIST_LEFTOVERS_DOCUMENT = "ListDockerLeftovers"
REMOVE_LEFTOVERS_DOCUMENT = "RemoveDockerLeftovers"

COMMAND_SECONDS = 28.0
"""How long a command is waited for; its document ends by itself before that."""

NO_DOCKER, NO_ENGINE = 10, 11
"""Exit codes of scripts on a host."""

_FIRST_LOOK = 0.02
_LONGEST_PAUSE = 2.0
_DELIVERY_SECONDS = 30  # the least that SSM accepts
_PREFIX = "docker-hosts"


class SsmHost:
    """A host that runs the SSM agent. `mark` is written into each command's comment: which run asked for it."""

    def __init__(self, name: str, instance_id: str, *, mark: str = "paydown") -> None:
        self._name = name
        self._instance_id = instance_id
        self._mark = mark

    def list_images(self) -> Listing:
        """Read the host's images."""
        return read_listing(self._name, self._run(LIST_DOCUMENT, {}))

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        """Remove those that still dangle and that nothing uses."""
        if not ids:
            return []
        found = read_removals(self._name, self._run(REMOVE_DOCUMENT, {"ImageIds": list(ids)}))
        return [found.get(one, Removal(one, Fate.FAILED, "the host said nothing about it")) for one in ids]

    def list_leftovers(self) -> Stock:
        """Read what else the host keeps."""
        return read_stock(self._name, self._run(LIST_LEFTOVERS_DOCUMENT, {"What": ["all"]}))

    def remove_leftovers(self, keys: Sequence[tuple[Kind, str, str]]) -> list[Removal]:
        """Remove those that are as they were listed and that nothing uses."""
        if not keys:
            return []
        objects = [f"{kind.value}={id}@{state}" for kind, id, state in keys]
        found = read_removals(self._name, self._run(REMOVE_LEFTOVERS_DOCUMENT, {"Objects": objects}))
        return [found.get(one, Removal(one, Fate.FAILED, "the host said nothing about it")) for _, one, _ in keys]

    def read_disk(self) -> Disk | None:
        """How full the data root's file system is."""
        return read_disk(self._name, self._run(LIST_LEFTOVERS_DOCUMENT, {"What": ["disk"]}))

    def _run(self, document: str, parameters: dict[str, list[str]]) -> str:
        """The whole output of a document's run on the host."""
        deadline = time.monotonic() + COMMAND_SECONDS
        bucket = os.environ.get("PAYDOWN_OUTPUT_BUCKET", "")
        command = self._send(document, parameters, bucket)
        invocation = self._wait(command, deadline)
        if invocation["Status"] != "Success":
            raise self._failure(invocation)
        output = invocation["StandardOutputContent"]
        if output.rstrip().endswith(END):
            return output
        return self._long_output(invocation["StandardOutputUrl"], bucket, deadline)

    def _send(self, document: str, parameters: dict[str, list[str]], bucket: str) -> str:
        stack = os.environ.get("PAYDOWN_STACK")
        if not stack:
            raise PermanentError("PAYDOWN_STACK is not set: the names of the SSM documents begin with it")
        output: dict[str, Any] = {"OutputS3BucketName": bucket, "OutputS3KeyPrefix": _PREFIX} if bucket else {}
        ssm = aws.client("ssm")
        what = f"{self._name}: running {stack}-{document}"
        with aws.translated(what):
            try:
                answer = ssm.send_command(
                    InstanceIds=[self._instance_id],
                    DocumentName=f"{stack}-{document}",
                    Parameters=parameters,
                    Comment=self._mark[:100],
                    TimeoutSeconds=_DELIVERY_SECONDS,
                    **output,
                )
            except ssm.exceptions.InvalidInstanceId as error:
                raise RetryableError(f"{what}: SSM does not know {self._instance_id}, or it is not online") from error
        return answer["Command"]["CommandId"]

    def _wait(self, command: str, deadline: float) -> GetCommandInvocationResultTypeDef:
        """The ended invocation of a command. Raises RetryableError if it still runs at the deadline."""
        ssm = aws.client("ssm")
        pause = _FIRST_LOOK
        status = "Pending"
        while time.monotonic() + pause < deadline:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            with aws.translated(f"{self._name}: command {command}"):
                try:
                    invocation = ssm.get_command_invocation(CommandId=command, InstanceId=self._instance_id)
                except ssm.exceptions.InvocationDoesNotExist:
                    continue  # SSM is eventually consistent
            status = invocation["Status"]
            if status not in ("Pending", "InProgress", "Delayed", "Cancelling"):
                return invocation
        raise RetryableError(f"{self._name}: command {command} is {status} after {COMMAND_SECONDS:.0f} s", delay=30)

    def _failure(self, invocation: GetCommandInvocationResultTypeDef) -> Exception:
        said = one_line(invocation["StandardErrorContent"])
        match invocation["ResponseCode"]:
            case code if code == NO_DOCKER:
                return PermanentError(f"{self._name}: the docker command is not installed there")
            case code if code == NO_ENGINE:
                return RetryableError(f"{self._name}: the Docker engine does not answer: {said}")
        details = invocation["StatusDetails"]
        return RetryableError(f"{self._name}: command {invocation['CommandId']}: {details}: {said}", delay=60)

    def _long_output(self, url: str, bucket: str, deadline: float) -> str:
        """The output that was too long for SSM's answer, from the bucket; it may arrive there a little later."""
        if not bucket or not url:
            raise PermanentError(f"{self._name}: the output is too long without a bucket (PAYDOWN_OUTPUT_BUCKET)")
        path = unquote(urlsplit(url).path)
        key = path.partition(f"/{bucket}/")[2] or path.lstrip("/")
        s3 = aws.client("s3")
        pause = _FIRST_LOOK
        while True:
            with aws.translated(f"{self._name}: output s3://{bucket}/{key}"):
                try:
                    output = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
                except s3.exceptions.NoSuchKey:
                    output = ""
            if output.rstrip().endswith(END):
                return output
            if time.monotonic() + pause > deadline:
                raise RetryableError(f"{self._name}: the output is not in s3://{bucket}/{key} yet, or not all of it")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
