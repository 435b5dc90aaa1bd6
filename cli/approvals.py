"""`paydown held`, `paydown approve` and `paydown reject`: the plans that wait for a person, and decisions on them.

Decisions go through the API, signed with the caller's own credentials: IAM says who that is, and the policy whether
they may. The command asks the same policy first, only to save the caller the way.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from cli.api import Answer, post
from cli.exits import CONFLICT, FINE, UNREACHABLE, CommandError, NotFoundError, UsageError
from cli.lookup import find_run, short
from cli.output import moment, span
from cli.session import Session
from paydown.approving import SHORTEST, WHY_LIMIT, Caller, Command, Refused, expires, judge, named_by
from paydown.ledger import NoDocument, Run, Status
from paydown.ledger.held import ShownPlan, held_runs, shown_plan
from paydown.ledger.joined import joined_events
from paydown.policy import Policy

SHOWN_ACTIONS = 200
NOT_PERMITTED = ("not_an_approver", "requester", "requester_unknown", "unauthenticated")


class RefusedError(CommandError):
    """The decision does not count."""

    def __init__(self, code: str, text: str) -> None:
        self.code = UNREACHABLE if code in NOT_PERMITTED else CONFLICT
        super().__init__(f"{text} ({code})")


def held(session: Session) -> int:
    """Print the runs that wait for a person, those that expire first before the others."""
    rules, now = _policy(session), session.now()
    runs = sorted(held_runs(session.ledger), key=lambda run: expires(rules, run))
    told = [_as_data(session, run, rules) for run in runs]
    session.out.data({"held": told})
    columns = ["run", "held", "expires", "toil", "target", "hazard", "actions", "fingerprint", "who may decide"]
    rows = [_row(run, one, rules, now) for run, one in zip(runs, told, strict=True)]
    session.out.table(columns, rows, whole=["run", "held", "expires", "fingerprint"])
    if not runs:
        session.out.line("nothing waits for a person")
    return FINE


def approve(session: Session) -> int:
    """Approve the plan that a run is held with."""
    return _decide(session, approved=True)


def reject(session: Session) -> int:
    """Reject the plan that a run is held with: the run ends."""
    return _decide(session, approved=False)


def _decide(session: Session, *, approved: bool) -> int:
    args = session.args
    if len(args.why or "") > WHY_LIMIT:
        raise UsageError(f"--why takes {WHY_LIMIT} characters")
    run = find_run(session.ledger, args.id, session.now())
    rules, caller = _policy(session), Caller(arn=session.connection.person_arn)
    command = Command(approved, _given(session, run), args.why or "")
    try:
        person = judge(rules, run, caller, command, session.now(), joined_events(session.ledger.table, run.id))
    except Refused as error:
        raise RefusedError(error.code, str(error)) from None
    if args.fingerprint is None:
        _show(session, shown_plan(session.ledger, run), rules)
        _confirm(session, run, "approve" if approved else "reject", f"{person.name} ({caller.arn})")
    body = {"decision": "approve" if approved else "reject", "fingerprint": command.fingerprint, "why": command.why}
    told = _taken(post(session.connection, f"/runs/{run.id}/decisions", body))
    session.out.data(told)
    verb = "approved" if approved else "rejected"
    session.out.line(
        f"{verb} by {told['by']}: plan {told['plan_number']} of run {run.id}. Next: paydown explain {run.id}"
    )
    return FINE


def _given(session: Session, run: Run) -> str:
    """The fingerprint that was named, or that of the plan which is shown before somebody says yes to it."""
    given = session.args.fingerprint
    if given is None:
        if not sys.stdin.isatty():
            raise UsageError("without a terminal, say which plan is meant: --fingerprint (see `paydown held`)")
        return run.fingerprint
    if run.status is Status.HELD and not named_by(run.fingerprint, given):
        hint = f" at least {SHORTEST} hexadecimal digits;" if len(given) < SHORTEST else ""
        raise RefusedError(
            "wrong_fingerprint", f"the run is held with plan {run.fingerprint[:SHORTEST]};{hint} look again"
        )
    return str(given).lower()


def _confirm(session: Session, run: Run, verb: str, who: str) -> None:
    """Ask on the terminal, whatever the output is. Raises UsageError unless the answer is yes."""
    session.out.note(f"{verb} plan {run.fingerprint[:SHORTEST]} of run {run.id} as {who}? Type yes:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was decided")


def _taken(answer: Answer) -> dict[str, Any]:
    """The API's document. Raises RefusedError, NotFoundError, CommandError."""
    if answer.status == 200 and {"by", "plan_number"} <= answer.document.keys():
        return answer.document
    error = answer.document.get("error")
    if isinstance(error, dict):
        code, text = str(error.get("code")), str(error.get("message"))
        if answer.status == 404:
            raise NotFoundError(text)
        if answer.status < 500:
            raise RefusedError(code, text)
        raise CommandError(f"the API answers {answer.status}: {text}")
    # API Gateway itself, before our function: no permission (execute-api:Invoke), a bad signature, too many calls.
    said = answer.document.get("message") or answer.document.get("Message") or ""
    error = CommandError(f"the API answers {answer.status}: {said}".rstrip(": "))
    error.code = UNREACHABLE
    raise error


