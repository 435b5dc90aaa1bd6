"""The link in a message that shows the plan which a run is held with. It only shows it."""

from __future__ import annotations

import os
from datetime import datetime

from aws_lambda_powertools import Logger

from paydown.clients import aws
from paydown.errors import PaydownError
from paydown.events import RemediationChanged
from paydown.links import LIFETIME, plan_link
from paydown.sources.webhook import secrets_of

WORDS = "Show the plan"

logger = Logger(service="report_outcome")


def link_to_plan(change: RemediationChanged, now: datetime) -> tuple[str, str] | None:
    """The link's address and words; None where there is none: the message is more important than its link."""
    base = os.environ.get("PAYDOWN_API_URL", "")
    if not base:
        return None
    try:
        secret = secrets_of(aws.secret(f"{os.environ['PAYDOWN_STACK']}/links"))[0]
    except PaydownError as error:
        logger.warning("no link to the plan", error=str(error))
        return None
    return plan_link(base, change.run_id, change.plan_number, now + LIFETIME, secret), WORDS
