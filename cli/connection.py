"""How the command reaches a stack: whose account, which ledger, who is asking."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.exits import CommandError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from paydown.ledger import Ledger
    from paydown.ledger.sources_seen import Sources

DEFAULT_STACK = "paydown"
LOCAL_STATE = Path(".paydown/local.json")
"""Written by the local application while it runs: `{"endpoint_url", "stack", "region"}`."""


@dataclass
class Connection:
    """A stack in an account, or in the local emulator. Clients are made when they are needed, once each.

    `stack` is None when the operator named none: then PAYDOWN_LEDGER_TABLE and PAYDOWN_STACK count.
    """

    stack: str | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    local: bool = False
    _clients: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def stack_name(self) -> str:
        """The stack's name, from the command line, the local application, or the environment."""
        if self.stack:
            return self.stack
        if self.local:
            return str(self._running["stack"])
        return os.environ.get("PAYDOWN_STACK") or DEFAULT_STACK

    def client(self, service: str) -> Any:
        """The client of an AWS service."""
        if service not in self._clients:
            self._clients[service] = self._make(service)
        return self._clients[service]

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the stack. Raises NotFoundError if there is no such stack."""
        from paydown.ledger import Ledger, Table

        return Ledger(Table(self.table_name, self.client("dynamodb")))

    @cached_property
    def sources(self) -> Sources:
        """What the stack's ledger knows of the senders of webhooks."""
        from paydown.ledger.sources_seen import Sources

        return Sources(self.ledger.table, self.client("dynamodb"))

    def webhook_url(self, sender: str) -> str:
        """Where a sender posts: at the stack's API, or, of an emulator, at the address that stands for it."""
        endpoint = self._running["endpoint_url"] if self.local else self.endpoint_url
        if endpoint:
            return f"{endpoint.rstrip('/')}/_aws/execute-api/{self.outputs['ApiId']}/v1/webhooks/{sender}"
        if "WebhookUrl" not in self.outputs:
            raise NotFoundError(f"the stack {self.stack_name} has no output WebhookUrl: is it Paydown's?")
        return f"{self.outputs['WebhookUrl']}{sender}"

    def secret(self, name: str) -> Any:
        """The JSON value of a secret. Raises PermanentError when it is none; never tells it."""
        from paydown.errors import PermanentError

        answer = self.client("secretsmanager").get_secret_value(SecretId=name)
        try:
            return json.loads(answer["SecretString"])
        except (KeyError, ValueError):
            raise PermanentError(f"secret {name}: its value is no JSON text") from None

    @cached_property
    def table_name(self) -> str:
        """The ledger's table: PAYDOWN_LEDGER_TABLE, unless a stack was named, or the stack's output."""
        named = os.environ.get("PAYDOWN_LEDGER_TABLE")
        if named and not self.stack and not self.local:
            return named
        table = self.outputs.get("LedgerTable")
        if table is None:
            raise NotFoundError(f"the stack {self.stack_name} has no output LedgerTable: is it Paydown's?")
        return table

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._described.get("Outputs", [])}

    @property
    def status(self) -> str:
        """The stack's status, such as UPDATE_COMPLETE."""
        return str(self._described.get("StackStatus", ""))

    @property
    def stack_id(self) -> str:
        """The stack's ARN; empty if it is not told."""
        return str(self._described.get("StackId", ""))

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters that the stack was deployed with."""
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in self._described.get("Parameters", [])}

    def known_parameters(self) -> dict[str, str] | None:
        """The parameters; None if the stack cannot be asked."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self.parameters
        except (CommandError, BotoCoreError, ClientError):
            return None

    def caller(self) -> str:
        """Who is asking, for the record: the caller's ARN, or the name of the user when AWS does not tell."""
        import getpass

        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return str(self.client("sts").get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return getpass.getuser()

    @cached_property
    def person(self) -> Any:
        """A session with the credentials of the person who is asking; locally, of the emulator's user `operator`."""
        if not self.local:
            return self._session
        import boto3

        operator = self._running.get("operator")
        if not isinstance(operator, dict):
            raise UnreachableError("the local application tells no operator: start it again (make run)")
        return boto3.Session(
            aws_access_key_id=str(operator.get("access_key_id")),
            aws_secret_access_key=str(operator.get("secret_access_key")),
            region_name=self.region or self._running["region"],
        )

    @cached_property
    def person_arn(self) -> str:
        """The ARN by which IAM knows the person who is asking."""
        endpoint = self.client("sts").meta.endpoint_url if self.local else self.endpoint_url
        return str(self.person.client("sts", endpoint_url=endpoint).get_caller_identity()["Arn"])

    @property
    def sender_arn(self) -> str:
        """Who sends an event: as `person_arn`; where the local application tells no operator, the caller."""
        if self.local and "operator" not in self._running:
            return self.caller()
        return self.person_arn

    @cached_property
    def _described(self) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        try:
            answer = self.client("cloudformation").describe_stacks(StackName=self.stack_name)
        except ClientError as error:
            if "does not exist" in str(error):
                raise NotFoundError(f"there is no stack {self.stack_name} (--stack, --region, --profile)") from None
            raise
        described: dict[str, Any] = answer["Stacks"][0]
        return described

    @cached_property
    def _running(self) -> dict[str, Any]:
        """What the local application that runs in this folder, or one above it, says of itself."""
        here = Path.cwd()
        for folder in (here, *here.parents):
            state = folder / LOCAL_STATE
            if state.is_file():
                try:
                    found = json.loads(state.read_text())
                    return {**found, **{name: str(found[name]) for name in ("endpoint_url", "stack", "region")}}
                except (ValueError, KeyError, TypeError):
                    raise UnreachableError(f"{state} cannot be read: start the local application again") from None
        raise UnreachableError("no local application runs in this folder: make run")

    def _make(self, service: str) -> Any:
        from botocore.config import Config

        from paydown.clients.aws import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        if self.local:
            return self._local_session.client(service, config=config)
        return self._session.client(service, config=config, endpoint_url=self.endpoint_url)

    @cached_property
    def _session(self) -> Any:
        import boto3

        # The AWS CLI reads AWS_REGION, boto3 only AWS_DEFAULT_REGION.
        return boto3.Session(profile_name=self.profile, region_name=self.region or os.environ.get("AWS_REGION"))

    @cached_property
    def _local_session(self) -> Any:
        try:
            import localstack_client.session
        except ModuleNotFoundError:
            raise UnreachableError("--local needs one more package: pip install localstack-client") from None
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):  # they would send our calls to another account
            os.environ.pop(name, None)
        endpoint = self.endpoint_url or self._running["endpoint_url"]
        return localstack_client.session.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 -- what every emulator takes
            region_name=self.region or self._running["region"],
            localstack_host=endpoint.split("://", 1)[-1].rstrip("/"),
        )
