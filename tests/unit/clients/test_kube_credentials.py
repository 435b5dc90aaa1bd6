"""Which credentials a function uses, and what EKS takes for a token."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from moto import mock_aws
from moto.eks.models import eks_backends

from paydown.clients.kube import connect, eks
from paydown.clients.kube.credentials import Credentials
from paydown.errors import PermanentError
from paydown.inventory import Cluster

CLUSTER = Cluster(uid="c1", name="prod", reader_secret="prod-reader", operator_secret="prod-operator", nodes=("*",))
PLAIN = {"server": "https://10.0.0.1:6443", "token": "s3cret", "ca": "PEM"}
PEM = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(("observing", "name"), [(True, "prod-reader"), (False, "prod-operator")])
def test_a_function_reads_only_the_secret_it_may_have(observing: bool, name: str) -> None:
    asked: list[str] = []

    def secrets(name: str) -> dict[str, Any]:
        asked.append(name)
        return PLAIN

    connect(CLUSTER, observing=observing, secrets=secrets)
    assert asked == [name]


def test_the_same_credentials_share_a_client_and_rotated_ones_do_not() -> None:
    first = connect(CLUSTER, observing=True, secrets=lambda name: PLAIN)
    assert connect(CLUSTER, observing=True, secrets=lambda name: dict(PLAIN)) is first
    assert connect(CLUSTER, observing=True, secrets=lambda name: PLAIN | {"token": "rotated"}) is not first
    assert connect(CLUSTER, observing=False, secrets=lambda name: PLAIN) is not first


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "neither `server` nor `eks`"),
        ({"server": "10.0.0.1"}, "server"),
        ({"server": "https://user:pass@10.0.0.1"}, "server"),
        ({"server": "http://10.0.0.1", "token": "s3cret"}, "over https only"),
        ({"server": "http://10.0.0.1", "eks": {"name": "a", "region": "eu-central-1"}}, "over https only"),
        (PLAIN | {"eks": {"name": "a", "region": "eu-central-1"}}, "exclude each other"),
        ({"eks": {"name": "a/../b", "region": "eu-central-1"}}, "eks.name"),
        ({"eks": {"name": "a", "region": "evil.example.com/"}}, "eks.region"),
        (PLAIN | {"tokn": "s3cret"}, "tokn"),
    ],
)
def test_a_faulty_secret_is_refused_without_showing_it(document: dict[str, Any], said: str) -> None:
    with pytest.raises(PermanentError, match=said) as caught:
        Credentials.parse("prod-operator", document)
    assert "s3cret" not in str(caught.value)
    assert "prod-operator" in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {"server": "http://127.0.0.1:8001", "token": "t"},
        {"server": "http://10.0.0.1"},
        {"eks": {"name": "a", "region": "us-gov-west-1"}},
    ],
)
def test_what_is_accepted(document: dict[str, Any]) -> None:
    Credentials.parse("any", document)


def test_a_token_is_not_shown() -> None:
    assert "s3cret" not in repr(Credentials.parse("any", PLAIN))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_SESSION_TOKEN", "st"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.mark.usefixtures("aws")
def test_an_eks_token_is_a_presigned_identity_call_bound_to_the_cluster() -> None:
    token = eks.token("prod", "eu-central-1")
    prefix, _, encoded = token.partition(".")
    assert prefix == "k8s-aws-v1"
    assert "=" not in encoded
    url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc, url.path) == ("https", "sts.eu-central-1.amazonaws.com", "/")
    assert query["Action"] == "GetCallerIdentity"
    assert query["X-Amz-Expires"] == "60"
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert "/eu-central-1/sts/aws4_request" in query["X-Amz-Credential"]
    assert query["X-Amz-Security-Token"]
    assert len(query["X-Amz-Signature"]) == 64


@pytest.mark.usefixtures("aws")
def test_another_cluster_gets_another_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    assert eks.token("prod", "eu-central-1") != eks.token("staging", "eu-central-1")


def test_a_token_is_kept_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(name: str, region: str) -> str:
        made.append(f"token {len(made)}")
        return made[-1]

    monkeypatch.setattr(eks, "token", make)
    clock = [0.0]
    token = eks.Token("prod", "eu-central-1", clock=lambda: clock[0])
    assert [token(), token()] == ["token 0", "token 0"]
    clock[0] = 601.0
    assert token() == "token 1"


@pytest.mark.usefixtures("aws")
def test_the_endpoint_and_its_authority_come_from_eks() -> None:
    import boto3

    client = boto3.client("eks", region_name="eu-central-1")
    role = "arn:aws:iam::123456789012:role/eks"
    made = client.create_cluster(name="prod", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]})["cluster"]
    cluster = eks_backends["123456789012"]["eu-central-1"].clusters["prod"]
    cluster.certificate_authority = {"data": base64.b64encode(PEM.encode()).decode()}  # moto's own is random bytes
    assert eks.endpoint("prod", "eu-central-1") == (made["endpoint"], PEM)


@pytest.mark.usefixtures("aws")
def test_an_unknown_eks_cluster_is_permanent() -> None:
    with pytest.raises(PermanentError, match="ResourceNotFoundException"):
        eks.endpoint("nowhere", "eu-central-1")
