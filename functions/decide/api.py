"""POST /runs/{run}/decisions: the caller, whom IAM has authenticated, approves or rejects a held plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ConfigDict, StringConstraints

from functions.decide.common import find, nudge, opened, policy
from functions.decide.proxy import Answer, BadRequest, answer, body_as, caller_arn, parameter, refusal
from paydown.approving import WHY_LIMIT, Caller, Command, Refused, people_of
from paydown.errors import InvalidEvent
from paydown.ledger import Run
from paydown.ledger.approvals import Decision
from paydown.toil.handler import utc_now

STATUSES = {"not_an_approver": 403, "requester": 403, "requester_unknown": 403}
"""Of refusals; the others are 409: what was decided on is not what is there now."""

logger = Logger(service="decide")


class Asked(BaseModel):
    """The body of a decision."""

    model_config = ConfigDict(extra="forbid", strict=True)

    decision: Literal["approve", "reject"]
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{12,64}$")]
    why: Annotated[str, StringConstraints(max_length=WHY_LIMIT)] = ""


def decide(event: Mapping[str, Any]) -> Answer:
    """A request in, an answer out. Raises PaydownError when the ledger does not answer."""
    caller = Caller(arn=caller_arn(event))
    if not caller.arn:
        return refusal(403, "unauthenticated", "decisions are signed with AWS credentials (SigV4)")
    try:
        asked = body_as(Asked, event)
    except (BadRequest, InvalidEvent) as error:
        return refusal(400, "invalid", "the decision cannot be understood", error.faults)
    ledger = opened()
    rules = policy(ledger)
    if not people_of(rules, caller):
        logger.warning("refused", extra={"code": "not_an_approver", "caller": caller.proof})
        return refusal(403, "not_an_approver", f"the policy names nobody with the ARN {caller.arn}")
    run = find(ledger, parameter(event, "run"))
    if run is None:
        return refusal(404, "no_such_run", "there is no such run")
    command = Command(asked.decision == "approve", asked.fingerprint.lower(), asked.why)
    try:
        decision = ledger.approvals.decide_as(caller, run, command, rules, utc_now())
    except Refused as error:
        logger.warning("refused", extra={"code": error.code, "caller": caller.proof, "run_id": run.id})
        return refusal(STATUSES.get(error.code, 409), error.code, str(error))
    nudge(run)
    logger.info("decided", extra={"run_id": run.id, "approved": decision.approved, "by": decision.by})
    return answer(200, as_data(run, decision))


def as_data(run: Run, decision: Decision) -> dict[str, Any]:
    """A decision as the API tells it."""
    return {
        "run": run.id,
        "decision": "approve" if decision.approved else "reject",
        "plan_number": decision.plan_number,
        "fingerprint": decision.fingerprint,
        "by": decision.by,
        "authenticated": decision.proof,
        "at": decision.at,
        "why": decision.why,
    }
