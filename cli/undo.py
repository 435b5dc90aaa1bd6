"""`paydown undo RUN`: begin the run that takes back what a run left half-done, when it ended or was put off.

A switch that is on does not stop it, since it was asked for after that; one that is set afterwards does.
"""

from __future__ import annotations

from cli.exits import FINE, NotFoundError
from cli.half_done import half_done
from cli.lookup import find_run, short
from cli.queues import send_to_toil
from cli.runs import as_data
from cli.session import Session
from paydown.toil.worker import wake_command


def run(session: Session) -> int:
    """Begin it, and wake its toil type, which decides what is safe to take back. Once more asks for the same run."""
    args, out = session.args, session.out
    found = find_run(session.ledger, args.id, session.now())
    who = session.who()
    left = half_done(session.ledger, found) if not found.ended else list(found.evidence.get("left", []))
    begun = session.ledger.runs.undo(found, by=who, why=args.why, now=session.now(), left=left)
    out.data({"undoes": found.id, "by": who, "why": args.why, "run": as_data(begun)})
    out.line(f"run {begun.id} takes back what {short(found.id)} left on {found.ref}: paydown explain {short(begun.id)}")
    for one in left:
        out.line(f"  left: {one}")
    if not found.ended:
        out.line(f"  run {short(found.id)} was {found.status}, and has ended with that")
    try:
        send_to_toil(session, begun.toil, wake_command(begun.id))
    except NotFoundError as error:
        out.note(f"it begins when {begun.toil} is switched on: {error}")
    return FINE