def _show(session: Session, plan: ShownPlan, rules: Policy) -> None:
    out, run = session.out, plan.run
    out.fields(
        [
            ("run", run.id),
            ("toil", run.toil),
            ("target", run.ref),
            ("plan", f"{plan.number}, fingerprint {run.fingerprint}"),
            ("hazard", run.hazard),
            ("held because", "; ".join(f"{reason.text} ({reason.code})" for reason in run.reasons)),
            ("expires", moment(expires(rules, run))),
        ]
    )
    if plan.approved_before is not None:
        out.line(f"{plan.approved_before.by} approved another plan before: what was no part of it is marked")
    rows = [
        [stage, action["verb"], action["object"], action["hazard"], action["precondition"], _mark(plan, action)]
        for stage, actions in enumerate(plan.stages, 1)
        for action in actions
    ]
    rows += [
        ["-", one["verb"], one["object"], one["hazard"], one["precondition"], "applies no more"] for one in plan.gone
    ]
    out.heading(f"What will be done: {len(plan.actions)} action(s)")
    columns = ["stage", "action", "object", "hazard", "only if", ""]
    out.table(columns, rows[:SHOWN_ACTIONS], whole=["stage", "hazard"])
    if len(rows) > SHOWN_ACTIONS:
        out.line(f"… and {len(rows) - SHOWN_ACTIONS} more: paydown explain {run.id} --all")


def _mark(plan: ShownPlan, action: Any) -> str:
    return "new" if plan.is_new(action) else str(action["note"])


def _policy(session: Session) -> Policy:
    try:
        return session.ledger.policy.current().document
    except NoDocument:
        return Policy()


def _as_data(session: Session, run: Run, rules: Policy) -> dict[str, Any]:
    decision = session.ledger.approvals.latest(run)
    return {
        "id": run.id,
        "toil": run.toil,
        "target": {"ref": run.ref, "uid": run.target},
        "hazard": run.hazard,
        "actions": run.actions,
        "plan_number": run.plan_number,
        "fingerprint": run.fingerprint,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in run.reasons],
        "held_since": (run.since or run.updated or run.created).isoformat(),
        "expires": expires(rules, run).isoformat(),
        "decided": decision is not None and decision.plan_number == run.plan_number,
        "approvers": [person.name for person in rules.approvers_of(run.toil)],
        "ticket": run.ticket.model_dump() if run.ticket else None,
    }


def _row(run: Run, told: dict[str, Any], rules: Policy, now: datetime) -> list[str]:
    since = run.since or run.updated or run.created
    left = (expires(rules, run) - now).total_seconds()
    who = "decided, goes on" if told["decided"] else ", ".join(told["approvers"]) or "nobody"
    return [
        short(run.id),
        span((now - since).total_seconds()),
        f"in {span(left)}" if left > 0 else "now",
        run.toil,
        run.ref,
        run.hazard,
        str(run.actions),
        run.fingerprint[:SHORTEST],
        who,
    ]
