"""Clients are made once, secrets are remembered for a while, and errors of AWS become ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError, ReadTimeoutError
from moto import mock_aws

from paydown.clients import aws
from paydown.errors import PermanentError, RetryableError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with mock_aws():
        aws.forget()
        yield
    aws.forget()


def stored(name: str, value: str) -> None:
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=value)


def test_a_client_is_made_once_with_limits_of_our_own() -> None:
    client = aws.client("ssm")
    assert aws.client("ssm") is client
    assert aws.client("s3") is not client
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def test_a_secret_is_json_and_is_remembered_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("paydown.clients.aws.time.monotonic", lambda: now[0])
    stored("hosts/build-1", '{"ca": "old"}')
    assert aws.secret("hosts/build-1") == {"ca": "old"}
    boto3.client("secretsmanager").put_secret_value(SecretId="hosts/build-1", SecretString='{"ca": "new"}')
    now[0] += 299
    assert aws.secret("hosts/build-1") == {"ca": "old"}
    now[0] += 2
    assert aws.secret("hosts/build-1") == {"ca": "new"}


def test_a_missing_secret_is_a_permanent_fault() -> None:
    with pytest.raises(PermanentError, match="secret nowhere: ResourceNotFoundException"):
        aws.secret("nowhere")


def test_a_value_that_is_no_json_is_not_told() -> None:
    stored("broken", "hunter2{")
    with pytest.raises(PermanentError) as caught:
        aws.secret("broken")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_binary_secret_is_refused() -> None:
    boto3.client("secretsmanager").create_secret(Name="binary", SecretBinary=b"{}")
    with pytest.raises(PermanentError, match="no JSON text"):
        aws.secret("binary")


def failure(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SendCommand")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failure("ThrottlingException"), RetryableError),
        (failure("TooManyRequestsException"), RetryableError),
        (failure("Whatever", 503), RetryableError),
        (failure("InternalServerError", 500), RetryableError),
        (failure("AccessDeniedException"), PermanentError),
        (failure("InvalidDocument"), PermanentError),
        (EndpointConnectionError(endpoint_url="https://ssm"), RetryableError),
        (ReadTimeoutError(endpoint_url="https://ssm"), RetryableError),
        (ParamValidationError(report="no"), PermanentError),
    ],
)
def test_trouble_that_passes_is_retryable(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^running it: ") as caught, aws.translated("running it"):
        raise error
    assert type(caught.value) is kind


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), aws.translated("dividing"):
        raise ZeroDivisionError


def test_the_code_of_an_error() -> None:
    assert aws.error_code(failure("InvalidInstanceId")) == "InvalidInstanceId"
    assert aws.error_code(ValueError()) == ""
