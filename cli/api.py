"""Calls to the stack's own API, signed with the caller's credentials, so that IAM vouches for who calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cli.exits import NotFoundError, UnreachableError

if TYPE_CHECKING:
    from cli.connection import Connection

SECONDS = (3, 30)
"""To connect, and to answer: a function that starts cold takes some."""


@dataclass(frozen=True)
class Answer:
    """What the API said: the status of HTTP and the JSON document (empty if it was none)."""

    status: int
    document: dict[str, Any]


def post(connection: Connection, path: str, body: dict[str, Any]) -> Answer:
    """POST a JSON document to a path of the API. Raises UnreachableError, NotFoundError."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import HTTPClientError
    from botocore.httpsession import URLLib3Session

    session = connection.person
    credentials = session.get_credentials()
    if credentials is None:
        raise UnreachableError("no AWS credentials were found: aws sso login, --profile, or the environment")
    region = session.region_name
    if region is None:
        raise UnreachableError("no AWS region was named: --region, or AWS_REGION")
    headers = {"Content-Type": "application/json"}
    request = AWSRequest("POST", base_url(connection) + path, headers, json.dumps(body).encode())
    SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
    try:
        response = URLLib3Session(timeout=SECONDS).send(request.prepare())
    except HTTPClientError as error:
        raise UnreachableError(f"the API cannot be reached: {error}") from None
    try:
        document = json.loads(response.content)
    except ValueError:
        document = {}
    return Answer(response.status_code, document if isinstance(document, dict) else {})


def base_url(connection: Connection) -> str:
    """The API's address with its stage; an emulator has it below its own. Raises NotFoundError."""
    endpoint = connection.client("cloudformation").meta.endpoint_url
    outputs = connection.outputs
    if "ApiUrl" not in outputs or "ApiId" not in outputs:
        raise NotFoundError(f"the stack {connection.stack_name} has no output ApiUrl: deploy this version first")
    if (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return outputs["ApiUrl"]
    return f"{endpoint.rstrip('/')}/_aws/execute-api/{outputs['ApiId']}/v1"
