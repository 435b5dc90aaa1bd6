"""The way over SSM, with an SSM and an S3 that only pretend: eventual consistency, and what is asked of them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from paydown.clients.docker import Fate
from paydown.clients.docker_hosts.ssm import SsmHost
from paydown.errors import PermanentError, RetryableError

INSTANCE = "i-0123456789abcdef0"
BUCKET_URL = "https://s3.eu-central-1.amazonaws.com/bucket"
ID = "sha256:" + "a" * 64
LISTING = (
    'info {"Driver":"overlay2","DockerRootDir":"/var/lib/docker","SystemTime":"2026-07-01T12:00:00Z"}\n'
    f"present {ID}\npaydown-end\n"
)


class InvalidInstanceIdError(ClientError):
    pass


class InvocationDoesNotExistError(ClientError):
    pass


class NoSuchKeyError(ClientError):
    pass


def failing(kind: type[ClientError], code: str, operation: str = "x") -> ClientError:
    return kind({"Error": {"Code": code, "Message": "m"}}, operation)


class Fake:
    """SSM and S3 at once. `answers` are what get_command_invocation brings, the last one again and again."""

    class exceptions:  # noqa: N801 -- boto3's name
        InvalidInstanceId = InvalidInstanceIdError
        InvocationDoesNotExist = InvocationDoesNotExistError
        NoSuchKey = NoSuchKeyError

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any] | ClientError] = []
        self.objects: list[str | ClientError] = []
        self.keys: list[str] = []
        self.refusal: ClientError | None = None

    def send_command(self, **request: Any) -> Any:
        if self.refusal:
            raise self.refusal
        self.sent.append(request)
        return {"Command": {"CommandId": "c-1"}}

    def get_command_invocation(self, **_: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ClientError):
            raise answer
        return {
            "CommandId": "c-1",
            "StatusDetails": answer["Status"],
            "ResponseCode": 0,
            "StandardOutputContent": "",
            "StandardErrorContent": "",
            "StandardOutputUrl": f"{BUCKET_URL}/docker-hosts/c-1/{INSTANCE}/a%20b/stdout",
            **answer,
        }

    def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803 -- boto3's names
        self.keys.append(f"{Bucket}:{Key}")
        found = self.objects.pop(0)
        if isinstance(found, ClientError):
            raise found
        return {"Body": io.BytesIO(found.encode())}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    now = [0.0]
    monkeypatch.setenv("PAYDOWN_STACK", "paydown")
    monkeypatch.setenv("PAYDOWN_OUTPUT_BUCKET", "bucket")
    monkeypatch.setattr("paydown.clients.aws.client", lambda _: fake)
    monkeypatch.setattr("paydown.clients.docker_hosts.ssm.time.monotonic", lambda: now[0])
    monkeypatch.setattr("paydown.clients.docker_hosts.ssm.time.sleep", lambda s: now.__setitem__(0, now[0] + s))
    return fake


def host() -> SsmHost:
    return SsmHost("build-1", INSTANCE, mark="paydown run " + "1" * 200)


def test_what_is_sent(aws: Fake) -> None:
    aws.answers = [{"Status": "Success", "StandardOutputContent": f"fate {ID} absent\npaydown-end\n"}]
    (removal,) = host().remove_images([ID])
    assert removal.fate is Fate.ABSENT
    (request,) = aws.sent
    assert request == {
        "InstanceIds": [INSTANCE],
        "DocumentName": "paydown-RemoveDanglingImages",
        "Parameters": {"ImageIds": [ID]},
        "Comment": ("paydown run " + "1" * 200)[:100],
        "TimeoutSeconds": 30,
        "OutputS3BucketName": "bucket",
        "OutputS3KeyPrefix": "docker-hosts",
    }


def test_nothing_is_sent_for_nothing(aws: Fake) -> None:
    assert host().remove_images([]) == []
    assert aws.sent == []


def test_an_image_of_which_the_host_says_nothing_failed(aws: Fake) -> None:
    aws.answers = [{"Status": "Success", "StandardOutputContent": "paydown-end\n"}]
    (removal,) = host().remove_images([ID])
    assert (removal.id, removal.fate) == (ID, Fate.FAILED)


def test_ssm_is_eventually_consistent(aws: Fake) -> None:
    unknown = failing(InvocationDoesNotExistError, "InvocationDoesNotExist")
    done = {"Status": "Success", "StandardOutputContent": LISTING}
    aws.answers = [unknown, unknown, {"Status": "Pending"}, {"Status": "InProgress"}, {"Status": "Delayed"}, done]
    assert host().list_images().present == {ID}


def test_a_command_that_never_starts_is_retryable(aws: Fake) -> None:
    aws.answers = [{"Status": "Pending"}]
    with pytest.raises(RetryableError, match="build-1: command c-1 is Pending after 28 s"):
        host().list_images()


def test_long_output_is_waited_for_in_the_bucket(aws: Fake) -> None:
    aws.answers = [{"Status": "Success", "StandardOutputContent": LISTING[:40] + "\n---Output truncated---"}]
    aws.objects = [failing(NoSuchKeyError, "NoSuchKey"), LISTING[:60], LISTING]
    assert host().list_images().present == {ID}
    assert set(aws.keys) == {f"bucket:docker-hosts/c-1/{INSTANCE}/a b/stdout"}


def test_long_output_that_never_arrives_is_retryable(aws: Fake) -> None:
    aws.answers = [{"Status": "Success", "StandardOutputContent": "cut"}]
    aws.objects = ["half of it"] * 100
    with pytest.raises(RetryableError, match="yet, or not all of it"):
        host().list_images()


def test_a_bucket_that_may_not_be_read_is_a_permanent_fault(aws: Fake) -> None:
    aws.answers = [{"Status": "Success", "StandardOutputContent": "cut"}]
    aws.objects = [failing(ClientError, "AccessDenied")]
    with pytest.raises(PermanentError, match=r"output s3://bucket/docker-hosts/.*: AccessDenied"):
        host().list_images()


@pytest.mark.parametrize(
    ("invocation", "kind", "text"),
    [
        ({"Status": "Failed", "ResponseCode": 10}, PermanentError, "the docker command is not installed"),
        ({"Status": "Failed", "ResponseCode": 11}, RetryableError, "the Docker engine does not answer"),
        ({"Status": "Failed", "ResponseCode": 1}, RetryableError, "Failed"),
        ({"Status": "TimedOut", "StatusDetails": "DeliveryTimedOut"}, RetryableError, "DeliveryTimedOut"),
        ({"Status": "Cancelled"}, RetryableError, "Cancelled"),
    ],
)
def test_commands_that_end_badly(aws: Fake, invocation: dict[str, Any], kind: type[Exception], text: str) -> None:
    aws.answers = [invocation]
    with pytest.raises(kind, match=text):
        host().list_images()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (failing(InvalidInstanceIdError, "InvalidInstanceId"), RetryableError),
        (failing(ClientError, "ThrottlingException"), RetryableError),
        (failing(ClientError, "AccessDeniedException"), PermanentError),
    ],
)
def test_commands_that_are_refused(aws: Fake, refusal: ClientError, kind: type[Exception]) -> None:
    aws.refusal = refusal
    with pytest.raises(kind, match="build-1: running paydown-ListDanglingImages"):
        host().list_images()
