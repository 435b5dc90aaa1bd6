"""Links to the page that shows a plan: signed, so that nobody guesses one, and good until they expire.

A link shows, and does nothing else: whoever has it learns the plan, and needs an identity of their own to decide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from paydown.errors import PaydownError

LIFETIME = timedelta(hours=24)
"""For how long a link is good, unless whoever makes it says otherwise."""

_RUN = re.compile(r"[0-9a-f]{32}(-[1-9][0-9]{0,8})?", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadLink(PaydownError):
    """The link was not made by us, or was changed. Whether there is such a run is not told."""


class ExpiredLink(PaydownError):
    """The link was good once. Whether there is such a run is not told."""


def plan_link(base_url: str, run_id: str, plan_number: int, expires: datetime, secret: str) -> str:
    """The address of the page that shows plan `plan_number` of a run until `expires`.

    `base_url` is the API's address with its stage (`https://…/v1`; the stack's output `ApiUrl`), `secret` the current
    one in the secret `<stack>/links` (`secrets_of(aws.secret(…))[0]`).
    """
    until = int(expires.timestamp())
    signature = _sign(run_id, str(plan_number), str(until), secret)
    return f"{base_url.rstrip('/')}/plans/{run_id}?plan={plan_number}&expires={until}&signature={signature}"


def checked_link(run_id: str, query: Mapping[str, str], secrets: Sequence[str], now: datetime) -> int:
    """The number of the plan that a link shows. Raises BadLink, and ExpiredLink for one whose signature is right."""
    plan, expires, signature = (query.get(name, "") for name in ("plan", "expires", "signature"))
    formed = _RUN.fullmatch(run_id) and _NUMBER.fullmatch(plan) and _NUMBER.fullmatch(expires)
    if not formed or not _SIGNATURE.fullmatch(signature):
        raise BadLink("the link is not one of ours")
    # Every secret is compared, so that the time taken does not tell which one was near.
    right = [hmac.compare_digest(signature, _sign(run_id, plan, expires, secret)) for secret in secrets]
    if not any(right):
        raise BadLink("the link is not one of ours")
    if now.timestamp() >= int(expires):
        raise ExpiredLink("the link has expired")
    return int(plan)


def _sign(run_id: str, plan: str, expires: str, secret: str) -> str:
    text = f"paydown-plan\n{run_id}\n{plan}\n{expires}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
