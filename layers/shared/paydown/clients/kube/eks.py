"""How EKS knows us: a presigned `sts:GetCallerIdentity` URL serves as the bearer token.

The form is that of aws-iam-authenticator: `k8s-aws-v1.` and the URL in base64url without padding; the cluster's name
is a signed header, so that a token for one cluster is worth nothing at another. EKS accepts it for 15 minutes.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from threading import Lock

from paydown.clients.aws import translated
from paydown.errors import PermanentError, RetryableError

PREFIX = "k8s-aws-v1."
URL_SECONDS = 60
"""The lifetime in the URL, as the AWS CLI sets it; EKS counts its own 15 minutes."""
KEPT_SECONDS = 600.0


class Token:
    """Makes tokens for one cluster, and keeps each for ten minutes."""

    def __init__(self, name: str, region: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._region, self._clock = name, region, clock
        self._lock = Lock()
        self._made: tuple[float, str] | None = None

    def __call__(self) -> str:
        """A token that is valid for at least five minutes."""
        with self._lock:
            if self._made is None or self._clock() - self._made[0] > KEPT_SECONDS:
                self._made = self._clock(), token(self._name, self._region)
            return self._made[1]


def token(name: str, region: str) -> str:
    """A bearer token for the EKS cluster `name`, signed with this process's AWS credentials."""
    import boto3
    from botocore.signers import RequestSigner

    session = boto3.Session()
    signing = session.get_credentials()
    if signing is None:
        raise PermanentError(f"no AWS credentials to sign a token for EKS cluster {name} with")
    with translated(f"a token for EKS cluster {name} in {region}"):
        sts = session.client("sts", region_name=region)
        service = sts.meta.service_model.service_id
        signer = RequestSigner(service, region, "sts", "v4", signing, session.events)
        request = {
            "method": "GET",
            "url": f"{sts.meta.endpoint_url.rstrip('/')}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {"x-k8s-aws-id": name},
            "context": {},
        }
        url = signer.generate_presigned_url(request, region_name=region, expires_in=URL_SECONDS, operation_name="")
    return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def endpoint(name: str, region: str) -> tuple[str, str]:
    """The API server's URL and its CA as PEM, from `eks:DescribeCluster`."""
    import boto3

    what = f"EKS cluster {name} in {region}"
    with translated(what):
        # The cluster's region need not be ours, so this is not the shared client.
        found = boto3.Session().client("eks", region_name=region).describe_cluster(name=name)["cluster"]
    try:
        return found["endpoint"], base64.b64decode(found["certificateAuthority"]["data"]).decode()
    except KeyError as error:
        raise RetryableError(f"{what} has no {error} yet") from None
