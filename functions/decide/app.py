"""Three ways in: a decision through the API, a link that shows a plan, and a comment on a ticket.

- `POST /runs/{run}/decisions`: API Gateway has made sure with IAM who calls; the policy says whether they may decide.
- `GET /plans/{run}`: a signed, expiring link; it shows the plan and does nothing.
- a queue of `TicketCommented`: the comment is read again from the ticket system, which says who wrote it.

What is the caller's fault is a 4xx; a 503 is ours. A decision is written to the ledger, and the run is nudged.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from functions.decide import comments
from functions.decide.api import decide
from functions.decide.page import page
from functions.decide.proxy import Answer, refusal
from paydown.errors import InvalidEvent, PaydownError

DECISIONS, PLANS = "/runs/{run}/decisions", "/plans/{run}"
"""The resources of the API, as the template has them."""

logger = Logger(service="decide")


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """An SQS batch in, the messages that failed out; or a request of API Gateway's REST proxy in, its answer out."""
    records = event.get("Records")
    if isinstance(records, list):
        failed = [record["messageId"] for record in records if not _message(record)]
        return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
    return _request(event)


def _request(event: dict[str, Any]) -> Answer:
    method = event.get("httpMethod")
    try:
        match event.get("resource"), method:
            case "/runs/{run}/decisions", "POST":
                answer = decide(event)
            case "/plans/{run}", "GET" | "HEAD":
                answer = page(event)
            case "/runs/{run}/decisions" | "/plans/{run}", _:
                answer = refusal(405, "method_not_allowed", "decisions are sent by POST, plans are read by GET")
            case _:
                answer = refusal(404, "not_found", "there is nothing here")
    except PaydownError as error:
        logger.exception("unavailable", extra={"reason": str(error)})
        answer = refusal(503, "unavailable", "the ledger does not answer: try again")
    logger.info("request", extra={"resource": str(event.get("resource"))[:80], "status": answer["statusCode"]})
    return answer


def _message(record: dict[str, Any]) -> bool:
    """Handle one SQS message; False if it must come back, and become a dead letter in the end."""
    try:
        done = comments.handle(json.loads(record["body"]))
    except json.JSONDecodeError as error:
        logger.warning("message refused", error=f"not JSON: {error.msg}")
        return False
    except InvalidEvent as error:
        logger.warning("message refused", error=str(error))
        return False
    except PaydownError as error:
        logger.warning("message comes back", error=str(error))
        return False
    logger.info("comment", extra={"done": done})
    return True
