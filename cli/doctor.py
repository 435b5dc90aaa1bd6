"""`paydown doctor`: what is wrong, and what to do about each thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from cli.diagnosis import deployed, permissions, reach, secrets, state
from cli.diagnosis.examination import Check, Finding, State, examine, unknown
from cli.exits import FINE, NEEDS_ATTENTION
from cli.failures import explain
from cli.session import Session
from paydown.errors import PaydownError

T = TypeVar("T")

SERVICES = ("cloudformation", "cloudwatch", "events", "iam", "lambda", "secretsmanager", "sqs", "ssm")


def run(session: Session) -> int:
    """Look at everything; exits with 7 if there is a fault."""
    before, checks = _prepared(session)
    findings = [*before, *examine(checks)]
    faults = [one for one in findings if one.state is State.FAULT]
    counted = Counter(one.state for one in findings)
    session.out.data(
        {"findings": [asdict(one) for one in findings], "counts": {kind.value: counted[kind] for kind in State}}
    )
    _print(session, findings)
    return NEEDS_ATTENTION if faults else FINE


def _prepared(session: Session) -> tuple[list[Finding], list[Check]]:
    """The checks, and what already failed on the way to them: what cannot be listed cannot be looked at."""
    connection = session.connection
    for service in SERVICES:
        connection.client(service)  # making one is not thread-safe
    before: list[Finding] = []
    checks: list[Check] = []

    def attempt(about: str, subject: str, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 -- whatever fails, the other checks are worth something
            before.append(
                unknown(about, subject, explain(error).message, "see which stack is named: --stack, --region")
            )
            return otherwise

    ledger = attempt("ledger", "table", lambda: session.ledger, None)
    checks += attempt("stack", "parts", lambda: list(deployed.checks(session)), [])
    checks += attempt("permissions", "template", lambda: list(permissions.checks(session)), [])
    if ledger is None:
        return before, checks
    checks += state.checks(session)
    inventory = _in_force(ledger.inventory)
    checks += secrets.checks(session, inventory, _in_force(ledger.policy))
    if inventory is not None:
        checks += reach.checks(session, inventory)
    return before, checks


def _in_force(documents: Any) -> Any:
    """The document in force; None if there is none that can be read, which the check of the ledger tells."""
    try:
        return documents.current().document
    except PaydownError:
        return None


def _print(session: Session, findings: Iterable[Finding]) -> None:
    out = session.out
    found = list(findings)
    shown = found if session.args.all else [one for one in found if one.state is not State.FINE]
    for one in _sorted(shown):
        out.line(f"{one.state.value:8}{one.about}: {one.subject}: {one.text}")
        if one.remedy:
            out.line(f"{'':8}→ {one.remedy}")
    counted = Counter(one.state for one in found)
    told = ", ".join(f"{counted[kind]} {kind.value}" for kind in State)
    hint = "" if session.args.all else "; --all shows what is fine too"
    out.line(f"{told}{hint}")


def _sorted(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The faults last, where a terminal shows them."""
    order = (State.FINE, State.UNKNOWN, State.FAULT)
    yield from sorted(findings, key=lambda one: order.index(one.state))
