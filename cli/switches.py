"""`paydown stop` and `paydown resume`: the switches that are read before every action."""

from __future__ import annotations

import difflib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.exits import FINE, CommandError, NotFoundError
from cli.queues import send_to_toil
from cli.session import Session
from cli.toils import is_installed
from paydown.errors import InvalidDocument
from paydown.ledger import EVERYTHING, NoDocument, Stop, rests
from paydown.toil.worker import wake_command


def stop(session: Session) -> int:
    """Switch a toil type, or everything, off."""
    scope = _scope(session)
    who = session.who()
    session.ledger.switches.stop(scope, who, session.args.why, session.now())
    session.out.data({"stopped": scope, "by": who, "why": session.args.why, "stops": _all(session)})
    session.out.line(f"stopped: {_named(scope)}. What is being done at this moment ends; nothing more is begun.")
    _put_off(session, scope)
    return FINE


def _put_off(session: Session, scope: str) -> None:
    """Have the runs put off now that wait for the world, and would see the switch when they are due.

    They do nothing till then: where this is not allowed, they only look as if they went on.
    """
    now, untold = session.now(), set()
    for row in session.ledger.runs.alive():
        run = session.ledger.runs.get(row["id"])
        if run is None or scope not in (EVERYTHING, run.toil) or not rests(run, now) or run.toil in untold:
            continue
        try:
            send_to_toil(session, run.toil, wake_command(run.id))
        except (CommandError, ClientError, BotoCoreError) as error:
            untold.add(run.toil)
            session.out.note(f"runs of {run.toil} that wait are put off when they are due: {error}")


def resume(session: Session) -> int:
    """Take one switch back, and say what is still stopped."""
    on = {one.scope for one in session.ledger.switches.all()}
    scope = session.args.toil if session.args.toil in on else _scope(session)
    who, why = session.who(), session.args.why
    # Also when its switch was not on: this is how a person ends a suspension.
    session.ledger.switches.resume(scope, who, why, session.now())
    left = session.ledger.switches.all()
    answer = {"resumed": scope, "by": who, "why": why, "was_stopped": scope in on}
    session.out.data({**answer, "stops": [as_data(one) for one in left]})
    note = "" if scope in on else "; its switch was not on"
    session.out.line(f"resumed: {_named(scope)}{note}")
    for one in left:
        session.out.line(f"still stopped: {_named(one.scope)}, by {one.by} since {one.at}: {one.why}")
    return FINE


def as_data(stop: Stop) -> dict[str, Any]:
    """A switch that is on, as plain JSON data."""
    return {"scope": stop.scope, "by": stop.by, "at": stop.at, "why": stop.why}


def _all(session: Session) -> list[dict[str, Any]]:
    return [as_data(one) for one in session.ledger.switches.all()]


def _named(scope: str) -> str:
    return "everything" if scope == EVERYTHING else scope


def _scope(session: Session) -> str:
    """What the switch is for. An unknown name is refused: who mistypes one must not believe that it is stopped."""
    toil = session.args.toil
    if toil in (None, EVERYTHING):
        return EVERYTHING
    try:
        known = sorted(session.ledger.policy.current().document.toils)
    except (NoDocument, InvalidDocument):
        known = []
    if toil in known or is_installed(toil):
        return str(toil)
    near = difflib.get_close_matches(toil, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; the policy names {', '.join(known) or 'none'}"
    raise NotFoundError(f"there is no toil type {toil}{hint}")
