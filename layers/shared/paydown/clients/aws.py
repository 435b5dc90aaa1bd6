"""The one place where clients of AWS are made, and where its errors become ours.

`AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` redirect them, which is how an emulator is reached.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload

from paydown.errors import PaydownError, PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

CONNECT_SECONDS = 3
READ_SECONDS = 10
HURRIED_SECONDS = 1
ATTEMPTS = 3
SECRET_SECONDS = 300.0

_lock = threading.Lock()
_session: list[Any] = []
_clients: dict[str, Any] = {}
_secrets: dict[str, tuple[float, Any]] = {}

_TRANSIENT = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalServiceErrorException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["events"]) -> EventBridgeClient: ...
@overload
def client(service: Literal["s3"]) -> S3Client: ...
@overload
def client(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["ssm"]) -> SSMClient: ...
@overload
def client(service: str) -> Any: ...
def client(service: str) -> Any:
    """The client of a service, such as `ssm`: one per process, as making one is slow."""
    found = _clients.get(service)
    if found is None:
        with _lock:  # making one is not thread-safe
            found = _clients.get(service)
            if found is None:
                found = _clients[service] = _make(service)
    return found


def hurried(service: str) -> Any:
    """A client that asks once and gives up after a second: for what is good to have, and not worth waiting for."""
    with _lock:
        name = f"{service}, hurried"
        if name not in _clients:
            _clients[name] = _make(service, connect=HURRIED_SECONDS, read=HURRIED_SECONDS, attempts=1)
        return _clients[name]


def _make(service: str, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS, attempts: int = ATTEMPTS) -> Any:
    # botocore, not boto3, which only wraps it: importing that, with its file transfers, takes a sixth of a cold start.
    from botocore.config import Config
    from botocore.session import Session

    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    if not _session:
        # A session of our own: the default one is shared with whoever else is in this process. One for all
        # clients: it reads the list of endpoints (60 ms) once.
        _session.append(Session())
    return _session[0].create_client(service, config=config)


def secret(name: str) -> Any:
    """The JSON value of a secret in Secrets Manager, by name or ARN; remembered for 5 minutes.

    Raises PermanentError when there is no such secret, it may not be read, or it is no JSON; never tells its value.
    """
    known = _secrets.get(name)
    if known and time.monotonic() < known[0]:
        return known[1]
    with translated(f"secret {name}"):
        answer = client("secretsmanager").get_secret_value(SecretId=name)
    try:
        value = json.loads(answer["SecretString"])
    except (KeyError, ValueError):
        raise PermanentError(f"secret {name}: its value is no JSON text") from None
    _secrets[name] = (time.monotonic() + SECRET_SECONDS, value)
    return value


def forget() -> None:
    """Drop all clients and secrets that are remembered: for tests, and after the credentials changed."""
    with _lock:
        _session.clear()
        _clients.clear()
        _secrets.clear()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of AWS inside come out as PermanentError or RetryableError that say `what` was asked for."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(what, error) from error


def translate(what: str, error: Exception) -> PaydownError:
    """The error of AWS in our terms: trouble that passes is retryable, a refusal is permanent."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        code = error_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        text = f"{what}: {code}: {error.response.get('Error', {}).get('Message', '')}"[:500]
        return RetryableError(text) if code in _TRANSIENT or status >= 500 else PermanentError(text)
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return RetryableError(f"{what}: AWS does not answer: {type(error).__name__}")
    return PermanentError(f"{what}: {error}")


def error_code(error: Exception) -> str:
    """The code in an error of AWS, such as `InvalidInstanceId`; empty when it has none."""
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
