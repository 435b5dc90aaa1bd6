"""What goes on: the documents in force, what is stopped or suspended, late runs, dead letters, and silent sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cli import status
from cli.checks import check_listeners, check_rules, check_settings, check_sources, known_sources
from cli.diagnosis.examination import Check, Finding, fault, fine, unknown
from cli.lookup import short
from cli.output import moment, span
from cli.session import Session
from paydown.errors import InvalidDocument
from paydown.guardrails import recurrences, toil_scope
from paydown.ledger import EVERYTHING, NoDocument
from paydown.ledger.sources_seen import silences
from paydown.policy import Policy
from paydown.sources import SENDERS


def checks(session: Session) -> Iterator[Check]:
    """Those that need no more than the ledger, but for the dead letters."""
    yield Check("ledger", "status", lambda: _status(session))
    yield Check("policy", "settings", lambda: _settings(session))
    yield Check("suspension", "toil types", lambda: _suspensions(session))
    yield Check("source", "all", lambda: _sources(session))


def _status(session: Session) -> Iterable[Finding]:
    """What `paydown status` counts, each with its remedy."""
    state = status.look(session)
    for kind in ("policy", "inventory"):
        yield _document(kind, state[kind])
    for stop in state["stops"]:
        name = "everything" if stop["scope"] == EVERYTHING else stop["scope"]
        remedy = "paydown resume" if stop["scope"] == EVERYTHING else f"paydown resume {stop['scope']}"
        yield fault("stop", name, f"stopped by {stop['by']} since {stop['at']}: {stop['why']}", remedy)
    if not state["stops"]:
        yield fine("stop", "everything", "nothing is stopped")
    for run in state["overdue"]:
        text = f"{run['status']}, {run['toil']}, late by {span(run['seconds'])}"
        yield fault("overdue", run["target"]["ref"], text, f"paydown explain {short(run['id'])}; the log of Wake")
    if not state["overdue"]:
        yield fine("overdue", "runs", f"none of {state['alive']['total']} living run(s) is late")
    for name, count in (state["dead_letters"] or {}).items():
        subject = name.replace("_", " ")
        if count:
            yield fault("dead letters", subject, f"{count} lie there", "paydown dead-letters list")
        else:
            yield fine("dead letters", subject, "none" if count == 0 else "the stack names no such queue")
    if state["dead_letters"] is None:
        yield unknown("dead letters", "both queues", "the stack or its queues may not be read")


def _document(kind: str, found: dict[str, Any] | None) -> Finding:
    if found is None:
        text = "none was published, so that nothing is done"
        return fault(kind, "in force", text, f"paydown {kind} publish FILE (examples/{kind}.json)")
    if found["faults"]:
        texts = "; ".join(f"{path}: {text}" for path, text in found["faults"])
        return fault(
            kind, "in force", f"invalid for this version: {texts}", f"mend it, then paydown {kind} publish FILE"
        )
    return fine(kind, "in force", f"version {found['version']}, by {found['by']} at {found['at']}")


def _settings(session: Session) -> Iterable[Finding]:
    policy = _policy(session)
    if policy is None:
        return
    try:
        warnings = [*check_settings(policy), *check_rules(policy)]
    except InvalidDocument as error:
        for path, text in error.faults:
            yield fault("policy", path, text, "mend it, then paydown policy publish FILE")
        return
    for warning in warnings:
        yield unknown("policy", "settings", warning)
    for warning in check_sources(policy):
        yield fault("policy", "sources", warning, "mend it, then paydown policy publish FILE")
    for text, remedy in check_listeners(policy, session.connection.known_parameters()):
        yield fault("policy", "notifications", text, remedy)
    if not policy.sources:
        remedy = "name the senders that you use under `sources` in the policy, with expect_every_seconds"
        yield unknown(
            "policy", "sources", "it expects nothing of any sender: one that goes silent is not noticed", remedy
        )


def _suspensions(session: Session) -> Iterable[Finding]:
    policy, ledger, now = _policy(session), session.ledger, session.now()
    for name, toil in sorted(policy.toils.items() if policy else ()):
        tally = ledger.runs.tallies.get(toil_scope(name))
        times = recurrences(tally, toil, now, ledger.switches.resumed_at(name))
        if times >= toil.recurrence.suspend_after:
            text = f"suspended: faults came back {times} times after runs that were verified"
            yield fault(
                "suspension", name, text, f"find the cause (paydown runs --toil {name}), then paydown resume {name}"
            )
        else:
            yield fine("suspension", name, f"faults came back {times} times")


def _sources(session: Session) -> Iterable[Finding]:
    sources, now = session.connection.sources, session.now()
    expected = set()
    policy = _policy(session)
    try:
        for one in silences(session.ledger.policy.current(), sources, now):
            expected.add(one.source)
            since = span((now - one.since).total_seconds())
            heard = (
                f"last heard {moment(one.heard)}, {since} ago" if one.heard else f"not heard, {since} after the policy"
            )
            text = f"{heard}; expected every {span(one.expected.total_seconds())}"
            yield (
                fault("source", one.source, text, _try(one.source)) if one.silent else fine("source", one.source, text)
            )
    except NoDocument:
        pass
    for name in sorted(set(known_sources(policy) if policy else SENDERS) - expected):
        heard = sources.heard(name)
        yield fine("source", name, f"last heard {moment(heard)}; nothing is expected" if heard else "never heard")


def _try(source: str) -> str:
    if source not in SENDERS:
        return "the rules of the toil types that it concerns (doctor --all shows each), then paydown dead-letters list"
    return f"paydown connect {source}; the sender's own log says how its webhooks were answered"


def _policy(session: Session) -> Policy | None:
    try:
        return session.ledger.policy.current().document
    except NoDocument:
        return None
