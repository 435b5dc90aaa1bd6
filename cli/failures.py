"""Which exit code and which words an error gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from cli import exits
from paydown.errors import InvalidInput, PaydownError, PermanentError, RetryableError
from paydown.ledger import Alive, Conflict, Lost, NoDocument


@dataclass(frozen=True)
class Failure:
    """What the operator is told, and the exit code."""

    code: int
    message: str
    faults: Sequence[tuple[str, str]] = ()


def explain(error: Exception) -> Failure:
    """The failure that an exception means."""
    match error:
        case exits.CommandError():
            return Failure(error.code, str(error))
        case InvalidInput():
            return Failure(exits.INVALID, f"{error.what}: refused", error.faults)
        case NoDocument():
            return Failure(exits.NOT_FOUND, str(error))
        case Conflict() | Alive():
            return Failure(exits.CONFLICT, str(error))
        case Lost():
            return Failure(exits.CONFLICT, f"a worker has taken run {error} up meanwhile: look at it again")
        case RetryableError() | PermanentError():
            return Failure(exits.UNREACHABLE, str(error))
        case PaydownError():
            return Failure(exits.UNEXPECTED, str(error))
        case ClientError() | BotoCoreError():
            return Failure(exits.UNREACHABLE, _of_aws(error))
    return Failure(exits.UNEXPECTED, f"unexpected error: {type(error).__name__}: {error} (PAYDOWN_DEBUG=1 shows where)")


def _of_aws(error: Exception) -> str:
    match error:
        case NoCredentialsError():
            return "no AWS credentials were found: aws sso login, --profile, or the environment"
        case NoRegionError():
            return "no AWS region was named: --region, or AWS_REGION"
        case ClientError():
            said = error.response.get("Error", {})
            return f"AWS refuses {error.operation_name}: {said.get('Code', '')}: {said.get('Message', '')}"
    return f"AWS cannot be reached: {error}"
