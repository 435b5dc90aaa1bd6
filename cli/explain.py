"""`paydown explain RUN`: everything that the ledger knows of one run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cli.advice import advice
from cli.exits import FINE
from cli.lookup import find_run
from cli.output import compact, moment, span
from cli.runs import as_data
from cli.session import Session
from paydown.ledger import Ledger, Run

SHOWN_ACTIONS = 40


def run(session: Session) -> int:
    """Print it."""
    found = find_run(session.ledger, session.args.id, session.now())
    story = tell(session.ledger, found)
    session.out.data(story)
    if not session.out.wants_json:
        _print(session, found, story)
    return FINE


def tell(ledger: Ledger, run: Run) -> dict[str, Any]:
    """The whole story of a run as plain JSON data."""
    decision = ledger.approvals.latest(run)
    return {
        **as_data(run),
        "event": {"type": run.event_type, "key": run.key, "detail": dict(run.event)},
        "reasons": [{"code": one.code, "text": one.text, "advice": advice(one.code)} for one in run.reasons],
        "attempt": run.attempt,
        "tries": run.attempts,
        "applied_at": run.applied_at.isoformat() if run.applied_at else None,
        "leased_until": run.leased_until.isoformat() if run.leased_until else None,
        "fingerprint": run.fingerprint or None,
        "before": dict(run.before),
        "plans": _plans(ledger, run),
        "approval": vars(decision) if decision else None,
        "transitions": [
            {
                "at": entry["at"],
                "status": entry["status"],
                "reasons": [{"code": code, "text": text} for code, text in entry.get("reasons", ())],
                "evidence": json.loads(entry.get("evidence", "{}")),
            }
            for entry in ledger.runs.log(run.id)
        ],
    }


def _plans(ledger: Ledger, run: Run) -> list[dict[str, Any]]:
    """The plans in order, each as stages of actions; `executed` says whether it was begun."""
    plans: dict[int, dict[str, Any]] = {}
    for step in ledger.journal.items(run.id):
        number, stage = step.pop("plan"), step.pop("stage")
        plan = plans.setdefault(number, {"number": number, "executed": number in run.executed, "stages": {}})
        plan["stages"].setdefault(stage, []).append(step)
    return [{**plan, "stages": list(plan["stages"].values())} for plan in plans.values()]


def _print(session: Session, run: Run, story: dict[str, Any]) -> None:
    out, now = session.out, session.now()
    due = f"{moment(run.due)} ({_until((run.due - now).total_seconds())})" if run.due else None
    out.fields(
        [
            ("run", run.id),
            ("status", run.status.value),
            ("toil", run.toil),
            ("target", run.ref if run.ref == run.target else f"{run.ref} ({run.target})"),
            ("begun", moment(run.created)),
            ("ended" if run.ended else "updated", moment(run.updated)),
            ("due", due),
            ("attempt", run.attempt if run.attempt > 1 else None),
            ("tries", run.attempts or None),
            ("mode", run.mode),
            ("policy", f"version {run.policy_version}" if run.policy_version else None),
            ("hazard", run.hazard),
            ("fingerprint", run.fingerprint),
        ]
    )
    out.heading("Event")
    out.fields([("type", run.event_type), *((name, _value(value)) for name, value in run.event.items())])
    if run.reasons:
        out.heading("Reasons")
        for reason in story["reasons"]:
            out.line(f"{reason['code']}: {reason['text']}")
            if reason["advice"]:
                out.line(f"  → {reason['advice']}")
    for plan in story["plans"]:
        _print_plan(session, plan)
    if decision := story["approval"]:
        out.heading("Decision")
        said = "approved" if decision["approved"] else "rejected"
        who = " ".join(filter(None, [decision["by"], decision["proof"] and f"({decision['proof']})"]))
        out.line(f"plan {decision['plan_number']}: {said} by {who} at {decision['at']}: {decision['why']}")
    _print_facts(session, "Measured before", story["before"])
    _print_facts(session, "Evidence", story["evidence"])
    out.heading("Transitions")
    rows = [[one["at"], one["status"], _texts(one["reasons"])] for one in story["transitions"]]
    out.table(["at", "status", "why"], rows, whole=["at", "status"])


def _print_plan(session: Session, plan: dict[str, Any]) -> None:
    total = sum(len(stage) for stage in plan["stages"])
    begun = "carried out" if plan["executed"] else "not begun"
    session.out.heading(f"Plan {plan['number']}: {total} action(s), {begun}")
    rows = [
        [number, step["verb"], step["object"], step["hazard"], step["precondition"], step["state"], _outcome(step)]
        for number, stage in enumerate(plan["stages"], 1)
        for step in stage
    ]
    shown = rows if session.args.all else rows[:SHOWN_ACTIONS]
    columns = ["stage", "action", "object", "hazard", "only if", "state", "result"]
    session.out.table(columns, shown, whole=["stage", "hazard", "state"])
    if len(shown) < total:
        session.out.line(f"… and {total - len(shown)} more: --all")


def _print_facts(session: Session, title: str, facts: dict[str, Any]) -> None:
    if facts:
        session.out.heading(title)
        session.out.fields((name, _value(value)) for name, value in facts.items())


def _outcome(step: dict[str, Any]) -> str:
    evidence = compact(step["evidence"]) if step["evidence"] else ""
    return " ".join(part for part in (step["why"], evidence, step["note"] and f"({step['note']})") if part)


def _texts(reasons: Sequence[dict[str, str]]) -> str:
    return "; ".join(f"{reason['code']}: {reason['text']}" for reason in reasons)


def _value(value: Any) -> Any:
    return value if isinstance(value, str) or value is None else compact(value)


def _until(seconds: float) -> str:
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"
