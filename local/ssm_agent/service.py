"""The operations of SSM that Paydown uses: documents, and commands on registered instances."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.ssm_agent.commands import Invocation
from local.ssm_agent.documents import Document, SsmError

_REGION = "us-east-1"
_SHORTEST_DELIVERY = 30
_LONGEST_COMMENT = 100

Request = Mapping[str, Any]
Answer = dict[str, Any]


class Service:
    """What the stand-in knows and does. Documents outlive it in `state`; `instances` is read anew for each command.

    `instances` is a file of JSON: instance id → environment of its commands. An invocation is unknown to its readers
    for
    `lag` seconds after it was sent. `put_object` (bucket, key, file) stores long output.
    """

    def __init__(
        self,
        state: Path,
        instances: Path,
        *,
        lag: float = 0.1,
        put_object: Callable[[str, str, Path], None] | None = None,
    ) -> None:
        self._state = state
        self._instances = instances
        self._lag = lag
        self._put_object = put_object
        self._lock = threading.Lock()
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._documents = {path.stem: _stored(path) for path in (state / "documents").glob("*.json")}

    def call(self, operation: str, request: Request) -> Answer:
        """The answer to an operation. Raises SsmError."""
        operations: dict[str, Callable[[Request], Answer]] = {
            "CreateDocument": self._create_document,
            "DescribeDocument": self._describe_document,
            "GetCommandInvocation": self._get_command_invocation,
            "GetDocument": self._get_document,
            "ListCommandInvocations": self._list_command_invocations,
            "SendCommand": self._send_command,
            "UpdateDocument": self._update_document,
        }
        if operation not in operations:
            raise SsmError("UnknownOperationException", f"the stand-in does not know {operation}")
        try:
            return operations[operation](request)
        except KeyError as error:
            raise SsmError("ValidationException", f"{error.args[0]} is missing") from None

    def stop(self) -> None:
        """Kill the commands that still run."""
        with self._lock:
            invocations = list(self._invocations.values())
        for invocation in invocations:
            invocation.stop()

    def _create_document(self, request: Request) -> Answer:
        name = request["Name"]
        if name in self._documents:
            raise SsmError("DocumentAlreadyExists", f"Document with name {name} already exists.")
        return self._store(Document.parse(name, request["Content"]))

    def _update_document(self, request: Request) -> Answer:
        known = self._document(request)
        document = Document.parse(known.name, request["Content"], known.version + 1)
        if document.content == known.content:
            raise SsmError("DuplicateDocumentContent", "The content of the association document matches another one.")
        return self._store(document)

    def _describe_document(self, request: Request) -> Answer:
        return {"Document": _description(self._document(request))}

    def _get_document(self, request: Request) -> Answer:
        document = self._document(request)
        return {
            "Name": document.name,
            "DocumentVersion": str(document.version),
            "Status": "Active",
            "Content": json.dumps(document.content),
            "DocumentType": "Command",
            "DocumentFormat": "JSON",
        }

    def _document(self, request: Request, field: str = "Name") -> Document:
        document = self._documents.get(request[field])
        if document is None:
            raise SsmError("InvalidDocument", f"Document with name {request[field]} does not exist.")
        return document

    def _store(self, document: Document) -> Answer:
        directory = self._state / "documents"
        directory.mkdir(parents=True, exist_ok=True)
        stored = {"version": document.version, "content": document.content}
        (directory / f"{document.name}.json").write_text(json.dumps(stored))
        self._documents[document.name] = document
        return {"DocumentDescription": _description(document)}

    def _send_command(self, request: Request) -> Answer:
        if len(request.get("Comment", "")) > _LONGEST_COMMENT:
            raise SsmError("ValidationException", "Comment has more than 100 characters")
        if request.get("TimeoutSeconds", _SHORTEST_DELIVERY) < _SHORTEST_DELIVERY:
            raise SsmError("ValidationException", "TimeoutSeconds is less than 30")
        instances = json.loads(self._instances.read_text())
        wanted = request["InstanceIds"]
        if not wanted or any(one not in instances for one in wanted):
            raise SsmError("InvalidInstanceId", f"Instances {wanted} not in a valid state for account")
        document = self._document(request, "DocumentName")
        values = document.check(request.get("Parameters", {}))
        command_id = str(uuid.uuid4())
        for one in wanted:
            invocation = self._invocation(request, document, values, command_id, one, instances[one])
            with self._lock:
                self._invocations[command_id, one] = invocation
            threading.Thread(target=invocation.run, name=command_id, daemon=True).start()
        return {"Command": self._command(request, document, command_id)}

    def _invocation(
        self,
        request: Request,
        document: Document,
        values: Mapping[str, str | list[str]],
        command_id: str,
        instance_id: str,
        environment: Mapping[str, str],
    ) -> Invocation:
        invocation = Invocation(
            command_id=command_id,
            instance_id=instance_id,
            document=document.name,
            step=document.step,
            script=document.script(values),
            seconds=document.seconds(values),
            directory=self._state / "commands" / command_id / instance_id,
            environment=environment,
            comment=request.get("Comment", ""),
        )
        bucket = request.get("OutputS3BucketName", "")
        put_object = self._put_object
        if bucket and put_object:
            parts = [request.get("OutputS3KeyPrefix", ""), command_id, instance_id, "awsrunShellScript", document.step]
            prefix = "/".join(part for part in parts if part)
            url = f"https://s3.{_REGION}.amazonaws.com/{bucket}/{prefix}"
            invocation.output_url, invocation.error_url = f"{url}/stdout", f"{url}/stderr"

            def upload(directory: Path) -> None:
                for name in ("stdout", "stderr"):
                    if (directory / name).stat().st_size:
                        put_object(bucket, f"{prefix}/{name}", directory / name)

            invocation.upload = upload
        return invocation

    def _command(self, request: Request, document: Document, command_id: str) -> Answer:
        return {
            "CommandId": command_id,
            "DocumentName": document.name,
            "DocumentVersion": str(document.version),
            "Comment": request.get("Comment", ""),
            "Parameters": request.get("Parameters", {}),
            "InstanceIds": request["InstanceIds"],
            "RequestedDateTime": time.time(),
            "Status": "Pending",
            "StatusDetails": "Pending",
            "OutputS3BucketName": request.get("OutputS3BucketName", ""),
            "OutputS3KeyPrefix": request.get("OutputS3KeyPrefix", ""),
            "TargetCount": len(request["InstanceIds"]),
            "CompletedCount": 0,
            "ErrorCount": 0,
        }

    def _get_command_invocation(self, request: Request) -> Answer:
        found = self._invocations.get((request["CommandId"], request["InstanceId"]))
        if found is None or time.time() < found.sent + self._lag:
            raise SsmError("InvocationDoesNotExist", "")
        if request.get("PluginName", found.step) != found.step:
            raise SsmError("InvalidPluginName", "")
        status = found.status  # first: it is what is set last, so that the rest belongs to it
        return {
            "CommandId": found.command_id,
            "InstanceId": found.instance_id,
            "Comment": found.comment,
            "DocumentName": found.document,
            "PluginName": found.step,
            "ResponseCode": found.code,
            "ExecutionStartDateTime": found.started.isoformat() if found.started else "",
            "ExecutionEndDateTime": found.ended.isoformat() if found.ended else "",
            "Status": status,
            "StatusDetails": found.details,
            "StandardOutputContent": found.output(),
            "StandardOutputUrl": found.output_url,
            "StandardErrorContent": found.errors(),
            "StandardErrorUrl": found.error_url,
        }

    def _list_command_invocations(self, request: Request) -> Answer:
        wanted = (request.get("CommandId"), request.get("InstanceId"))
        with self._lock:
            found = [
                one
                for key, one in self._invocations.items()
                if all(w in (None, k) for w, k in zip(wanted, key, strict=True))
            ]
        return {
            "CommandInvocations": [
                {
                    "CommandId": one.command_id,
                    "InstanceId": one.instance_id,
                    "Comment": one.comment,
                    "DocumentName": one.document,
                    "RequestedDateTime": one.sent,
                    "Status": one.status,
                    "StatusDetails": one.details,
                }
                for one in found
            ]
        }


def _stored(path: Path) -> Document:
    stored = json.loads(path.read_text())
    return Document(path.stem, stored["content"], stored["version"])


def _description(document: Document) -> Answer:
    content = json.dumps(document.content, sort_keys=True)
    description: Answer = {
        "Name": document.name,
        "Hash": hashlib.sha256(content.encode()).hexdigest(),
        "HashType": "Sha256",
        "Status": "Active",
        "DocumentVersion": str(document.version),
        "DocumentType": "Command",
        "SchemaVersion": "2.2",
        "DocumentFormat": "JSON",
        "PlatformTypes": ["Linux"],
    }
    with contextlib.suppress(KeyError):
        description["Description"] = document.content["description"]
    return description
