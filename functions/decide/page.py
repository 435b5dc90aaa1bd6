"""GET /plans/{run}: the page behind a signed link. It shows a plan as it will be executed, and can do nothing.

The signature is checked before anything is read, and a bad link is answered the same whether the run exists or not.
There is no script and no form in the page, and every text is escaped: plans hold names that others chose.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from functions.decide.common import opened, policy, stack
from functions.decide.proxy import Answer, parameter, query
from paydown.approving import expires
from paydown.clients import aws
from paydown.ledger import Run, Status
from paydown.ledger.held import Action, ShownPlan, shown_plan
from paydown.links import BadLink, ExpiredLink, checked_link
from paydown.policy import Policy
from paydown.sources.webhook import secrets_of
from paydown.tickets import plain
from paydown.toil.handler import utc_now

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}code,pre{background:#f2f2f2;padding:.1rem .3rem}"
    "pre{padding:.6rem;overflow:auto}.new{background:#fff4d6}.gone{color:#666;text-decoration:line-through}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
MOST_ACTIONS = 1_000
SHOWN = 500
"""Characters of one value."""


def page(event: Mapping[str, Any]) -> Answer:
    """A request in, the page out. Raises PaydownError when the secret or the ledger cannot be read."""
    run_id = parameter(event, "run")
    now = utc_now()
    try:
        number = checked_link(run_id, query(event), secrets_of(aws.secret(f"{stack()}/links")), now)
    except BadLink:
        return _html(403, "This link is not valid", ["Links to plans are signed, and cannot be made up or changed."])
    except ExpiredLink:
        return _html(410, "This link has expired", ["To see the plan: <code>paydown held</code>"])
    ledger = opened()
    run = ledger.runs.get(run_id)
    if run is None:
        return _html(404, "This run is gone", ["The ledger does not keep it any more."])
    shown = shown_plan(ledger, run, number)
    title = f"{run.toil} on {_text(run.ref)}"
    return _html(200, title, [*_state(shown, policy(ledger), now), *_plan(shown), *_how(shown)])


def _html(status: int, title: str, parts: list[str]) -> Answer:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Paydown: {title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{''.join(parts)}</body></html>"
    )
    return {"statusCode": status, "headers": dict(HEADERS), "body": body, "isBase64Encoded": False}


def _text(value: Any) -> str:
    return escape(plain(" ".join(str(value).split()), SHOWN), quote=True)


def _state(shown: ShownPlan, rules: Policy, now: Any) -> Iterator[str]:
    run = shown.run
    names = ", ".join(person.name for person in rules.approvers_of(run.toil)) or "nobody: the policy names no approvers"
    until = expires(rules, run)
    facts = [
        ("Run", run.id),
        ("Status", run.status.value),
        ("Plan", shown.number),
        ("Fingerprint", _fingerprint(shown)),
        ("Worst hazard", run.hazard if shown.current else ""),
        ("Why a person is asked", "; ".join(f"{one.text} ({one.code})" for one in run.reasons)),
        ("Who may decide", names),
        ("Until", f"{until:%Y-%m-%d %H:%M:%S} UTC" if shown.current and now < until else ""),
    ]
    rows = "".join(f"<tr><th>{name}</th><td>{_text(value)}</td></tr>" for name, value in facts if value)
    yield f"<table>{rows}</table>"
    if not shown.current:
        yield f"<p><strong>{_past(run)}</strong></p>"
    if (decision := shown.decision) is not None:
        verb = "Approved" if decision.approved else "Rejected"
        yield f"<p>{verb} by {_text(decision.by)} at {_text(decision.at)}. {_text(decision.why)}</p>"


def _past(run: Run) -> str:
    if run.status is Status.HELD:
        return "The run is held with a newer plan by now: this one cannot be approved."
    return "This plan does not wait for a decision any more."


def _fingerprint(shown: ShownPlan) -> str:
    if shown.current:
        return shown.run.fingerprint
    return shown.decision.fingerprint if shown.decision else ""


def _plan(shown: ShownPlan) -> Iterator[str]:
    yield f"<h2>What will be done: {len(shown.actions)} action(s)</h2>"
    if shown.approved_before is not None:
        yield (
            f"<p>Plan {shown.approved_before.plan_number} was approved by {_text(shown.approved_before.by)}. "
            "What was no part of it is marked; what of it no longer applies is struck out.</p>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("Stage", "Action", "Object", "Hazard", "Only if", "Note", "State"))
    rows = [
        _row(stage, action, "new" if shown.is_new(action) else "")
        for stage, actions in enumerate(shown.stages, 1)
        for action in actions
    ]
    rows += [_row("-", action, "gone") for action in shown.gone]
    yield f"<table><tr>{head}</tr>{''.join(rows[:MOST_ACTIONS])}</table>"
    if len(rows) > MOST_ACTIONS:
        yield f"<p>And {len(rows) - MOST_ACTIONS} more: <code>paydown explain {_text(shown.run.id)} --all</code></p>"


def _row(stage: int | str, action: Action, kind: str) -> str:
    names = ("verb", "object", "hazard", "precondition", "note", "state")
    state = {"new": "not approved yet", "gone": "no longer applies"}.get(kind)
    values = [stage, *(state if name == "state" and state else action[name] for name in names)]
    return f'<tr class="{kind}">' + "".join(f"<td>{_text(value)}</td>" for value in values) + "</tr>"


def _how(shown: ShownPlan) -> Iterator[str]:
    if not shown.current or shown.decision is not None:
        return
    run, fingerprint = _text(shown.run.id), _text(shown.run.fingerprint[:12])
    yield (
        "<h2>How to decide</h2><p>This page cannot. With AWS credentials of a person whom the policy names:</p>"
        f"<pre>paydown approve {run} --fingerprint {fingerprint}\npaydown reject {run} --fingerprint {fingerprint} "
        "--why TEXT</pre>"
    )
    if shown.run.ticket is not None:
        ticket = f"{_text(shown.run.ticket.tracker)}/{_text(shown.run.ticket.id)}"
        yield (
            f"<p>Or by a comment on the ticket {ticket}, at the beginning of a line:</p>"
            f"<pre>/approve {fingerprint}\n/reject {fingerprint} TEXT</pre>"
        )
